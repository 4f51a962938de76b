"""Turns the segments of a run into Parquet: one file per relation, ranks and final names filled in."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from tcrules.instrument.layout import stored_columns
from tcrules.instrument.manifest import Manifest, read_manifest, write_manifest
from tcrules.instrument.names import ambiguous_paths
from tcrules.instrument.processes import Process, arrange, is_alive, is_recording, step_notes
from tcrules.instrument.schema import BY_NAME, RELATIONS, TYPES, Relation
from tcrules.instrument.segments import read_segments
from tcrules.instrument.tables import Columns, Tables, as_array
from tcrules.instrument.userfacts import number_in, settings
from tcrules.instrument.versions import require_current

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: Call ids of a process start at its ordinal times this.
CALL_SHIFT = 40
CHUNK = 1 << 20
#: Beyond this many bytes of rows the conversion works in a file instead of in memory.
IN_MEMORY = 400 << 20


def seal(run: Path) -> Manifest:
    """Convert all segments of a run into `facts/` and describe its processes in `run.json`.

    Everything is written beside and renamed, so that a reader sees all or nothing. The segments are removed
    once all processes have ended. About 1 CPU s per million facts.

    Raises:
        RunError: `run` is no run folder.
        OSError: it cannot be written.
    """
    with alone(run):
        manifest = read_manifest(run)
        # another reader may have been faster; the segments are gone then
        return manifest if manifest.sealed else _seal(run, manifest)


def _seal(run: Path, manifest: Manifest) -> Manifest:
    target, old = run / f".facts-{os.getpid()}", run / f".old-{os.getpid()}"
    for leftover in (target, old):  # of a killed process that had the same number
        shutil.rmtree(leftover, ignore_errors=True)
    segments = _names(run)
    alive = is_recording(read_segments(run)[0], manifest.host)
    try:
        manifest = write_facts(run, target, manifest)
        if (run / "facts").exists():
            os.rename(run / "facts", old)
        os.rename(target, run / "facts")
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    # a process that the command left behind may just begin to write
    manifest = manifest.with_(sealed=not alive and _names(run) == segments)
    write_manifest(run, manifest)
    if manifest.sealed:
        shutil.rmtree(run / "segments", ignore_errors=True)
    return manifest


def is_written(run: Path, manifest: Manifest) -> bool:
    """Whether the recorder of a run, or a process that it traces, may still write."""
    recording = manifest.status == "running" and is_alive(manifest.pid, manifest.host)
    return recording or is_recording(read_segments(run)[0], manifest.host)


def _names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "segments").glob("*"))


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Keep others from converting or rewriting a run at the same time: each removes what the other is reading."""
    try:
        import fcntl

        descriptor = os.open(run, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_facts(run: Path, target: Path, manifest: Manifest) -> Manifest:
    """Write one Parquet file per relation into the new folder `target`; return the completed manifest.

    Raises:
        RunError: another version recorded it.
        OSError: it cannot be written.
    """
    import duckdb

    require_current(run, manifest.schema)
    segments, damaged = read_segments(run)
    processes, notes = arrange(segments)
    target.mkdir(parents=True)
    size = sum(path.stat().st_size for s in segments for path in s.folder.glob("*.rows"))
    table = Tables(target, in_memory=size <= IN_MEMORY)
    try:
        ambiguous = ambiguous_paths([process.segment.records for process in processes])
        for process in processes:
            _add_process(table, process, ambiguous)
        for relation, facts in _user_facts(processes).items():
            notes += table.add_user(relation, facts)
        torch = next((str(p.segment.meta["torch"]) for p in processes if p.segment.meta.get("torch")), "")
        manifest = manifest.with_(torch=torch or manifest.torch)
        table.add("run", {name: as_array([value]) for name, value in _run_fact(run, manifest).items()})
        table.finish()
    except duckdb.IOException as fault:
        raise OSError(errno.EIO, f"the facts cannot be written: {fault}", str(target)) from fault
    finally:
        table.close()
    return manifest.with_(
        processes=tuple(_describe(process) for process in processes),
        notes=(*damaged, *notes, *step_notes(processes)),
    )


def _add_process(table: Tables, process: Process, ambiguous: frozenset[str]) -> None:
    """Add what a process recorded, and the facts about the process itself."""
    texts = process.segment.names(ambiguous)
    for name, columns in about(process):
        table.add(name, columns)
    for relation in RELATIONS:
        rows = process.segment.rows(relation.name)
        for start in range(0, len(rows), CHUNK):
            table.add(relation.name, columns_of(relation, rows[start : start + CHUNK], process, texts))


def about(process: Process) -> Iterator[tuple[str, Columns]]:
    """Yield the facts about a process itself: relation, columns."""
    meta = process.segment.meta
    fact = {"rank": process.rank, "pid": process.segment.pid, "role": process.role,
            "world_size": process.world_size, "distributed": process.distributed}  # fmt: skip
    yield "process", {name: as_array([value]) for name, value in fact.items()}
    argv = [word for word in meta.get("argv", []) if isinstance(word, str)]
    found = settings(_script_arguments(argv)) if process.role == "trainer" else []
    if found:
        keys, values = zip(*found, strict=True)
        yield "config", {
            "rank": np.full(len(keys), process.rank), "key": as_array(keys), "value": as_array(values),
            "source": as_array(["argv"] * len(keys)), "container": as_array([""] * len(keys)),
            "function": as_array([""] * len(keys)),
            **{name: as_array(list(part)) for name, part in
               zip(("numeric", "number"), zip(*map(number_in, values), strict=True), strict=True)},
        }  # fmt: skip


def columns_of(
    relation: Relation, rows: np.ndarray[Any, Any], process: Process, texts: np.ndarray[Any, Any]
) -> Columns:
    """Return rows of a process as facts: rank, names and call ids of the run filled in."""
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
        "cost": process.segment.meta.get("cost"),
    }  # fmt: skip
