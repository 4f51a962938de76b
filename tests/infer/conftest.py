"""Synthetic runs: folders with the facts that a recording of a small training would have."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pytest
from tcrules.engine.sql_values import SQL_TYPES
from tcrules.instrument.schema import RELATIONS, SCHEMA_VERSION, TYPES, Relation
from tcrules.rules.infer import judging

from .helping import NEUTRAL, Facts
from .loop import training

MakeRun: TypeAlias = Callable[..., Path]

ARRAYS = {"int": "int64", "float": "float64", "bool": "bool", "string": "object"}


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@cache
def _empty_files() -> dict[str, bytes]:
    """What the file of a relation without facts has in it: most relations of most runs."""
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for relation in RELATIONS:
            file = Path(folder) / f"{relation.name}.parquet"
            _write_facts(file, relation, (), 0)
            files[relation.name] = file.read_bytes()
    return files


def _write_facts(file: Path, relation: Relation, rows: Sequence[Mapping[str, Any]], known: int) -> None:
    """A relation in columns, which DuckDB takes thirty times faster than rows."""
    assert {name for given in rows for name in given} <= set(relation.column_names()), relation.name
    columns = {"fact": np.arange(known + 1, known + 1 + len(rows))}
    kinds = {"fact": "BIGINT"}
    for column in relation.columns:
        base = TYPES[column.type]
        values = [given.get(column.name, NEUTRAL[base]) for given in rows]
        columns[column.name] = np.array(values, dtype=ARRAYS[base])
        kinds[column.name] = SQL_TYPES[base]
    listed = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in kinds.items())
    _connection().register("given", columns)
    _connection().execute(f"COPY (SELECT {listed} FROM given) TO '{file}'")
    _connection().unregister("given")


def write_run(
    path: Path,
    facts: Facts,
    command: str = "python train.py",
    status: str = "finished",
    **manifest_entries: object,
) -> Path:
    """A sealed run folder; columns that a fact leaves out have the neutral value of their type.

    Entries of the manifest are those of a run that went well, unless they are given.
    """
    (path / "facts").mkdir(parents=True)
    fact = 0
    for relation in RELATIONS:
        rows = facts.get(relation.name, ())
        file = path / "facts" / f"{relation.name}.parquet"
        if rows:
            _write_facts(file, relation, rows, fact)
            fact += len(rows)
        else:
            file.write_bytes(_empty_files()[relation.name])
    trainer = {"role": "trainer", "rank": 0, "ended": True, "covers": [r.name for r in RELATIONS], "user": []}
    manifest = {
        "format": "tcrules-run", "command": command, "schema": SCHEMA_VERSION,
        "started": float(zlib.crc32(str(path).encode())), "ended": 2.0,
        "status": status,
        "exit_code": 0, "host": "h", "pid": 1, "python": "3", "torch": "2.9", "sealed": True, "processes": [trainer],
        "notes": [],
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps({**manifest, **manifest_entries}))
    return path


@pytest.fixture(autouse=True)
def without_injected_faults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying rules on injected faults takes longer than all the rest; tests that are not about it go without."""
    if "mutation" not in request.node.module.__name__:
        monkeypatch.setattr(judging, "scored", lambda rules, _program, _facts, _options: (list(rules), []))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three healthy runs that tests only read; statistics are kept beside them after the first use."""
    base = tmp_path_factory.mktemp("reference")
    return [write_run(base / f"r{n}", training(n), f"python train.py --seed {n}") for n in (11, 12, 13)]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run(name, seed=3, …)` writes a run folder; keywords are those of `training`."""

    def make(name: str, *, command: str = "", status: str = "finished", **settings: Any) -> Path:
        seed = settings.setdefault("seed", len(name))
        return write_run(
            tmp_path / name, training(**settings), command or f"python train.py --seed {seed}", status
        )

    return make


@pytest.fixture
def write_facts(tmp_path: Path) -> Callable[[str, Facts], Path]:
    """Write given facts as a run folder."""
    return lambda name, facts: write_run(tmp_path / name, facts, f"python train.py --name {name}")
