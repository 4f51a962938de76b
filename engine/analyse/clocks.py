"""The clocks by which events are placed: the step, and what objects count (steps of an optimizer, epochs of a loader).

A fact of an event relation belongs to one step: the value of its column of type `step`. Facts that name an object and
what it has counted belong to that ordinal of the object as well. The rank is no part of the object: a rule may compare
ordinal 7 of an optimizer on two ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.grammar.records import dataclass, field
from tcrules.instrument.schema import SETTLED, TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.engine import ir

#: Columns that hold the id of the call that a fact is about; and those that hold it or 0.
OWN, OWN_OR_NONE = "call", "forward"
#: A pair (first, last) of moments relative to another one.
Span = tuple[int, int]
_MOMENTS = frozenset({"time", "step", "call"})


@dataclass(frozen=True, slots=True)
class Clock:
    """What objects of one kind count.

    Args:
        of: what has the ordinals, for humans.
        keys: columns that name the object.
        columns: columns that hold its ordinal; of several the last counts anew when one before it goes up.
        relations: relations that have all these columns.
        calls: relations whose call belongs to one ordinal; those that do not have the columns tell it by the call.
    """

    of: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    relations: frozenset[str]
    calls: frozenset[str] = frozenset()


#: All clocks besides the step; the first one that bounds a rule is taken.
CLOCKS = (
    Clock(
        "optimizer",
        ("optimizer",),
        ("nth",),
        frozenset({"accumulate", "optimizer_step", "param_group", "update", "optimizer_state"}),
        frozenset({"optimizer_step", "param_group", "update", "optimizer_state", "gradient"}),
    ),
    Clock(
        "scheduler",
        ("scheduler",),
        ("nth",),
        frozenset({"scheduler_step"}),
        frozenset({"scheduler_step"}),
    ),
    Clock("group", ("group",), ("nth",), frozenset({"collective"}), frozenset({"collective"})),
    Clock("loader's batches", ("loader",), ("epoch", "index"), frozenset({"batch", "batch_field"})),
    Clock("loader", ("loader",), ("epoch",), frozenset({"epoch", "batch", "batch_field"})),
)


#: Columns, and relations whose facts are about one event, and so of one step, where they agree in these.
EVENTS = (
    (("rank", "loader", "epoch", "index"), frozenset({"batch", "batch_field", "batch_sample"})),
    (
        ("rank", "optimizer", "nth"),
        frozenset({"optimizer_step", "param_group", "update", "optimizer_state", "optimizer_slot"}),
    ),
)
#: As `EVENTS`.
Events = tuple[tuple[tuple[str, ...], frozenset[str]], ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the facts of a relation at one moment depend on; a moment is a step, or an ordinal of an object.

    `moments` are the columns that tell it (none: the relation is settled); `keys` those that it is told relative to,
    of an ordinal the columns of its object. `reads` gives for each event relation the first and last moment that is
    read, relative to that of the facts.
    """

    moments: tuple[int, ...] = ()
    reads: Mapping[str, Span] = field(default_factory=dict)
    keys: tuple[int, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether its facts belong to no step."""
        return not self.reads


def observed_reach(predicate: ir.Predicate, clock: Clock | None = None) -> Reach | None:
    """How facts of an observed relation belong to moments of a clock, or to steps; None: they do not."""
    kinds = [column.type.name for column in predicate.columns]
    if predicate.name in SETTLED or not any(map(_may_be_moment, predicate.columns)):
        return Reach()
    if kinds.count("step") != 1:
        return None
    reads = {predicate.name: (0, 0)}
    if clock is not None:
        return _ordinal_reach(predicate, clock, reads)
    own = [
        at
        for at, column in enumerate(predicate.columns)
        if column.type.name == "call" and column.name in (OWN, OWN_OR_NONE)
    ]
    return Reach((kinds.index("step"), *own), reads)


def _ordinal_reach(predicate: ir.Predicate, clock: Clock, reads: Mapping[str, Span]) -> Reach | None:
    counted = ordinal_columns(predicate, clock) if predicate.name in clock.relations else None
    names = [column.name for column in predicate.columns]
    called = (names.index(OWN),) if predicate.name in clock.calls and OWN in names else ()
    if counted is not None:
        return Reach((counted[0], *called), reads, counted[1])
    objects = tuple(names.index(key) for key in clock.keys if key in names)
    complete = len(objects) == len(clock.keys) and len(clock.columns) == 1
    return Reach(called, reads, objects) if called and complete else None


def ordinal_columns(predicate: ir.Predicate, clock: Clock) -> tuple[int, tuple[int, ...]] | None:
    """The column that counts, and those relative to which it counts; None: there are no such columns."""
    places = {column.name: at for at, column in enumerate(predicate.columns)}
    wanted = (*clock.keys, *clock.columns)
    if any(name not in places for name in wanted):
        return None
    if any(predicate.columns[places[name]].type.name != "int" for name in clock.columns):
        return None
    return places[wanted[-1]], tuple(places[name] for name in wanted[:-1])


def _may_be_moment(column: ir.Column) -> bool:
    """Types that a file declares may stand below a moment's."""
    return column.type.name in _MOMENTS or (column.type.base == "int" and column.type.name not in TYPES)
