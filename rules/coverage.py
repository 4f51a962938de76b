"""What a run recorded, as the engine wants to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.facts import Coverage, Gap
from tcrules.instrument.runs import ALL_RELATIONS, coverage
from tcrules.instrument.schema import BY_NAME

if TYPE_CHECKING:
    from tcrules.instrument import runs
    from tcrules.instrument.runs import RunFolder


def known_facts(run: RunFolder) -> Coverage:
    """The coverage of a run.

    Raises:
        RunError: the run cannot be read.
    """
    return spelled_out(coverage(run))


def spelled_out(found: runs.Coverage) -> Coverage:
    """Coverage in which a gap in everything is a gap in each relation."""
    names = sorted(found.recorded | set(BY_NAME))
    gaps = [
        Gap(name, gap.rank, gap.first_step, gap.last_step, gap.why, gap.recorded)
        for gap in found.gaps
        for name in (names if gap.relation == ALL_RELATIONS else [gap.relation])
    ]
    return Coverage(found.recorded, tuple(gaps), found.complete)
