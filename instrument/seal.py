"""Turns the segments of a run into Parquet: one file per relation, ranks and final names filled in."""

from __future__ import annotations

import os
import shutil
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from tcrules.instrument.layout import stored_columns
from tcrules.instrument.manifest import Manifest, read_manifest, write_manifest
from tcrules.instrument.names import ambiguous_paths
from tcrules.instrument.processes import Process, arrange, is_alive, step_notes
from tcrules.instrument.schema import BY_NAME, RELATIONS, TYPES, Relation
from tcrules.instrument.segments import read_segments
from tcrules.instrument.userfacts import settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import duckdb

SQL_TYPES = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}
#: Call ids of a process start at its ordinal times this.
CALL_SHIFT = 40
CHUNK = 1 << 20
#: Beyond this many bytes of rows the conversion works in a file instead of in memory.
IN_MEMORY = 400 << 20

Columns = dict[str, "np.ndarray[Any, Any]"]


def seal(run: Path) -> Manifest:
    """Convert all segments of a run into `facts/` and describe its processes in `run.json`.

    Everything is written beside and renamed, so that a reader sees all or nothing. The segments are removed
    once all processes have ended. About 1 CPU s per million facts.

    Raises:
        RunError: `run` is no run folder.
        OSError: it cannot be written.
    """
    manifest = read_manifest(run)
    target = run / f".facts-{os.getpid()}"
    alive = any(
        segment.meta.get("status") == "running"
        and is_alive(segment.meta.get("pid"), segment.meta.get("host", manifest.host))
        for segment in read_segments(run)[0]
    )
    try:
        manifest = write_facts(run, target, manifest)
        old = run / f".old-{os.getpid()}"
        if (run / "facts").exists():
            os.rename(run / "facts", old)
        os.rename(target, run / "facts")
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    manifest = manifest.with_(sealed=not alive)
    write_manifest(run, manifest)
    if manifest.sealed:
        shutil.rmtree(run / "segments", ignore_errors=True)
    return manifest


def write_facts(run: Path, target: Path, manifest: Manifest) -> Manifest:
    """Write one Parquet file per relation into the new folder `target`; return the completed manifest."""
    segments, damaged = read_segments(run)
    processes, notes = arrange(segments)
    target.mkdir(parents=True)
    table = _Tables(target, sum(path.stat().st_size for s in segments for path in s.folder.glob("*.rows")))
    try:
        ambiguous = ambiguous_paths([process.segment.records for process in processes])
        for process in processes:
            _add_process(table, process, ambiguous)
        for relation, facts in _user_facts(processes).items():
            notes += table.add_user(relation, facts)
        torch = next((str(p.segment.meta["torch"]) for p in processes if p.segment.meta.get("torch")), "")
        manifest = manifest.with_(torch=torch or manifest.torch)
        table.add("run", {name: _array([value]) for name, value in _run_fact(run, manifest).items()})
        table.finish()
    finally:
        table.close()
    return manifest.with_(
        processes=tuple(_describe(process) for process in processes),
        notes=(*damaged, *notes, *step_notes(processes)),
    )


class _Tables:
    """Collects facts in DuckDB and writes the Parquet files."""

    def __init__(self, target: Path, size: int) -> None:
        import duckdb

        self._target = target
        self._work = target / ".work.duckdb"
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            str(self._work) if size > IN_MEMORY else ":memory:"
        )
        self._connection.execute("SET preserve_insertion_order = true")
        self._ids = count(1)
        self._next = 1
        self._relations: set[str] = set()
        for relation in RELATIONS:
            self._create(relation.name, {column.name: TYPES[column.type] for column in relation.columns})

    def _create(self, relation: str, types: dict[str, str]) -> None:
        columns = ", ".join(f'"{name}" {SQL_TYPES[kind]} NOT NULL' for name, kind in types.items())
        self._connection.execute(f'CREATE TABLE "{relation}" (fact BIGINT NOT NULL, {columns})')
        self._relations.add(relation)

    def add(self, relation: str, columns: Columns) -> None:
        """Append facts, given as one array per column; texts as object arrays."""
        rows = len(next(iter(columns.values())))
        if not rows:
            return
        facts = {"fact": np.arange(self._next, self._next + rows, dtype=np.int64), **columns}
        self._next += rows
        names = ", ".join(f'"{name}"' for name in facts)
        values = []
        for name, column in list(facts.items()):
            value = f'"{name}"'
            # DuckDB takes a NaN of numpy for NULL, but here it is a value, and one that matters.
            if column.dtype.kind == "f" and (nan := np.isnan(column)).any():
                facts[name], facts[f"{name} is nan"] = np.where(nan, 0.0, column), nan
                value = f"CASE WHEN \"{name} is nan\" THEN 'NaN'::DOUBLE ELSE {value} END"
            values.append(value)
        self._connection.register("incoming", facts)
        self._connection.execute(
            f'INSERT INTO "{relation}" ({names}) SELECT {", ".join(values)} FROM incoming'
        )
        self._connection.unregister("incoming")

    def add_user(self, relation: str, facts: list[dict[str, Any]]) -> tuple[str, ...]:
        """Append user facts, creating their relation; returns notes on columns that had to be filled in."""
        names = list(dict.fromkeys(name for fact in facts for name in fact))
        types = {name: _common_type([fact[name] for fact in facts if name in fact]) for name in names}
        if relation not in self._relations:
            self._create(relation, types)
        filled = [name for name in names if any(name not in fact for fact in facts)]
        neutral = {"string": "", "int": 0, "float": 0.0, "bool": False}
        columns = {
            name: _array([_convert(fact.get(name, neutral[kind]), kind) for fact in facts], kind)
            for name, kind in types.items()
        }
        self.add(relation, columns)
        text = ", ".join(filled)
        return (f"{relation}: facts without {text} were given the neutral value",) if filled else ()

    def finish(self) -> None:
        """Write one Parquet file per relation, in the order in which the facts were recorded."""
        for relation in sorted(self._relations):
            path = str(self._target / f"{relation}.parquet").replace("'", "''")
            self._connection.execute(f"COPY \"{relation}\" TO '{path}' (FORMAT parquet, COMPRESSION zstd)")

    def close(self) -> None:
        self._connection.close()
        for path in (self._work, self._work.with_name(self._work.name + ".wal")):
            path.unlink(missing_ok=True)


def _add_process(table: _Tables, process: Process, ambiguous: frozenset[str]) -> None:
    """Add what a process recorded, and the facts about the process itself."""
    meta = process.segment.meta
    texts = process.segment.names(ambiguous)
    about = {"rank": process.rank, "pid": process.segment.pid, "role": process.role,
             "world_size": process.world_size, "distributed": process.distributed}  # fmt: skip
    table.add("process", {name: _array([value]) for name, value in about.items()})
    argv = [word for word in meta.get("argv", []) if isinstance(word, str)]
    found = settings(_script_arguments(argv)) if process.role == "trainer" else []
    if found:
        keys, values = zip(*found, strict=True)
        table.add("config", {
            "rank": np.full(len(keys), process.rank), "key": _array(keys), "value": _array(values),
            "source": _array(["argv"] * len(keys)),
        })  # fmt: skip
    for relation in RELATIONS:
        rows = process.segment.rows(relation.name)
        for start in range(0, len(rows), CHUNK):
            table.add(relation.name, _columns(relation, rows[start : start + CHUNK], process, texts))


def _columns(
    relation: Relation, rows: np.ndarray[Any, Any], process: Process, texts: np.ndarray[Any, Any]
) -> Columns:
    columns: Columns = {}
    if relation.columns[0].name == "rank":
        columns["rank"] = np.full(len(rows), process.rank, dtype=np.int64)
    for index, column in enumerate(stored_columns(relation)):
        values = np.ascontiguousarray(rows[f"c{index}"])
        kind = TYPES[column.type]
        if kind == "string":
            values = texts[values]
        elif kind == "bool":
            values = values != 0
        elif column.type == "call":
            values = np.where(values == 0, 0, values + (process.ordinal << CALL_SHIFT))
        columns[column.name] = values
    return columns


def _script_arguments(argv: Sequence[str]) -> Sequence[str]:
    """Return the words after the script: the interpreter's own flags are no settings."""
    for index, word in enumerate(argv[1:], start=1):
        if word in ("-m", "-c"):
            return argv[index + 2 :]
        if not word.startswith("-"):
            return argv[index + 1 :]
    return argv[1:]


def _user_facts(processes: Iterable[Process]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for process in processes:
        for relation, columns in process.segment.user_facts():
            found.setdefault(relation, []).append({"rank": process.rank, **columns})
    return found


def _run_fact(run: Path, manifest: Manifest) -> dict[str, object]:
    return {
        "run": run.resolve().name, "command": manifest.command, "schema": manifest.schema,
        "status": manifest.status, "python": manifest.python, "torch": manifest.torch,
    }  # fmt: skip


def _describe(process: Process) -> dict[str, Any]:
    covers = process.segment.meta.get("covers", [])
    return {
        "pid": process.segment.pid, "rank": process.rank, "role": process.role, "ended": process.ended,
        "world_size": process.world_size, "covers": [name for name in covers if name in BY_NAME],
        "user": sorted({name for name, _ in process.segment.user_facts()}),
    }  # fmt: skip


def _common_type(values: Iterable[object]) -> str:
    names = {type(value).__name__ for value in values}
    if names <= {"int", "float"}:
        return "float" if "float" in names else "int"
    return "bool" if names == {"bool"} else "string"


def _convert(value: object, kind: str) -> object:
    if kind == "string":
        return value if isinstance(value, str) else str(value)
    return float(value) if kind == "float" else value  # type: ignore[arg-type]


def _array(values: Sequence[Any], kind: str = "") -> np.ndarray[Any, Any]:
    if kind == "string" or (not kind and isinstance(values[0], str)):
        return np.array(values, dtype=object)
    return np.array(values, dtype={"int": np.int64, "float": np.float64, "bool": np.bool_}.get(kind))
