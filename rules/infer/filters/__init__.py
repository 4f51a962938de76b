"""Which candidates become rules: small filters in a fixed order, each of which says what it drops and why.

Filters of one family of rules see its statistics; those of all rules see the rules that are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.rules.infer.filters.chance import by_chance
from tcrules.rules.infer.filters.falsifiable import unfalsifiable
from tcrules.rules.infer.filters.implied import implied
from tcrules.rules.infer.filters.orders import transitive
from tcrules.rules.infer.filters.parting import parted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcrules.rules.infer.family import Table
    from tcrules.rules.infer.model import Dropped, Learned
    from tcrules.rules.infer.options import Options

    #: Says of some rules of a family, by their places, why they are dropped.
    Filter = Callable[[Table, Sequence[Learned], Options], dict[int, Dropped]]
    #: The rules that are kept (perhaps with more evidence, or another tier) and those that are dropped.
    Judge = Callable[[Sequence[Learned], Options], tuple[list[Learned], list[Dropped]]]

#: Filters of one family with the stage that they belong to, in the order in which they run.
FAMILY: tuple[tuple[str, Filter], ...] = (
    ("falsifiability", unfalsifiable),
    ("chance", by_chance),
    ("redundancy", implied),
    ("redundancy", transitive),
)


def sift(table: Table, rules: Sequence[Learned], options: Options) -> tuple[list[Learned], list[Dropped]]:
    """The rules of a family that all filters let through, and why the others were dropped."""
    kept, dropped = list(rules), []
    for stage, judge in FAMILY:
        if options.runs(stage):
            lost = judge(table, kept, options)
            kept, gone = parted(kept, lost)
            dropped += gone
    return kept, dropped
