"""Rules that say nothing new: orders that follow from others, guards that a rule without guard contains."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tcrules.engine.patterns import glob
from tcrules.rules.infer.guards import matches
from tcrules.rules.infer.model import (
    Choice,
    Counts,
    Dropped,
    Filling,
    Interval,
    Learned,
    Pattern,
    Shape,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.engine.ir import Value


def reduce_orders(shape: Shape, rules: Sequence[Learned]) -> tuple[list[Learned], list[Dropped]]:
    """Transitive reduction: of A before B, B before C and A before C the last one follows.

    The last bound metavariable of the template and its free one are the two events.
    """
    if "transitive" not in shape.tags or len(shape.free) != 1 or not shape.bound:
        return list(rules), []
    groups: dict[str, dict[tuple[str, str], Learned]] = defaultdict(dict)
    for rule in rules:
        later, earlier = rule.filling[len(shape.bound) - 1][1], rule.filling[-1][1]
        groups[repr((rule.filling[: len(shape.bound) - 1], rule.guard))][str(earlier), str(later)] = rule
    kept: list[Learned] = []
    dropped: list[Dropped] = []
    for edges in groups.values():
        pairs = set(edges)
        for (earlier, later), rule in edges.items():
            if earlier != later and _path(earlier, later, pairs - {(earlier, later)}):
                dropped.append(Dropped(rule.label(), "it follows from other orders"))
            else:
                kept.append(rule)
    return kept, dropped


def _path(start: str, goal: str, edges: set[tuple[str, str]]) -> bool:
    reached, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for first, second in edges:
            if first == here and second not in reached:
                reached.add(second)
                todo.append(second)
    return goal in reached


def tally(rule: Learned, shape: Shape, counts: Counts) -> tuple[int, int]:
    """Instances and failures of a rule in one run, from its statistics alone."""
    names = [name for name, _ in shape.guard]
    size = len(shape.bound)
    bound, free = [f for _, f in rule.filling[:size]], [f for _, f in rule.filling[size:]]

    def concerns(values: Values, guard: Values) -> bool:
        return all(map(fits, bound, values)) and matches(rule.guard, names, guard)

    triggers = sum(n for (values, guard), n in counts.triggers.items() if concerns(values, guard))
    held = sum(
        n
        for (values, guard, frees), n in counts.held.items()
        if concerns(values, guard) and all(map(fits, free, frees))
    )
    return triggers, max(0, triggers - held)


def fits(filling: Filling, value: Value) -> bool:
    """A value is what a metavariable was filled with, or matches it."""
    if isinstance(filling, Pattern):
        return glob(filling.glob, str(value))
    if isinstance(filling, Choice):
        return value in filling.values
    if isinstance(filling, Interval):
        return isinstance(value, int) and filling.low <= value <= filling.high
    return filling == value and type(filling) is type(value)


def ordered(rules: Iterable[Learned]) -> list[Learned]:
    """The order of the output: by template, then by what was filled in; never by the order of the runs."""
    return sorted(rules, key=lambda rule: rule.key())
