"""Violations told once: each root cause with what is alike and what follows from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.report.model import Violation


@dataclass(frozen=True, slots=True)
class Story:
    """A root cause; `twins` violate the same rule for other subjects, `consequences` other rules of its cluster."""

    root: Violation
    twins: tuple[Violation, ...]
    consequences: tuple[Violation, ...]

    def subjects(self) -> tuple[str, ...]:
        """What is wrong: subjects of the root, then of its twins, each once."""
        return tuple(dict.fromkeys(name for one in (self.root, *self.twins) for name in one.subjects))

    def explained(self) -> str:
        """Rules that are violated in consequence, with how often; "" where there are none."""
        counts = Counter(violation.rule for violation in self.consequences)
        return ", ".join(f"{rule} ({number}×)" if number > 1 else rule for rule, number in counts.items())


def stories(violations: Iterable[Violation]) -> list[Story]:
    """All violations as stories, in the order of the report, which begins with the roots."""
    clusters: dict[int, list[Violation]] = {}
    for violation in violations:
        clusters.setdefault(violation.cluster, []).append(violation)
    return [story for members in clusters.values() for story in _cluster(members)]


def _cluster(members: Sequence[Violation]) -> list[Story]:
    """Stories of one cluster: its first root takes what is no root's twin."""
    roots = [one for one in members if one.root]
    rules = {root.rule for root in roots}
    rest = tuple(one for one in members if one.rule not in rules)
    found = []
    for place, root in enumerate(roots):
        twins = tuple(one for one in members if one.rule == root.rule and not one.root)
        found.append(Story(root, twins, () if place else rest))
    return found
