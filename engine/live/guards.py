"""What live checking assumes of facts, and how it notices that an assumption was wrong.

A settled fact may come too late: it could have taken part in an instance of a step that is already decided.

Settled facts are recorded before the first event that names their object, so usually a late one (a model that is made
at step 100) concerns no earlier event. That is checked: an atom over a settled relation shares a variable with an event
of the body; if no decided event had the late fact's value there, no earlier instance could have read the fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tcrules.engine import ir
from tcrules.engine.analyse.horizon import atoms
from tcrules.instrument.schema import TYPES, UNLEARNABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.ir import Fact
    from tcrules.engine.live.tables import Facts

#: The calls of this many steps, at least, are remembered.
STEPS_OF_CALLS = 16
#: A column of an event relation.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Guard:
    """One atom over a settled relation: columns that share a variable with a column of an event."""

    relation: str
    shared: tuple[tuple[int, Place], ...]

    def harmless(self, fact: Fact, seen: Seen) -> bool:
        """Whether no decided instance could have read the fact."""
        return any(not seen.has(place, fact[column]) for column, place in self.shared)


class Seen:
    """Names of objects, and ranks, that decided events had in some columns: as many as the run has objects."""

    def __init__(self) -> None:
        self._values: dict[Place, set[Any]] = {}

    def watch(self, place: Place) -> None:
        """Note the values of a column from now on."""
        self._values.setdefault(place, set())

    def has(self, place: Place, value: object) -> bool:
        """Whether a decided event had the value."""
        return value in self._values[place]

    def note(self, facts: Facts, step: int) -> None:
        """The facts of a step are decided."""
        for (relation, column), values in self._values.items():
            rows = facts.at(relation, step).rows
            values.update(map(itemgetter(column), rows))


class Calls:
    """Ids of the calls that decided facts of the last steps are about: facts about one call must have one step."""

    def __init__(self) -> None:
        self._places: dict[str, set[int]] = {}
        self._young: dict[Any, int] = {}
        self._old: dict[Any, int] = {}
        self._steps = 0

    def watch(self, place: Place) -> None:
        """Note the calls of a column from now on."""
        self._places.setdefault(place[0], set()).add(place[1])

    def note(self, facts: Facts, step: int) -> dict[str, str]:
        """The facts of a step are decided; returns what is wrong with a call of each relation."""
        found: set[Any] = set()
        for relation, columns in self._places.items():
            found.update(*_columns(facts.at(relation, step).rows, columns))
        wrong: dict[str, str] = {}
        for known in (self._young, self._old):
            if not known.keys().isdisjoint(found):
                wrong |= self._wrong(known, facts, step)
        found.discard(0)  # no call
        if self._steps == STEPS_OF_CALLS:
            self._old, self._young, self._steps = self._young, {}, 0
        self._young.update(dict.fromkeys(found, step))
        self._steps += 1
        return wrong

    def _wrong(self, known: dict[Any, int], facts: Facts, step: int) -> dict[str, str]:
        """For each relation one call that has facts at another step as well."""
        wrong = {}
        for relation, columns in self._places.items():
            found = set[Any]().union(*_columns(facts.at(relation, step).rows, columns))
            for call in sorted(known.keys() & found)[:1]:
                wrong[relation] = f"call {call} has facts at steps {known[call]} and {step}"
        return wrong


def _columns(rows: Collection[Fact], columns: Iterable[int]) -> Iterator[Iterable[Any]]:
    return (map(itemgetter(at), rows) for at in columns)


def called(bodies: Iterable[tuple[ir.Body, Sequence[ir.Body]]], horizons: Horizons) -> tuple[Place, ...]:
    """The columns by which events are placed as facts about one call."""
    found: dict[Place, None] = {}
    observed: set[str] = set()
    for body, more in bodies:
        columns: dict[str, list[Place]] = {}
        for atom in (atom for part in (body, *more) for atom in atoms(part)):
            reach = horizons.reach(atom.predicate)
            observed |= {atom.predicate.name} if atom.predicate.observed else set()
            for at in reach.moments if reach is not None else ():
                term = atom.arguments[at]
                if isinstance(term, ir.Var) and term.type.name == "call":
                    columns.setdefault(term.name, []).append((atom.predicate.name, at))
        found.update(dict.fromkeys(p for places in columns.values() if len(places) > 1 for p in places))
    return tuple(place for place in found if place[0] in observed)


def guards(
    bodies: Iterable[tuple[ir.Body, Sequence[ir.Body]]], horizons: Horizons
) -> tuple[tuple[Guard, ...], tuple[Place, ...]]:
    """Guards for bodies, each with nested ones that belong to it; and the places that they must know about."""
    found: dict[Guard, None] = {}
    for body, more in bodies:
        places = _places(body)
        for atom in (atom for part in (body, *more) for atom in atoms(part)):
            reach = horizons.reach(atom.predicate)
            if reach is not None and reach.settled and not atom.predicate.name.startswith("$"):
                terms = [
                    (at, term.name) for at, term in enumerate(atom.arguments) if isinstance(term, ir.Var)
                ]
                shared = tuple((at, place) for at, name in terms for place in places.get(name, ()))
                found[Guard(atom.predicate.name, shared)] = None
    needed = dict.fromkeys(place for guard in found for _, place in guard.shared)
    return tuple(found), tuple(needed)


def _places(body: ir.Body) -> dict[str, list[Place]]:
    """Columns of the events of a body in which a variable stands that names an object or a rank."""
    found: dict[str, list[Place]] = {}
    for literal in body:
        if isinstance(literal, ir.Atom) and literal.predicate.observed:
            columns = literal.predicate.columns
            if not any(column.type.name == "step" for column in columns):
                continue
            for at, term in enumerate(literal.arguments):
                if isinstance(term, ir.Var) and _names_object(columns[at].type):
                    found.setdefault(term.name, []).append((literal.predicate.name, at))
    return found


def _names_object(kind: ir.Type) -> bool:
    """Values of such a type are as many as the run has objects or ranks, not as many as it has events."""
    entity = kind.base == "string" and kind.name != "string" and kind.name not in UNLEARNABLE
    return kind.name == "rank" or (entity and (kind.name in TYPES or kind.name != kind.base))
