"""Facts on their way into a run folder: collected by relation, written as one Parquet file each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tcrules.instrument.schema import RELATIONS, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

SQL_TYPES = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}
#: Value of a column that a fact of the user's lacks: there is no NULL in facts.
NEUTRAL: dict[str, Any] = {"string": "", "int": 0, "float": 0.0, "bool": False}
#: Encodings of version 2 store what only counts up (fact and call ids, times) as differences: a third of the bytes.
PARQUET = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd"
#: What a table that is kept in a file may hold in memory.
MEMORY = "1GB"

Columns = dict[str, "np.ndarray[Any, Any]"]


class Tables:
    """Collects facts and writes `<relation>.parquet` for every relation of the schema and those of the user.

    Args:
        target: an existing folder.
        in_memory: keep the facts in memory; else in a file in `target` until they are written.
    """

    def __init__(self, target: Path, *, in_memory: bool) -> None:
        import duckdb

        self._target = target
        self._work = target / ".work.duckdb"
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            ":memory:" if in_memory else str(self._work)
        )
        if not in_memory:
            self._connection.execute(f"SET memory_limit = '{MEMORY}'")
        self._connection.execute("SET preserve_insertion_order = true")
        self._next = 1
        self._types: dict[str, dict[str, str]] = {}
        for relation in RELATIONS:
            self.create(relation.name, {column.name: TYPES[column.type] for column in relation.columns})

    def create(self, relation: str, types: Mapping[str, str]) -> None:
        """Make a relation of the user, with the base types of its columns; one that exists stays as it is."""
        if relation in self._types:
            return
        columns = ", ".join(f'"{name}" {SQL_TYPES[kind]} NOT NULL' for name, kind in types.items())
        self._connection.execute(f'CREATE TABLE "{relation}" (fact BIGINT NOT NULL, {columns})')
        self._types[relation] = dict(types)

    def types(self, relation: str) -> Mapping[str, str] | None:
        """Base types of the columns of a relation, None where it does not exist yet."""
        return self._types.get(relation)

    def add(self, relation: str, columns: Columns) -> None:
        """Append facts, given as one array per column; texts as object arrays. Ids follow each other."""
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
        self._connection.register("incoming facts", facts)
        self._connection.execute(
            f'INSERT INTO "{relation}" ({names}) SELECT {", ".join(values)} FROM "incoming facts"'
        )
        self._connection.unregister("incoming facts")

    def add_user(self, relation: str, facts: list[dict[str, Any]]) -> tuple[str, ...]:
        """Append user facts, creating their relation; returns notes on columns that had to be filled in."""
        names = list(dict.fromkeys(name for fact in facts for name in fact))
        types = {name: _common_type([fact[name] for fact in facts if name in fact]) for name in names}
        self.create(relation, types)
        filled = [name for name in names if any(name not in fact for fact in facts)]
        columns = {
            name: as_array([_convert(fact.get(name, NEUTRAL[kind]), kind) for fact in facts], kind)
            for name, kind in types.items()
        }
        self.add(relation, columns)
        text = ", ".join(filled)
        return (f"{relation}: facts without {text} were given the neutral value",) if filled else ()

    def add_file(self, relation: str, path: Path, found: Iterable[str]) -> int:
        """Append the facts of a Parquet file, which fit; columns that are not `found` in it get the neutral value.

        Returns how many there were. They never are in the memory of this process.
        """
        there = set(found)
        values = [
            f'CAST("{name}" AS {SQL_TYPES[kind]})' if name in there else _literal(NEUTRAL[kind])
            for name, kind in self._types[relation].items()
        ]
        rows = self._connection.execute(
            f'INSERT INTO "{relation}" SELECT {self._next} + file_row_number, {", ".join(values)} '
            "FROM read_parquet(?, file_row_number = true)",
            [exactly(path)],
        ).fetchall()
        number = int(rows[0][0])
        self._next += number
        return number

    def ranks(self) -> list[int]:
        """Ranks that occur, in order."""
        found: set[int] = set()
        for relation, types in self._types.items():
            if types.get("rank") == "int":
                rows = self._connection.execute(f'SELECT DISTINCT rank FROM "{relation}"').fetchall()
                found |= {int(row[0]) for row in rows}
        return sorted(found)

    def renumber_ranks(self, ranks: Mapping[int, int]) -> None:
        """Replace ranks in all relations, as far as they change."""
        moved = {old: new for old, new in ranks.items() if old != new}
        if not moved:
            return
        cases = " ".join(f"WHEN {int(old)} THEN {int(new)}" for old, new in moved.items())
        for relation, types in self._types.items():
            if "rank" in types:
                self._connection.execute(f'UPDATE "{relation}" SET rank = CASE rank {cases} ELSE rank END')

    def finish(self) -> None:
        """Write one Parquet file per relation, in the order in which the facts were recorded."""
        for relation in sorted(self._types):
            path = str(self._target / f"{relation}.parquet").replace("'", "''")
            self._connection.execute(f"COPY \"{relation}\" TO '{path}' ({PARQUET})")

    def close(self) -> None:
        """Free what the tables hold; facts that were not written are lost."""
        self._connection.close()
        for path in (self._work, self._work.with_name(self._work.name + ".wal")):
            path.unlink(missing_ok=True)


def exactly(path: Path) -> str:
    """The path as a pattern that matches only itself."""
    return "".join(f"[{character}]" if character in "[*?" else character for character in str(path))


def _literal(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def as_array(values: Sequence[Any], kind: str = "") -> np.ndarray[Any, Any]:
    """Values of one base type as a column; without `kind`, as the first value says."""
    if kind == "string" or (not kind and isinstance(values[0], str)):
        return np.array(values, dtype=object)
    return np.array(values, dtype={"int": np.int64, "float": np.float64, "bool": np.bool_}.get(kind))


def _common_type(values: Iterable[object]) -> str:
    names = {type(value).__name__ for value in values}
    if names <= {"int", "float"}:
        return "float" if "float" in names else "int"
    return "bool" if names == {"bool"} else "string"


def _convert(value: object, kind: str) -> object:
    if kind == "string":
        return value if isinstance(value, str) else str(value)
    return float(value) if kind == "float" else value  # type: ignore[arg-type]
