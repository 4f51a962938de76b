"""Counts and violations of one rule family, collected step by step, and the verdicts that follow from them.

Which instances are in doubt is known only at the end, when all gaps have been reported. So the counts of the last steps
are kept by step and rank; older ones are summed up with the gaps that are known by then.
"""

from __future__ import annotations

from collections import Counter, deque
from operator import itemgetter
from typing import TYPE_CHECKING

from tcrules.engine.verdict import Counts, RuleVerdict, doubt, moment, order, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tcrules.engine.facts import Coverage
    from tcrules.engine.families import Family
    from tcrules.engine.ir import Fact, Invariant
    from tcrules.engine.verdict import Binding, Doubt

#: For so many steps a gap that is reported later than the step is taken into account exactly.
STEPS_KEPT = 64


class Tally:
    """What is known about the instances of a family's members."""

    def __init__(self, family: Family, most: int) -> None:
        self.family = family
        self._most = most
        self._shift = 0 if family.member is None else 1
        self._key, self._places = _moment_key(family)
        self._recent: deque[tuple[int, Counter[Fact], Counter[Fact]]] = deque()
        self._summed: dict[int, list[int]] = {}
        self._summed_until: int | None = None
        self._violations: dict[int, list[Binding]] = {}

    def add(self, step: int, found: Mapping[Fact, bool], missing: Doubt) -> list[tuple[Invariant, Binding]]:
        """Add the instances that were decided with a step; returns those that are violated beyond doubt."""
        broken = [values for values, held in found.items() if not held]
        self._recent.append((step, Counter(map(self._key, found)), Counter(map(self._key, broken))))
        if len(self._recent) > STEPS_KEPT:
            self._sum_up(missing)
        certain = []
        for values in broken:
            member, binding = self._split(values)
            invariant = self.family.members[member]
            if missing.proved or not missing.covers(*moment(invariant, binding)):
                self._keep(member, binding)
                certain.append((invariant, binding))
        return certain

    def reaches_back(self, step: int) -> bool:
        """Whether counts of a step were summed up: a gap that is reported only now comes too late for them."""
        return self._summed_until is not None and step <= self._summed_until

    def verdicts(self, coverage: Coverage) -> Iterable[tuple[RuleVerdict, tuple[Binding, ...]]]:
        """The verdict on each member, with its violations, earliest first."""
        found = doubt(self.family.invariant, coverage)
        numbers = {member: list(counts) for member, counts in self._summed.items()}
        for _, instances, broken in self._recent:
            self._count(numbers, instances, broken, found)
        for at, member in enumerate(self.family.members):
            own = doubt(member, coverage)
            counts = Counts() if own.rule else Counts(*numbers.get(at, (0, 0, 0, 0)))
            yield verdict(member, own, counts), self._certain(at, member, own)

    # -------------------------------------------------------------------------------------------- counts

    def _sum_up(self, missing: Doubt) -> None:
        step, instances, broken = self._recent.popleft()
        self._count(self._summed, instances, broken, missing)
        self._summed_until = step

    def _count(
        self, into: dict[int, list[int]], instances: Counter[Fact], broken: Counter[Fact], missing: Doubt
    ) -> None:
        for place, counted in enumerate((instances, broken)):
            for key, number in counted.items():
                member, step, rank = self._moment(key)
                counts = into.get(member)
                if counts is None:
                    counts = into[member] = [0, 0, 0, 0]
                counts[place] += number
                if missing.gaps and missing.covers(step, rank):
                    counts[place + 2] += number

    def _moment(self, key: Fact) -> tuple[int, int | None, int | None]:
        member, step, rank = (None if at is None else int(key[at]) for at in self._places)
        return member or 0, step, rank

    # -------------------------------------------------------------------------------------------- violations

    def _split(self, values: Fact) -> tuple[int, Binding]:
        return (0, values) if self._shift == 0 else (int(values[0]), values[1:])

    def _keep(self, member: int, binding: Binding) -> None:
        kept = self._violations.setdefault(member, [])
        kept.append(binding)
        if len(kept) >= 2 * self._most + 1:
            kept[:] = self._first(self.family.members[member], kept)

    def _first(self, invariant: Invariant, bindings: Sequence[Binding]) -> list[Binding]:
        return sorted(bindings, key=lambda binding: order(invariant, binding))[: self._most]

    def _certain(self, at: int, member: Invariant, found: Doubt) -> tuple[Binding, ...]:
        if found.rule or found.every_violation:
            return ()
        kept = [
            binding
            for binding in self._violations.get(at, ())
            if found.proved or not found.covers(*moment(member, binding))
        ]
        return tuple(self._first(member, kept))


def _moment_key(family: Family) -> tuple[Callable[[Fact], Fact], list[int | None]]:
    """A function from an instance to its member, step and rank, and where each of these stands in its result."""
    invariant = family.invariant
    wanted = (family.member, invariant.step, invariant.rank)
    columns = [invariant.variables.index(variable) for variable in wanted if variable is not None]
    places: list[int | None] = []
    for variable in wanted:
        places.append(None if variable is None else sum(place is not None for place in places))
    if len(columns) > 1:
        return itemgetter(*columns), places
    only = columns[0] if columns else None
    return (lambda values: () if only is None else (values[only],)), places
