"""Which names a text of rules may use at a place: completion for the prompt and for editors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcrules.engine.values import FUNCTIONS
from tcrules.grammar.words import BOOLEAN_FUNCTIONS, CONSTANT_WORDS, VALUE_AGGREGATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine.ir import Predicate

AGGREGATES = ("count", *VALUE_AGGREGATES)
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|//[^\n]*|[?$@]?[A-Za-z_][A-Za-z0-9_]*|:-|[^\s]')
_VARIABLE = re.compile(r"[A-Z][A-Za-z0-9_]*")
_WORD = re.compile(r"[?$@]?[A-Za-z_]?[A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Names:
    """What there is: relations with their columns, parameters, entity types."""

    relations: Mapping[str, tuple[str, ...]]
    parameters: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A way to go on: `text` replaces the last `length` characters; `kind` says what it is."""

    text: str
    length: int
    kind: str


@dataclass(slots=True)
class _Place:
    """Where a text ends: the calls and braces that are open, innermost last."""

    open: list[tuple[str, str]] = field(default_factory=list)
    given: list[set[str]] = field(default_factory=list)
    before: str = ""


def relations_of(predicates: Iterable[Predicate]) -> dict[str, tuple[str, ...]]:
    """Columns by relation; columns that have only a position are left out."""
    return {
        predicate.name: tuple(column.name for column in predicate.columns if not column.name.startswith("$"))
        for predicate in predicates
    }


def complete(text: str, names: Names, variables: Iterable[str] = ()) -> list[Completion]:
    """What may stand at the end of `text`, best first; `variables` are those that the statement goes on to mention.

    >>> names = Names({"step": ("step", "rank")})
    >>> [found.text for found in complete("step(st", names)]
    ['step: ']
    >>> [found.text for found in complete("step(step: Start), St", names)]
    ['Start']
    """
    match = _WORD.search(text)
    word = match.group() if match is not None else ""
    head = text[: len(text) - len(word)]
    place = _place(head)
    if place is None:
        return []
    found = _candidates(head, place, names, variables)
    return [
        Completion(text, len(word), kind)
        for text, kind in found.items()
        if text.startswith(word) and text != word
    ]


def _place(head: str) -> _Place | None:
    """The place at the end of `head`, None inside of a string or comment."""
    place = _Place()
    last = ""
    for match in _TOKEN.finditer(head):
        token = match.group()
        if token.startswith("//"):
            if match.end() == len(head):
                return None
            continue
        if token.startswith('"') and (len(token) == 1 or not token.endswith('"')):
            return None
        if token in "({":
            place.open.append((token, last))
            place.given.append(set())
        elif token in ")}" and place.open:
            place.open.pop()
            place.given.pop()
        elif token == ":" and place.given:
            place.given[-1].add(last)
        last = token
    place.before = last
    return place


def _candidates(head: str, place: _Place, names: Names, more: Iterable[str]) -> dict[str, str]:
    mentioned = _VARIABLE.findall(_without_strings(_statement(head)))
    variables = dict.fromkeys([*mentioned, *more], "variable")
    if place.open and place.open[-1][0] == "(":
        owner = place.open[-1][1]
        values = {**variables, **_values(names)}
        if owner in names.relations and place.before in ("(", ","):
            columns = [name for name in names.relations[owner] if name not in place.given[-1]]
            return {**{f"{name}: ": "column" for name in columns}, **values}
        return values
    literals = {f"{name}(": "relation" for name in names.relations}
    tests = {f"{name}(": "function" for name in sorted(BOOLEAN_FUNCTIONS)}
    return {"not ": "keyword", **literals, **variables, **tests, **_values(names)}


def _statement(head: str) -> str:
    """The text of the statement in which `head` ends; variables mean nothing outside of it."""
    return re.split(r"\.\s*\n", head)[-1]


def _without_strings(text: str) -> str:
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def _values(names: Names) -> dict[str, str]:
    return {
        **{f"${name}": "parameter" for name in names.parameters},
        **{f"{name}(": "function" for name in FUNCTIONS if name not in BOOLEAN_FUNCTIONS},
        **dict.fromkeys(AGGREGATES, "aggregate"),
        **dict.fromkeys(CONSTANT_WORDS, "constant"),
    }
