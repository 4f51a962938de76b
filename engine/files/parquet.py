"""Parquet files, read by DuckDB. Columns are found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.files.faults import MOST, Fault, FileFault
from tcrules.engine.files.quick import encode
from tcrules.engine.run_files import escaped
from tcrules.grammar.diagnostics import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    from tcrules.engine.files.layout import Column
    from tcrules.engine.ir import Predicate

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
#: What may be stored for a base type: nothing that would lose digits or change its kind.
_STORED = {"int": _WHOLE, "float": ("FLOAT", "DOUBLE", *_WHOLE), "bool": ("BOOLEAN",), "string": ("VARCHAR",)}
_SQL = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}
_ROWS = "read_parquet(?, file_row_number = true)"


def read_parquet(path: Path, predicate: Predicate) -> list[Column]:
    """The columns of a file; those that the relation does not have are ignored. Raises FileFault."""
    import duckdb

    try:
        with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
            return _read(connection, path, predicate)
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        raise FileFault(path, [Fault(0, f"no readable Parquet file: {why}")]) from None


def check_parquet(connection: duckdb.DuckDBPyConnection, path: Path, predicate: Predicate) -> list[Fault]:
    """What is wrong with the columns of a file, or else with the values in them. Reads it once, holds nothing."""
    found = stored_types(connection, path)
    return _wrong_columns(found, predicate) or _wrong_values(connection, path, predicate)


def stored_types(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """SQL type by column of a file."""
    described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [escaped(path)]).fetchall()
    return {str(row[0]): str(row[1]) for row in described}


def base_type(stored: str) -> str | None:
    """The base type that a column of this SQL type holds without loss, None where there is none."""
    kind = stored.split("(")[0]
    return next((base for base, kinds in _STORED.items() if kind in kinds), None)


def _read(connection: duckdb.DuckDBPyConnection, path: Path, predicate: Predicate) -> list[Column]:
    faults = check_parquet(connection, path, predicate)
    if faults:
        raise FileFault(path, faults)
    # Names are [a-z][a-z0-9_]*: quoting is enough.
    listed = ", ".join(f'CAST("{c.name}" AS {_SQL[c.type.base]}) AS "{c.name}"' for c in predicate.columns)
    arrays = connection.execute(f"SELECT {listed} FROM read_parquet(?)", [escaped(path)]).fetchnumpy()
    # Masked arrays, where something could be absent; nothing is.
    plain = ((column, np.ma.getdata(arrays[column.name])) for column in predicate.columns)
    return [encode(values.tolist()) if column.type.base == "string" else values for column, values in plain]


def _wrong_columns(found: dict[str, str], predicate: Predicate) -> list[Fault]:
    faults = []
    for column in predicate.columns:
        kind = found.get(column.name)
        if kind is None:
            near = did_you_mean(column.name, found)
            hint = f"; did you mean `{near}`?" if near else f"; its columns are {', '.join(found)}"
            faults.append(Fault(0, f"no column `{column.name}`{hint}"))
        elif kind.split("(")[0] not in _STORED[column.type.base]:
            faults.append(Fault(0, f"column {column.name} is {kind}, not {column.type.base}"))
    return faults


def _wrong_values(connection: duckdb.DuckDBPyConnection, path: Path, predicate: Predicate) -> list[Fault]:
    faults: list[tuple[int, str]] = []
    for column in predicate.columns:
        wrong = f'"{column.name}" IS NULL'
        if column.type.base == "int":
            wrong += f' OR TRY_CAST("{column.name}" AS BIGINT) IS NULL'
        query = f'SELECT file_row_number + 1, "{column.name}" FROM {_ROWS} WHERE {wrong} LIMIT {MOST}'
        for row, value in connection.execute(query, [escaped(path)]).fetchall():
            why = "there is no value (NULL)" if value is None else f"{value} is no int of 64 bits"
            faults.append((row, f"column {column.name}: {why}"))
    return [Fault(row, message) for row, message in sorted(faults)[:MOST]]
