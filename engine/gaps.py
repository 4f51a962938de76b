"""Whether an instance could have read what a gap in the recording lacks."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.facts import Gap
    from tcrules.engine.ir import Reach, Steps


@dataclass(frozen=True, slots=True)
class Hole:
    """Facts that are missing at steps `first` to `last` (None: the end), except in the stretches `recorded`.

    They matter to instances that read `steps` around their own; `rank` is None where those of all ranks do.
    """

    first: int
    last: int | None
    recorded: tuple[tuple[int, int], ...]
    rank: int | None
    steps: Steps

    def covers(self, step: int | None, rank: int | None) -> bool:
        """Whether an instance at that moment reads what is missing; None: the moment is not known."""
        if rank is not None and self.rank is not None and rank != self.rank:
            return False
        if step is None:
            return True
        first = None if self.steps.first is None else step + self.steps.first
        last = None if self.steps.last is None else step + self.steps.last
        if (last is not None and last < self.first) or (
            first is not None and self.last is not None and first > self.last
        ):
            return False
        return not self._sampled(
            self.first if first is None else max(first, self.first), self.last if last is None else last
        )

    def _sampled(self, first: int, last: int | None) -> bool:
        """Whether one stretch holds all these steps."""
        if last is None or not self.recorded:
            return False
        if self.last is not None:
            last = min(last, self.last)
        place = bisect_right(self.recorded, (first, float("inf"))) - 1
        return place >= 0 and last <= self.recorded[place][1]


def holes(gaps: Iterable[Gap], reach: Reach) -> tuple[Hole, ...]:
    """The different holes that gaps are to an invariant with this reach."""
    return tuple(
        dict.fromkeys(
            Hole(
                gap.first_step,
                None if gap.last_step == -1 else gap.last_step,
                gap.recorded,
                gap.rank if reach.own_rank and gap.rank != -1 else None,
                reach.steps(gap.relation),
            )
            for gap in gaps
        )
    )
