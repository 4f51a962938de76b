"""The facts of a run in its Parquet files: which store serves them, and reading them into memory."""

from __future__ import annotations

from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tcrules.engine.run_files import check_columns, escaped
from tcrules.engine.store import StoreFault
from tcrules.engine.vector import VectorStore
from tcrules.engine.vector.relation import Observed
from tcrules.engine.vector.words import encode_column

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    from tcrules.engine.duckdb_store import DuckDBStore, Settings
    from tcrules.engine.ir import Predicate, Program

#: Runs with at most so many facts are evaluated in memory: planning SQL for each rule would take longer than the work.
MOST_IN_MEMORY = 1_000_000
#: Relations with fewer facts are fetched with their texts.
CODED = 50_000


def open_store(
    facts: Path, program: Program, settings: Settings | None = None, most: int = MOST_IN_MEMORY
) -> DuckDBStore | VectorStore:
    """A store over the `<relation>.parquet` files of a run, a context manager.

    A relation without a file was not recorded and is empty. Both stores give the same results.

    Raises:
        StoreFault: a file cannot be read; for one that does not have its relation's columns, when it is first read.
    """
    import duckdb

    recorded = RecordedFacts(facts, duckdb.connect(":memory:"))
    if sum((recorded.sizes or {}).values()) <= most:
        return VectorStore(program, recorded=recorded)
    recorded.close()
    from tcrules.engine.duckdb_store import DuckDBStore

    return DuckDBStore.open(facts, program, settings)


class RecordedFacts:
    """Parquet files as the source of a store in memory."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._folder = folder
        self._connection = connection

    @cached_property
    def sizes(self) -> dict[str, int] | None:
        """How many facts each file has; None if there is no file at all, or one that is damaged.

        The fault belongs to whoever reads that.
        """
        import duckdb

        query = "SELECT file_name, num_rows FROM parquet_file_metadata(?)"
        try:
            rows = self._connection.execute(query, [f"{escaped(self._folder)}/*.parquet"]).fetchall()
        except duckdb.Error:
            return None
        return {PurePath(name).stem: int(number) for name, number in rows}

    def read(self, predicate: Predicate, store: VectorStore) -> Observed | None:
        """The facts of a relation with their ids; None if it was not recorded."""
        import duckdb

        path = self._folder / f"{predicate.name}.parquet"
        if not path.exists():
            return None
        try:
            # A relation object takes the path as a parameter, not as text to be quoted.
            rows = self._connection.read_parquet(escaped(path))
            check_columns(predicate, path, dict(zip(rows.columns, map(str, rows.types), strict=True)))
            texts = self._texts(rows, predicate)
            asked = ["fact", *(column.name for column in predicate.columns)]
            shown = (
                f"enum_code({_quoted(n)}::{_quoted(f'texts {n}')}) AS {_quoted(n)}"
                if n in texts
                else _quoted(n)
                for n in asked
            )
            found: dict[str, Any] = rows.project(", ".join(shown)).fetchnumpy()
        except duckdb.Error as fault:
            raise StoreFault(f"{path}: {fault}") from fault
        words = [
            store.texts.numbers(texts[column.name]).take(found[column.name])
            if column.name in texts
            else encode_column(found[column.name], column.type.base, store.texts)
            for column in predicate.columns
        ]
        return Observed(words, len(found["fact"]), found["fact"])

    def _texts(self, rows: duckdb.DuckDBPyRelation, predicate: Predicate) -> dict[str, list[str]]:
        """Columns in which few texts are repeated often, with these texts; each becomes an ENUM of its own.

        What is fetched of such a column is the places of its texts: a Python text for each fact costs more than all
        else that reading does.
        """
        size = (self.sizes or {}).get(predicate.name, 0)
        columns = [column.name for column in predicate.columns if column.type.base == "string"]
        if not columns or size < CODED:
            return {}
        counted = ", ".join(f"count(DISTINCT {n}), count({n})" for n in map(_quoted, columns))
        rows.create_view("recorded", replace=True)
        row = self._connection.execute(f"SELECT {counted} FROM recorded").fetchall()[0]
        found = {}
        for name, different, present in zip(columns, row[::2], row[1::2], strict=True):
            if different * 4 > size or present < size:
                continue
            kind = _quoted(f"texts {name}")
            self._connection.execute(f"DROP TYPE IF EXISTS {kind}")
            self._connection.execute(
                f"CREATE TYPE {kind} AS ENUM (SELECT DISTINCT {_quoted(name)} FROM recorded)"
            )
            found[name] = self._connection.execute(f"SELECT enum_range(NULL::{kind})").fetchall()[0][0]
        return found

    def close(self) -> None:
        """Free the connection that reads."""
        self._connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
