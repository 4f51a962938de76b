"""Fixtures: train in this process under the recorder, and read the facts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from tcrules.instrument import fingerprint
from tcrules.instrument.probes import cuda
from tcrules.instrument.runs import open_run
from tcrules.instrument.schema import SPARSE
from tcrules.instrument.session import current
from tcrules.instrument.watching import watch

import tcrules

PROGRAMS = Path(__file__).with_name("programs")


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"probes_{name}", PROGRAMS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


_outcome, _devices = _module("outcome"), _module("devices")


class Facts:
    """The facts of a run, by SQL."""

    def __init__(self, run: Path) -> None:
        self._connection = duckdb.connect()
        for name, path in open_run(run).relations().items():
            self._connection.execute(f"""CREATE VIEW "{name}" AS SELECT * FROM read_parquet('{path}')""")

    def __call__(self, relation: str, *columns: str, where: str = "true") -> list[Any]:
        """Return the rows of a relation in the order of recording; bare values where one column is asked for."""
        chosen = ", ".join(f'"{column}"' for column in columns) or "* EXCLUDE (fact, rank)"
        rows = self.sql(f'SELECT {chosen} FROM "{relation}" WHERE {where} ORDER BY fact')
        return [row[0] for row in rows] if len(columns) == 1 else rows

    def gaps(self, *columns: str, where: str = "true") -> list[Any]:
        """Return the gaps, without those of what is always looked at now and then only."""
        return self("instrument_gap", *columns, where=f"why <> '{SPARSE}' AND {where}")

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()


Record = Callable[..., Facts]


def _facts(run: Path, gaps: bool) -> Facts:
    facts = Facts(run)
    if not gaps:
        assert facts.gaps("relation", "why") == []
    return facts


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Return a function that runs a training under the recorder and returns its facts."""
    assert current() is None
    torch.manual_seed(0)
    runs = iter(range(100))

    def run(train: Callable[[], object], gaps: bool = False) -> Facts:
        folder = tmp_path / f"run{next(runs)}"
        with watch(run=folder):
            train()
        return _facts(folder, gaps)

    return run


@pytest.fixture
def same(tmp_path: Path) -> Record:
    """Return a function that trains without and with the recorder, and returns the facts.

    It fails where the recorded training differs in one bit: in what it returns, or in a random generator; and
    where the shipped rules find a fault in it.
    """
    assert current() is None
    runs = iter(range(100))

    def run(train: Callable[[], object], gaps: bool = False) -> Facts:
        folder = tmp_path / f"same{next(runs)}"
        _outcome.identical(train, folder)
        found = [str(v.message) for v in tcrules.check(folder).violations if str(v.severity) != "note"]
        assert found == []
        return _facts(folder, gaps)

    return run


@pytest.fixture
def outcome() -> Any:
    """The module that compares a training with the same, recorded."""
    return _outcome


@pytest.fixture
def devices() -> Any:
    """The module of the stand-in for a device."""
    return _devices


@pytest.fixture
def record_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """Return a function that records a training whose tensors lie on a stand-in for a device, or on the host if None.

    Fingerprints are sums either way.
    """
    runs = iter(range(100))

    def run(train: Callable[[], object], kit: Any = None, **options: Any) -> Facts:
        monkeypatch.setattr(cuda, "make", lambda: kit)
        folder = tmp_path / f"device{next(runs)}"
        with watch(run=folder, options={"fingerprint": "sums", **options}):
            train()
        return Facts(folder)

    before = fingerprint.chosen()
    yield run
    fingerprint.choose(before)


@pytest.fixture(scope="session")
def read() -> Callable[[Path], Facts]:
    """Return a function that opens the facts of a run folder."""
    return Facts
