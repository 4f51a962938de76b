"""Source lines of many breaches at once: one query for all their calls instead of one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.check import relation
from tcrules.engine.facts import Stored
from tcrules.engine.ir import Any_, Atom, Var
from tcrules.engine.plan.build import compile_body
from tcrules.instrument.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine.ir import Predicate, Value
    from tcrules.engine.store import Store

_COLUMNS = BY_NAME["location"].column_names()
_CALL = _COLUMNS.index("call")


class KnownPlaces:
    """Facts of a store, of which those of `location` about some calls were read before."""

    def __init__(self, store: Store, location: Predicate, calls: Iterable[Value]) -> None:
        self._store = store
        self._location = location
        self._places: dict[Value, list[Stored]] = {call: [] for call in calls}
        for fact in self._read():
            self._places[fact.values[_CALL]].append(fact)

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[Stored]:
        """Facts whose column `i` equals `bound[i]`."""
        known = self._places.get(bound[_CALL]) if predicate is self._location and _CALL in bound else None
        if known is None:
            return self._store.lookup(predicate, bound)
        return [fact for fact in known if all(fact.values[place] == value for place, value in bound.items())]

    def _read(self) -> Iterable[Stored]:
        variables = tuple(Var(column.name, column.type) for column in self._location.columns)
        asked = relation("$asked", [variables[_CALL]])
        self._store.give(asked.predicate, [(call,) for call in self._places])
        body = (asked, Atom(self._location, variables))
        self._store.evaluate([body])
        rows = self._store.select(compile_body(body), variables)
        self._store.drop_relation(asked.predicate)
        return [Stored(0, row) for row in rows]


def files_of(store: Store, location: Predicate) -> tuple[str, ...]:
    """The source files that calls of the run came from, by name."""
    place = _COLUMNS.index("file")
    file = Var("file", location.columns[place].type)
    body = (Atom(location, tuple(file if i == place else Any_() for i in range(len(_COLUMNS)))),)
    store.evaluate([body])
    return tuple(str(name) for (name,) in store.select(compile_body(body), (file,)))
