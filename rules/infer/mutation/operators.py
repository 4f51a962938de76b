"""Faults as changes of facts: each operator makes of the facts of one relation what a fault would have left there.

An operator speaks of kinds of columns, never of a certain relation, so that it applies to every relation that has such
columns. A fault begins at some step and stays, as most do, or comes and goes; facts without a step change all. Where
there are several processes, it also happens on one of them alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.instrument.schema import TYPES, UNLEARNABLE, Column, Relation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Added to ids of facts that are there twice.
_AGAIN = 1 << 40
#: Classes of values that the meaning of a column may name.
_CLASSES = ("none", "zero", "nonzero", "nonfinite")


@dataclass(frozen=True, slots=True)
class Span:
    """The time of `half` a step, and the `last_rank` (0: there is one process)."""

    half: int
    last_rank: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """One injected fault: `query` gives the changed facts of `relation` from a table `facts`."""

    operator: str
    relation: str
    column: str
    when: str
    query: str

    @property
    def name(self) -> str:
        return f"{self.operator} {self.relation}{'.' * bool(self.column)}{self.column}{self.when}"


def mutants(relation: Relation, span: Span, when: Mapping[str, str]) -> Iterator[Mutant]:
    """All faults of one relation that concern some of its facts: `when` says in words and in SQL which."""
    names = relation.column_names()
    for words, condition in when.items():
        scopes = {words: condition}
        if span.last_rank and "rank" in names:
            scopes[f" on one rank{words}"] = f"{condition} AND rank = {span.last_rank}"
        for scope, where in scopes.items():
            for operator, query in _of_rows(relation, span, where):
                yield Mutant(operator, relation.name, "", scope, query)
            for column in relation.columns:
                for operator, value in _of_column(relation, column):
                    query = _changed({column.name: _where(where, value, column.name)})
                    yield Mutant(operator, relation.name, column.name, scope, query)


def _of_rows(relation: Relation, span: Span, where: str) -> Iterator[tuple[str, str]]:
    names = relation.column_names()
    if "step" in names:
        yield "drop", f"SELECT * FROM facts WHERE NOT ({where})"
        first = f"(SELECT min(step) FROM facts WHERE {where})"
        yield "drop once", f"SELECT * FROM facts WHERE NOT (step = {first} AND {where})"
    else:
        yield "drop", f"SELECT * FROM facts WHERE NOT (fact % 2 = 1 AND {where})"
    moments = [column.name for column in relation.columns if column.type == "time"]
    again = {"fact": f"fact + {_AGAIN}"} | {name: f'"{name}" + 1' for name in moments}
    if "call" in names:
        again["call"] = f"call + {_AGAIN}"
    if len(again) > 1:
        yield "duplicate", f"SELECT * FROM facts UNION ALL {_changed(again)} WHERE {where}"
    prints = [column.name for column in relation.columns if column.type == "fingerprint"]
    if len(prints) > 1:
        earlier = {name: _before(relation, f'"{name}"') for name in prints}
        yield (
            "repeat",
            _changed({n: f'CASE WHEN {where} THEN {v} ELSE "{n}" END' for n, v in earlier.items()}),
        )
    # What belongs to no step (members, flags) is made before the first one: it comes late after several.
    far = span.half if "step" in names else 8 * span.half
    for operator, shift in (("early", -far), ("late", far)):
        if moments:
            yield operator, _changed({name: _where(where, f'"{name}" + {shift}', name) for name in moments})


def _of_column(relation: Relation, column: Column) -> Iterator[tuple[str, str]]:
    """Operators and values of one column where they change it."""
    name = f'"{column.name}"'
    if column.type == "fingerprint":
        yield "stale", _before(relation, name)
        yield "corrupt", f"(hash({name}, fact) >> 2)::BIGINT"
        if {"rank", "step"} <= set(relation.column_names()):
            yield "share", "(hash(step) >> 2)::BIGINT"  # all ranks have the same
        prints = [one.name for one in relation.columns if one.type == "fingerprint"]
        if column.name == prints[-1]:
            yield (
                "freeze",
                f'"{prints[0]}"' if len(prints) > 1 else f"first({name}) OVER {_history(relation)}",
            )
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


def _where(condition: str, value: str, name: str) -> str:
    return f'CASE WHEN {condition} THEN {value} ELSE "{name}" END'


def _changed(values: dict[str, str]) -> str:
    replaced = ", ".join(f'{value} AS "{name}"' for name, value in values.items())
    return f"SELECT * REPLACE ({replaced}) FROM facts"
