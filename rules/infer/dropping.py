"""What became of candidates that are no rules, for people who look for one of them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcrules.rules.infer.model import Dropped


def matching(dropped: Iterable[Dropped], pattern: str) -> list[Dropped]:
    """The candidates whose label has this text in it, or matches it as a glob; case does not matter."""
    wanted = pattern.lower()
    return [one for one in dropped if wanted in one.rule.lower() or fnmatchcase(one.rule.lower(), wanted)]


def told(one: Dropped) -> Iterator[str]:
    """Lines about one candidate: what it was, the stage that dropped it, why, and what would keep it."""
    yield one.rule
    yield f"  dropped for its {NAMES[one.stage]}: {one.reason}" if one.stage in NAMES else f"  {one.reason}"
    if one.keep:
        yield f"  to keep it: {one.keep}"


#: What a stage asks of a candidate.
NAMES = {
    "support": "support",
    "failures": "failures",
    "falsifiability": "lack of falsifiability",
    "chance": "probability by chance",
    "redundancy": "redundancy",
    "hold-out": "risk",
    "budget": "price",
}
