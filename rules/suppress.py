"""Which violations a suppression means, and on which days it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.patterns import glob
from tcrules.engine.values import equal

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from tcrules.engine.ir import Invariant, Suppression, Value
    from tcrules.engine.verdict import Binding

Matcher: TypeAlias = "Callable[[Binding], bool]"


def expired(suppression: Suppression, today: date) -> bool:
    """Whether the last day of the suppression is over."""
    return bool(suppression.until) and today.isoformat() > suppression.until


def matcher(suppression: Suppression, invariant: Invariant) -> Matcher:
    """Whether the suppression means a violation of its rule, given the values of the rule's variables."""
    places = {variable.name: place for place, variable in enumerate(invariant.variables)}
    wanted = [(places[name], value) for name, value in suppression.bindings]

    def matches(binding: Binding) -> bool:
        return all(_fits(binding[place], value) for place, value in wanted)

    return matches


def _fits(value: Value, wanted: Value) -> bool:
    return glob(wanted, str(value)) if isinstance(wanted, str) else equal(value, wanted)
