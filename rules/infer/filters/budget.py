"""The alarm budget: rules are taken by what they find for the risk that they bring, until a healthy run may alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.rules.infer.filters.parting import parted
from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.rules.infer.model import Learned
    from tcrules.rules.infer.options import Options

#: Faults that a rule is taken to find beyond those that were injected.
PRIOR = 1.0


def over_budget(rules: Sequence[Learned], options: Options) -> tuple[list[Learned], list[Dropped]]:
    """Rules for which the expected false alarms of one healthy run leave no room.

    Only rules whose kind was tried on runs that were left out count: without a trial there is nothing to expect.
    Rules that do not alarm (notes) cost nothing.
    """
    spent = 0.0
    dropped = {}
    for place in sorted(range(len(rules)), key=lambda place: (-_worth(rules[place]), rules[place].key())):
        found = rules[place].evidence
        if not found.left_out or rules[place].tier == "note":
            continue
        if spent + found.risk > options.alarm_budget:
            reason = (
                f"its risk of {found.risk:.2g} does not fit: better rules are expected to raise {spent:.2g} of the "
                f"{options.alarm_budget:g} false alarms that a healthy run may have"
            )
            keep = f"--alarm-budget {spent + found.risk:.2g}"
            dropped[place] = Dropped(rules[place].label(), reason, "budget", keep)
        else:
            spent += found.risk
    return parted(rules, dropped)


def _worth(rule: Learned) -> float:
    found = rule.evidence
    return (found.caught + PRIOR) / max(found.risk, 1e-9)
