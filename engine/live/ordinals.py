"""Facts by ordinals of objects: what rules need that count along an optimizer, a loader, a process group.

A moment of such a clock is one number, as a step is: the number of the object in the high bits, its ordinal in the low
ones. So what is evaluated at moments, and the offsets between them, are the same for both.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tcrules.engine.analyse.clocks import OWN, ordinal_columns
from tcrules.engine.live.tables import EMPTY, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tcrules.engine.analyse.clocks import Clock
    from tcrules.engine.ir import Fact, Predicate
    from tcrules.engine.live.tables import Facts

#: Bits for each column of an ordinal; ordinals take half of them, so that no offset leads to another object.
BITS = 48
_LIMIT = 1 << (BITS - 2)


@dataclass(slots=True)
class _Object:
    """What counts. `start`: its ordinal 0 as a moment; `highest`: the latest moment that each rank has reached.

    `alone`: it stands for a call that no fact gives an ordinal; it is closed with its step.
    """

    start: int
    alone: bool = False
    highest: dict[Any, int] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    closed: float = -math.inf


class _Layout:
    """Where the rows of a relation say to which object and ordinal they belong, and by which call."""

    def __init__(self, predicate: Predicate, clock: Clock) -> None:
        names = [column.name for column in predicate.columns]
        counted = ordinal_columns(predicate, clock) if predicate.name in clock.relations else None
        self.object = _tuple(tuple(map(names.index, clock.keys)))
        self.ordinal = _tuple(tuple(map(names.index, clock.columns))) if counted is not None else None
        self.call = names.index(OWN) if predicate.name in clock.calls and OWN in names else -1
        ranks = [at for at, column in enumerate(predicate.columns) if column.type.name == "rank"]
        self.rank = ranks[0] if ranks else None


class Ordinals:
    """The facts of one clock that rules may still need, in place of `Facts` where rules count ordinals.

    Ordinal n of an object is closed when every rank that has named the object has, in a closed step, named a larger
    one. What comes later than that is not taken, and told.
    """

    def __init__(self, clock: Clock, facts: Facts) -> None:
        self.clock = clock
        self._facts = facts
        self._layouts: dict[str, _Layout] = {}
        self._rows: dict[str, dict[int, list[Fact]]] = {}
        self._tables: dict[tuple[str, int], Table] = {}
        self._objects: dict[Fact, _Object] = {}
        self._moved: dict[int, _Object] = {}
        self._number = 0
        self._back: dict[str, int] = {}
        self._ahead: set[int] = {0}
        self._repeated: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)

    def watch(self, predicate: Predicate, back: int, ahead: set[int]) -> None:
        """From now on hold a relation's facts for `back` ordinals after their own is closed.

        `ahead`: how many ordinals after a fact instances may be decided that need it.
        """
        if predicate.name not in self._layouts:
            self._layouts[predicate.name] = _Layout(predicate, self.clock)
            self._rows[predicate.name] = {}
        self._back[predicate.name] = max(back, self._back.get(predicate.name, 0))
        self._ahead |= ahead

    @property
    def back(self) -> Mapping[str, int]:
        """The relations that are held, each with the number of closed ordinals."""
        return self._back

    def at(self, relation: str, moment: int) -> Table:
        """The facts of one ordinal of an object. The ordinal is closed: nothing is added any more."""
        key = (relation, moment)
        if key not in self._tables:
            rows = self._rows.get(relation, {}).get(moment)
            if rows is None:
                return EMPTY
            self._tables[key] = Table(rows, self._repeated[relation])
        return self._tables[key]

    def settled(self, relation: str) -> Table:
        """All facts of a settled relation."""
        return self._facts.settled(relation)

    def held(self) -> dict[str, int]:
        """How many facts are held of each relation."""
        return {name: sum(map(len, rows.values())) for name, rows in self._rows.items()}

    # -------------------------------------------------------------------------------------------- writing

    def take(self, step: int) -> dict[str, str]:
        """File the facts of a step that is closed; returns what is wrong with facts of each relation."""
        wrong: dict[str, str] = {}
        calls: dict[Any, tuple[_Object, int]] = {}
        counted = {name: layout for name, layout in self._layouts.items() if layout.ordinal is not None}
        for name, layout in counted.items():
            for row in self._facts.at(name, step).rows:
                thing = self._object(layout.object(row))
                moment = _moment(thing.start, layout.ordinal(row)) if layout.ordinal is not None else None
                if moment is None:
                    wrong[name] = f"a fact of {name} has an ordinal of {self.clock.of} that is too large"
                    continue
                if layout.call >= 0 and calls.setdefault(row[layout.call], (thing, moment))[1] != moment:
                    wrong[name] = f"call {row[layout.call]} has two ordinals of {self.clock.of}"
                self._file(name, layout, row, thing, moment, wrong)
        for name, layout in self._layouts.items():
            for row in self._facts.at(name, step).rows if layout.ordinal is None else ():
                thing, moment = calls.get(row[layout.call]) or self._alone(calls, row[layout.call])
                if not thing.alone and self._objects.get(layout.object(row)) is not thing:
                    wrong[name] = f"call {row[layout.call]} has an ordinal of another {self.clock.of}"
                    continue
                self._file(name, layout, row, thing, moment, wrong)
        return wrong

    def _object(self, name: Fact) -> _Object:
        thing = self._objects.get(name)
        if thing is None:
            thing = self._objects[name] = _Object(self._start())
        return thing

    def _alone(self, calls: dict[Any, tuple[_Object, int]], call: object) -> tuple[_Object, int]:
        """A moment of its own for a call that no fact gives an ordinal."""
        start = self._start()
        calls[call] = (_Object(start, alone=True), start)
        return calls[call]

    def _start(self) -> int:
        self._number += 1
        return self._number << (BITS * len(self.clock.columns))

    def _file(
        self, name: str, layout: _Layout, row: Fact, thing: _Object, moment: int, wrong: dict[str, str]
    ) -> None:
        if moment <= thing.closed:
            wrong[name] = f"a fact of {name} came after its ordinal of {self.clock.of} was closed"
            return
        self._rows[name].setdefault(moment, []).append(row)
        thing.held.add(moment)
        rank = row[layout.rank] if layout.rank is not None else 0
        if moment > thing.highest.get(rank, -math.inf):
            thing.highest[rank] = moment
            self._moved[thing.start] = thing

    # -------------------------------------------------------------------------------------------- time

    def close(self, *, end: bool = False) -> Iterator[list[int]]:
        """Moments that are decided now, object by object; what an object no longer needs is dropped behind each.

        `end`: nothing comes any more.
        """
        moved = list(self._objects.values() if end else self._moved.values())
        self._moved.clear()
        for thing in moved:
            until = math.inf if end or thing.alone else min(thing.highest.values(), default=-math.inf) - 1
            if until > thing.closed:
                near = {moment + more for moment in thing.held for more in self._ahead}
                ready = sorted(moment for moment in near if thing.closed < moment <= until)
                thing.closed = until
                yield ready
                self._forget(thing)

    def _forget(self, thing: _Object) -> None:
        for name, back in self._back.items():
            for moment in [moment for moment in thing.held if moment <= thing.closed - back]:
                self._rows[name].pop(moment, None)
                self._tables.pop((name, moment), None)
        longest = max((*self._back.values(), *self._ahead))
        thing.held = {moment for moment in thing.held if moment > thing.closed - longest}


def _moment(start: int, ordinal: Fact) -> int | None:
    """The moment of an ordinal, None where it is too large."""
    found = 0
    for number in ordinal:
        if not isinstance(number, int) or not -_LIMIT < number < _LIMIT:
            return None
        found = (found << BITS) + number
    return start + found


def _tuple(columns: tuple[int, ...]) -> Callable[[Fact], Fact]:
    """A function that reads columns of a row."""
    if len(columns) == 1:
        (only,) = columns
        return lambda row: (row[only],)
    return itemgetter(*columns)
