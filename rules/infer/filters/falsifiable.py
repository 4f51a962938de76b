"""A rule must be able to fail: something like it failed somewhere, or the author of its template says so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.rules.infer.family import Table
    from tcrules.rules.infer.model import Learned, Values
    from tcrules.rules.infer.options import Options


def unfalsifiable(table: Table, rules: Sequence[Learned], _: Options) -> dict[int, Dropped]:
    """Rules of templates without the tag `default` that share no metavalue with anything that failed."""
    if table.shape.default:
        return {}
    failed = _failed(table)
    reason = "nothing like it ever failed in these runs, so that it holds says nothing"
    keep = "the tag `default` in the template"
    return {
        place: Dropped(rule.label(), reason, "falsifiability", keep)
        for place, rule in enumerate(rules)
        if not rule.guard and not _may_fail(rule, failed)
    }


def _failed(table: Table) -> set[tuple[int, str]]:
    """Metavalues (with their places) of what failed; without metavariables one entry for anything.

    A value of the free metavariables that never held for a binding failed there.
    """
    failed: set[tuple[int, str]] = set()
    bindings = list(table.bindings())
    everything = {free for bound in bindings for free in table.frees(bound)}
    always: Counter[Values] = Counter()
    for bound in bindings:
        pure = [free for free in table.frees(bound) if all(c.pure for c in table.cells(bound, [free]))]
        always.update(pure)
        if len(pure) < len(everything):
            failed |= {(place, repr(value)) for place, value in enumerate(bound)} or {(-1, "")}
    for free in everything:
        if always[free] < len(bindings):
            failed |= {(len(table.shape.bound) + place, repr(value)) for place, value in enumerate(free)}
    return failed


def _may_fail(rule: Learned, failed: set[tuple[int, str]]) -> bool:
    values = [filling for _, filling in rule.filling]
    if not values:
        return bool(failed)
    return any((place, repr(value)) in failed for place, value in enumerate(values))
