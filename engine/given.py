"""Facts from memory for the database: arrays that it scans, since values as parameters of a statement are slow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlglot import exp
from tcrules.engine import sql
from tcrules.engine.sql_values import cast, normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    from tcrules.engine.facts import Stored
    from tcrules.engine.ir import Predicate

_NAME = "$given"
_ARRAYS = {"int": "int64", "float": "float64", "bool": "bool", "string": "object"}


@contextmanager
def scanned(
    connection: duckdb.DuckDBPyConnection, predicate: Predicate, facts: Sequence[Stored]
) -> Iterator[Any]:
    """A SELECT of the ids and columns of facts, normalised, for use within the context."""
    rows = [(fact.id, *fact.values) for fact in facts]
    bases = ["int", *(column.type.base for column in predicate.columns)]
    given = {
        f"c{place}": np.array(values, dtype=_ARRAYS[base])
        for place, (values, base) in enumerate(zip(zip(*rows, strict=True), bases, strict=True))
    }
    values = [_value(sql.column(name), base) for name, base in zip(given, bases, strict=True)]
    connection.register(_NAME, given)
    try:
        yield exp.Select(expressions=values).from_(sql.table(_NAME))
    finally:
        connection.unregister(_NAME)


def _value(value: Any, base: str) -> Any:
    """NaN counts as missing in arrays."""
    if base != "float":
        return value
    return exp.Coalesce(this=normal(value, base), expressions=[cast(exp.Literal.string("nan"), base)])
