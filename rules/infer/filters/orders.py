"""Transitive reduction: of A before B, B before C and A before C the last one follows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.rules.infer.family import Table
    from tcrules.rules.infer.model import Learned
    from tcrules.rules.infer.options import Options


def transitive(table: Table, rules: Sequence[Learned], _: Options) -> dict[int, Dropped]:
    """Orders that follow from others, in templates with the tag `transitive`.

    The last bound metavariable of the template and its free one are the two events.
    """
    shape = table.shape
    if "transitive" not in shape.tags or len(shape.free) != 1 or not shape.bound:
        return {}
    last = len(shape.bound) - 1
    groups: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for place, rule in enumerate(rules):
        later, earlier = rule.filling[last][1], rule.filling[-1][1]
        groups[repr((rule.filling[:last], rule.guard))][str(earlier), str(later)] = place
    return {
        place: Dropped(rules[place].label(), "it follows from other orders", "redundancy")
        for edges in groups.values()
        for (earlier, later), place in edges.items()
        if earlier != later and _path(earlier, later, set(edges) - {(earlier, later)})
    }


def _path(start: str, goal: str, edges: set[tuple[str, str]]) -> bool:
    reached, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for first, second in edges:
            if first == here and second not in reached:
                reached.add(second)
                todo.append(second)
    return goal in reached
