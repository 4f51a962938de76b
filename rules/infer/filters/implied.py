"""Of rules that say the same, the shortest is kept: a rule that another one of its template contains is dropped."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.rules.infer.family import Table
    from tcrules.rules.infer.model import Learned
    from tcrules.rules.infer.options import Options


def implied(_table: Table, rules: Sequence[Learned], _options: Options) -> dict[int, Dropped]:
    """Rules whose guard contains the guard of another rule with the same filling (of equal ones all but the first)."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, rule in enumerate(rules):
        groups[repr(rule.filling)].append(place)
    dropped = {}
    for places in groups.values():
        shortest = sorted(places, key=lambda place: (len(rules[place].guard), place))
        for number, place in enumerate(shortest):
            for other in shortest[:number]:
                if set(rules[other].guard) <= set(rules[place].guard):
                    dropped[place] = Dropped(
                        rules[place].label(), f"{rules[other].label()} says it already", "redundancy"
                    )
                    break
    return dropped
