"""Writes the facts of a relation as CSV, TSV or Parquet, by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.files.faults import Fault, FileFault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tcrules.engine.files.layout import Column
    from tcrules.engine.ir import Predicate, Value

FORMATS = {
    "csv": "FORMAT csv, HEADER, DELIMITER ','",
    "tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}
_SQL = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}


def write_relation(
    folder: Path, predicate: Predicate, columns: Sequence[Column | list[Value]], form: str
) -> Path:
    """Write `<relation>.<form>` into a folder, which is made; an older file is replaced. O(facts)."""
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    if not columns:
        raise FileFault(
            folder, [Fault(0, f"relation {predicate.name} has no columns: no file can hold its facts")]
        )
    target = folder / f"{predicate.name}.{form}"
    names = [f"c{place}" for place in range(len(columns))]
    data = dict(zip(names, map(_plain, columns), strict=True))
    listed = ", ".join(
        f'CAST({name} AS {_SQL[column.type.base]}) AS "{column.name.lstrip("$")}"'
        for name, column in zip(names, predicate.columns, strict=True)
    )
    place = str(target).replace("'", "''")
    with duckdb.connect(":memory:") as connection:
        connection.register("facts", data)
        connection.execute(f"COPY (SELECT {listed} FROM facts) TO '{place}' ({FORMATS[form]})")
    return target


def _plain(column: Column | list[Value]) -> np.ndarray:
    if isinstance(column, tuple):
        codes, texts = column
        return np.array(texts, dtype=object)[codes]
    if isinstance(column, list):
        return np.array(column, dtype=object if column and isinstance(column[0], str) else None)
    return column
