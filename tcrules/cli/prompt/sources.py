"""Facts that a session can ask: a recorded run, or files of a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tcrules.datalog import observed, read_files
from tcrules.instrument.runs import open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tcrules.engine.files.layout import Column
    from tcrules.engine.ir import Program


@dataclass(slots=True)
class RunFacts:
    """The facts of a recorded run, in DuckDB. Raises RunError where the folder is none."""

    path: Path

    def __post_init__(self) -> None:
        open_run(self.path)

    def open(self, program: Program) -> Any:
        from tcrules.engine.duckdb_store import DuckDBStore

        return DuckDBStore.open(open_run(self.path).facts, program)

    def prepare(self, store: Any, body: Sequence[Any]) -> None:
        """The store opens what it needs."""
        store.evaluate([body])

    def close(self, store: Any) -> None:
        store.close()


@dataclass(slots=True)
class FileFacts:
    """Files of a folder, each read once, when something first needs it."""

    folder: Path
    _read: dict[str, list[Column]] = field(default_factory=dict)
    _given: set[str] = field(default_factory=set)

    def open(self, program: Program) -> Any:
        from tcrules.engine.vector import VectorStore

        self._given.clear()
        return VectorStore(program)

    def prepare(self, store: Any, body: Sequence[Any]) -> None:
        """Read the files of relations that a body depends on."""
        needed = observed(store.program, [tuple(body)])
        self._read |= read_files(
            self.folder, [predicate for predicate in needed if predicate.name not in self._read]
        )
        for predicate in needed:
            if predicate.name not in self._given:
                store.load(predicate, self._read[predicate.name])
                self._given.add(predicate.name)
        store.evaluate([tuple(body)])

    def close(self, store: Any) -> None:
        """Nothing is held open."""
