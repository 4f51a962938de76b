"""A run folder that is written by an import: the same files that recording and sealing leave."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import Manifest, require_free, write_manifest
from tcrules.instrument.processes import is_alive
from tcrules.instrument.tables import Tables, as_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from tcrules.instrument.tables import Columns

#: Facts of a relation that are held before they go into its table.
BUFFER = 50_000


class NewRun:
    """Collects facts and puts the finished run in its place at once: until then there is none.

    A context manager: what was written is removed unless `finish` came to its end.

    Raises:
        RunError: the place is taken (and `overwrite` is not given), or cannot be written.
    """

    def __init__(self, run: Path, *, overwrite: bool = False, in_memory: bool = True) -> None:
        self.run = Path(run).absolute()
        require_free(self.run, overwrite)
        self._home = self.run.parent / f".{self.run.name}.import-{os.getpid()}"
        self._drop_leftovers()
        try:
            (self._home / "facts").mkdir(parents=True)
        except OSError as fault:
            message = f"the run folder '{run}' cannot be created: {fault.strerror}"
            raise RunError(message, "choose another folder with -o") from fault
        self._tables = Tables(self._home / "facts", in_memory=in_memory)
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        self._open = True
        self.facts: dict[str, int] = {}

    def __enter__(self) -> NewRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        import duckdb

        self._close()
        shutil.rmtree(self._home, ignore_errors=True)
        if isinstance(fault, duckdb.Error):
            why = str(fault).splitlines()[0]
            raise RunError(f"the run '{self.run}' cannot be written: {why}", "is the disk full?") from fault

    def declare(self, relation: str, types: Mapping[str, str]) -> None:
        """Make a relation of the user's, with the base types of its columns in their order."""
        self._tables.create(relation, types)

    def add(self, relation: str, *values: Any) -> None:
        """Add a fact: values in the order of the columns, `rank` included."""
        waiting = self._waiting.setdefault(relation, [])
        waiting.append(values)
        if len(waiting) >= BUFFER:
            self._flush(relation)

    def add_columns(self, relation: str, columns: Columns) -> None:
        """Add many facts, given as one array per column."""
        rows = len(next(iter(columns.values()), ()))
        self._tables.add(relation, columns)
        self.facts[relation] = self.facts.get(relation, 0) + rows

    def add_file(self, relation: str, path: Path, found: Iterable[str]) -> None:
        """Add the facts of a Parquet file whose columns fit; `found` are those that it has."""
        self.facts[relation] = self.facts.get(relation, 0) + self._tables.add_file(relation, path, found)

    def ranks(self) -> list[int]:
        """Ranks of the facts that were added, in order."""
        self._flush_all()
        return self._tables.ranks()

    def renumber_ranks(self, ranks: Mapping[int, int]) -> None:
        """Replace the ranks of all facts that were added."""
        self._flush_all()
        self._tables.renumber_ranks(ranks)

    def finish(self, manifest: Manifest) -> None:
        """Write the fact `run`, the files, and `run.json`; then put the run in its place."""
        self.add(
            "run", self.run.name, manifest.command, manifest.schema, manifest.status, manifest.python,
            manifest.torch,
        )  # fmt: skip
        self._flush_all()
        self._tables.finish()
        self._close()
        write_manifest(self._home, manifest.with_(sealed=True, ended=manifest.ended or time.time()))
        if self.run.exists():
            shutil.rmtree(self.run)
        os.rename(self._home, self.run)

    def _drop_leftovers(self) -> None:
        """Remove what imports into the same place have left that were killed."""
        for path in self.run.parent.glob(f".{glob.escape(self.run.name)}.import-*"):
            number = path.name.rpartition("-")[2]
            if number.isdigit() and (
                int(number) == os.getpid() or not is_alive(int(number), platform.node())
            ):
                shutil.rmtree(path, ignore_errors=True)

    def _flush_all(self) -> None:
        for relation in list(self._waiting):
            self._flush(relation)

    def _flush(self, relation: str) -> None:
        rows = self._waiting.pop(relation, [])
        types = self._tables.types(relation)
        if rows and types is not None:
            columns = zip(types.items(), zip(*rows, strict=True), strict=True)
            self.add_columns(relation, {name: as_array(values, kind) for (name, kind), values in columns})

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._tables.close()
