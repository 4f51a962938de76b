"""The alarm budget: rules are taken by what they find for the risk that they bring, until a healthy run may alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.rules.infer.filters.parting import parted
from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.rules.infer.model import Learned
    from tcrules.rules.infer.options import Options

#: Faults that the rules of a template are taken to find beyond those that were injected.
PRIOR = 1.0


def over_budget(rules: Sequence[Learned], options: Options) -> tuple[list[Learned], list[Dropped]]:
    """Rules for which the expected false alarms of one healthy run leave no room.

    Rules of one template fail together, and are reported together: their risk counts once, and they are kept or dropped
    together. Only templates that were tried on runs that were left out count: without a trial there is nothing to
    expect. Rules that do not alarm (notes) cost nothing.
    """
    families: dict[str, list[int]] = {}
    for place, rule in enumerate(rules):
        if rule.evidence.left_out and rule.tier != "note":
            families.setdefault(rule.template, []).append(place)
    spent = 0.0
    dropped = {}
    for name in sorted(families, key=lambda name: (-_worth(rules, families[name]), name)):
        risk = _risk(rules, families[name])
        if spent + risk <= options.alarm_budget:
            spent += risk
            continue
        reason = (
            f"the risk of its kind, {risk:.2g}, does not fit: better kinds are expected to raise {spent:.2g} of the "
            f"{options.alarm_budget:g} false alarms that a healthy run may have"
        )
        keep = f"--alarm-budget {spent + risk:.2g}"
        dropped.update(
            {place: Dropped(rules[place].label(), reason, "budget", keep) for place in families[name]}
        )
    return parted(rules, dropped)


def _risk(rules: Sequence[Learned], places: Sequence[int]) -> float:
    return max(rules[place].evidence.risk for place in places)


def _worth(rules: Sequence[Learned], places: Sequence[int]) -> float:
    caught = sum(rules[place].evidence.caught for place in places)
    return (caught + PRIOR) / max(_risk(rules, places), 1e-9)
