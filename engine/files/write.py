"""Writes the facts of a relation as CSV, TSV or Parquet, by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tcrules.engine.files.layout import Column
    from tcrules.engine.ir import Predicate

FORMATS = {
    "csv": "FORMAT csv, HEADER, DELIMITER ','",
    "tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}
_SQL = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}


def write_relation(folder: Path, predicate: Predicate, columns: Sequence[Column], form: str) -> Path:
    """Write `<relation>.<form>` into a folder, which is made; an older file is replaced. O(facts)."""
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
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


def _plain(column: Column) -> np.ndarray:
    if isinstance(column, tuple):
        codes, texts = column
        return np.array(texts, dtype=object)[codes]
    return column
