"""Counts and violations of one rule family, collected step by step, and the verdicts that follow from them.

Which instances are in doubt is known only at the end, when all gaps have been reported. So the counts of the last steps
are kept by step and rank; older ones are summed up with the gaps that are known by then.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.engine.verdict import Counts, RuleVerdict, doubt, moment, order, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tcrules.engine.facts import Coverage
    from tcrules.engine.families import Family
    from tcrules.engine.ir import Fact, Invariant
    from tcrules.engine.verdict import Binding, Doubt

#: For at least so many steps a gap that is reported later than the step is taken into account exactly.
STEPS_KEPT = 64


#: Members, steps and ranks of some instances, side by side. One value stands for a column that has no other: steps
#: and ranks are looked at only where there are gaps.
_Column: TypeAlias = "list[Any] | int | None"
_Moments: TypeAlias = tuple[list[int], _Column, _Column]
_NONE: _Moments = ([], None, None)


class Tally:
    """What is known about the instances of a family's members."""

    def __init__(self, family: Family, most: int) -> None:
        self.family = family
        self._most = most
        wanted = (family.member, family.invariant.step, family.invariant.rank)
        variables = family.invariant.variables
        self._member, self._step, self._rank = (
            itemgetter(variables.index(v)) if v is not None else None for v in wanted
        )
        self._recent: list[tuple[int, tuple[_Moments, _Moments]]] = []
        self._summed: dict[int, list[int]] = {}
        self._summed_until: int | None = None
        self._violations: dict[int, list[Binding]] = {}

    def add(self, step: int, found: Mapping[Fact, bool], missing: Doubt) -> list[tuple[Invariant, Binding]]:
        """Add the instances that were decided with a step; returns those that are violated beyond doubt."""
        broken = [values for values, held in found.items() if not held] if False in found.values() else []
        self._recent.append((step, (self._moments(found), self._moments(broken) if broken else _NONE)))
        if len(self._recent) >= 2 * STEPS_KEPT:
            self._sum_up(missing)
        certain = []
        for values in broken:
            member, binding = self._split(values)
            invariant = self.family.members[member]
            if not missing.covers(*moment(invariant, binding), held=False):
                self._keep(member, binding)
                certain.append((invariant, binding))
        return certain

    def reaches_back(self, step: int) -> bool:
        """Whether counts of a step were summed up: a gap that is reported only now comes too late for them."""
        return self._summed_until is not None and step <= self._summed_until

    def verdicts(self, coverage: Coverage) -> Iterable[tuple[RuleVerdict, tuple[Binding, ...]]]:
        """The verdict on each member, with its violations, earliest first."""
        numbers = {member: list(counts) for member, counts in self._summed.items()}
        self._count(numbers, self._recent, doubt(self.family.invariant, coverage))
        for at, member in enumerate(self.family.members):
            own = doubt(member, coverage)
            counts = Counts() if own.rule else Counts(*numbers.get(at, (0, 0, 0, 0)))
            yield verdict(member, own, counts), self._certain(at, member, own)

    # -------------------------------------------------------------------------------------------- counts

    def _moments(self, instances: Collection[Fact]) -> _Moments:
        members = [0] * len(instances) if self._member is None else list(map(self._member, instances))
        return members, _column(self._step, instances), _column(self._rank, instances)

    def _sum_up(self, missing: Doubt) -> None:
        old, self._recent = self._recent[:STEPS_KEPT], self._recent[STEPS_KEPT:]
        self._count(self._summed, old, missing)
        self._summed_until = old[-1][0]

    def _count(
        self,
        into: dict[int, list[int]],
        steps: Sequence[tuple[int, tuple[_Moments, _Moments]]],
        missing: Doubt,
    ) -> None:
        every, broken = ([both[place] for _, both in steps] for place in (0, 1))
        _increase(into, 0, chain.from_iterable(members for members, _, _ in every))
        _increase(into, 1, chain.from_iterable(members for members, _, _ in broken))
        if missing.spoiling:
            _increase(into, 2, _inside(missing, every, held=True))
            _increase(into, 2, _inside(missing, broken, held=True), by=-1)
        if missing.saving:
            _increase(into, 3, _inside(missing, broken, held=False))

    # -------------------------------------------------------------------------------------------- violations

    def _split(self, values: Fact) -> tuple[int, Binding]:
        return (0, values) if self.family.member is None else (int(values[0]), values[1:])

    def _keep(self, member: int, binding: Binding) -> None:
        kept = self._violations.setdefault(member, [])
        kept.append(binding)
        if len(kept) >= 2 * self._most + 1:
            kept[:] = self._first(self.family.members[member], kept)

    def _first(self, invariant: Invariant, bindings: Sequence[Binding]) -> list[Binding]:
        return sorted(bindings, key=lambda binding: order(invariant, binding))[: self._most]

    def _certain(self, at: int, member: Invariant, found: Doubt) -> tuple[Binding, ...]:
        if found.rule or found.violated:
            return ()
        kept = [
            binding
            for binding in self._violations.get(at, ())
            if not found.covers(*moment(member, binding), held=False)
        ]
        return tuple(self._first(member, kept))


def _column(getter: Callable[[Fact], Any] | None, instances: Collection[Fact]) -> _Column:
    if getter is None:
        return None
    values = list(map(getter, instances))
    return values[0] if values.count(values[0]) == len(values) else values


def _rows(columns: _Moments) -> Iterable[tuple[int, int | None, int | None]]:
    members, steps, ranks = columns
    some, others = (
        column if isinstance(column, list) else repeat(column, len(members)) for column in (steps, ranks)
    )
    return zip(members, some, others, strict=True)


def _inside(missing: Doubt, moments: Sequence[_Moments], *, held: bool) -> Iterator[int]:
    """The members of instances at moments of which what is missing matters to those that are held, or violated."""
    for columns in moments:
        for member, step, rank in _rows(columns):
            if missing.covers(step, rank, held=held):
                yield member


def _increase(into: dict[int, list[int]], place: int, members: Iterable[int], by: int = 1) -> None:
    for member, number in Counter(members).items():
        counts = into.get(member)
        if counts is None:
            counts = into[member] = [0, 0, 0, 0]
        counts[place] += by * number
