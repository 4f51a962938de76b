"""Faults as changes of facts: each operator makes of the facts of one relation what a fault would have left there.

An operator speaks of kinds of columns, never of a certain relation, so that it applies to every relation that has such
columns. A fault begins at some step (`later`) and stays, as most do; facts without a step change all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.instrument.schema import TYPES, UNLEARNABLE, Column, Relation

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Added to ids of facts that are there twice.
_AGAIN = 1 << 40
#: Classes of values that the meaning of a column may name.
_CLASSES = ("none", "zero", "nonzero", "nonfinite")


@dataclass(frozen=True, slots=True)
class Span:
    """`steps` at which faults begin, the time of `half` a step, and the `last_rank` (0: there is one process)."""

    steps: tuple[int, ...]
    half: int
    last_rank: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """One injected fault: `query` gives the changed facts of `relation` from a table `facts`."""

    operator: str
    relation: str
    column: str
    step: int
    query: str

    @property
    def name(self) -> str:
        return f"{self.operator} {self.relation}{'.' * bool(self.column)}{self.column} from step {self.step}"


def mutants(relation: Relation, span: Span) -> Iterator[Mutant]:
    """All faults of one relation."""
    stepped = "step" in relation.column_names()
    for step in span.steps if stepped else span.steps[:1]:
        later = f"step >= {step}" if stepped else "true"
        for operator, query in _of_rows(relation, span, later):
            yield Mutant(operator, relation.name, "", step, query)
        for column in relation.columns:
            for operator, value in _of_column(relation, column, span):
                where = f"{later} AND rank = {span.last_rank}" if operator == "desync" else later
                query = _changed({column.name: f'CASE WHEN {where} THEN {value} ELSE "{column.name}" END'})
                yield Mutant(operator, relation.name, column.name, step, query)


def _of_rows(relation: Relation, span: Span, later: str) -> Iterator[tuple[str, str]]:
    names = relation.column_names()
    if "step" in names:
        yield "drop", f"SELECT * FROM facts WHERE NOT ({later})"
        yield "drop once", f"SELECT * FROM facts WHERE step != (SELECT min(step) FROM facts WHERE {later})"
    else:
        yield "drop", "SELECT * FROM facts WHERE fact % 2 = 0"
    if span.last_rank and "rank" in names:
        yield "skip one rank", f"SELECT * FROM facts WHERE NOT ({later} AND rank = {span.last_rank})"
    moments = [column.name for column in relation.columns if column.type == "time"]
    again = {"fact": f"fact + {_AGAIN}"} | {name: f'"{name}" + 1' for name in moments}
    if "call" in names:
        again["call"] = f"call + {_AGAIN}"
    if len(again) > 1:
        yield "duplicate", f"SELECT * FROM facts UNION ALL {_changed(again)} WHERE {later}"
    prints = [column.name for column in relation.columns if column.type == "fingerprint"]
    if len(prints) > 1:
        earlier = {name: _before(relation, f'"{name}"') for name in prints}
        yield (
            "repeat",
            _changed({n: f'CASE WHEN {later} THEN {v} ELSE "{n}" END' for n, v in earlier.items()}),
        )
    for operator, shift in (("early", -span.half), ("late", span.half)):
        if moments:
            moved = {name: f'CASE WHEN {later} THEN "{name}" + {shift} ELSE "{name}" END' for name in moments}
            yield operator, _changed(moved)


def _of_column(relation: Relation, column: Column, span: Span) -> Iterator[tuple[str, str]]:
    """Operators and values of one column where they change it."""
    name = f'"{column.name}"'
    if column.type == "fingerprint":
        yield "stale", _before(relation, name)
        yield "corrupt", f"(hash({name}, fact) >> 2)::BIGINT"
        prints = [one.name for one in relation.columns if one.type == "fingerprint"]
        if column.name == prints[-1]:
            yield (
                "freeze",
                f'"{prints[0]}"' if len(prints) > 1 else f"first({name}) OVER {_history(relation)}",
            )
        if span.last_rank and "rank" in relation.column_names():
            yield "desync", f"xor({name}, 1)"
    elif column.type == "bool":
        yield "flip", f"NOT {name}"
    elif column.type == "float":
        yield "zero", "0.0"
        yield "explode", "'nan'::DOUBLE"
    elif column.type == "int":
        yield "shift", f"{name} + 1"
    elif column.type == "string":
        words = [word for word in _CLASSES if word in column.doc]
        if "dtype" in column.name:
            words = ["float64"]
        for word in words:
            yield f"make {word}", f"'{word}'"
        if not words:
            yield "relabel", _other(name)
    elif column.type not in UNLEARNABLE:
        yield "mix up", _other(name)


def _other(name: str) -> str:
    """Another value that the column has, or one that it never has."""
    return f"coalesce((SELECT min(x.{name}) FROM facts x WHERE x.{name} != facts.{name}), {name} || '?')"


def _before(relation: Relation, name: str) -> str:
    """The value of a column in the fact before about the same things."""
    return f"coalesce(lag({name}) OVER {_history(relation)}, {name})"


def _history(relation: Relation) -> str:
    """The facts about the same things, in order."""
    things = [
        f'"{column.name}"'
        for column in relation.columns
        if column.type == "rank" or (TYPES[column.type] == "string" and column.type != "string")
    ]
    return f"(PARTITION BY {', '.join(things) or '1'} ORDER BY fact)"


def _changed(values: dict[str, str]) -> str:
    replaced = ", ".join(f'{value} AS "{name}"' for name, value in values.items())
    return f"SELECT * REPLACE ({replaced}) FROM facts"
