"""A rule must not hold by chance.

The unit of evidence is an anchor: of the instances of a binding in one run at most as many count as the run has
training steps, because what is repeated within a step is one event. Two questions, each with a limit on the answer:

* A guard: were failures spread over the anchors at random, how probable is it that none falls where the guard holds
  (hypergeometric, times the number of guards of that length that could have been tried)?
* A rule without guard whose template is not tagged `default`: if it held for this binding only as often as for the
  other bindings of its template, how probable is it that it holds for all anchors?
"""

from __future__ import annotations

from math import comb, exp, lgamma
from typing import TYPE_CHECKING, cast

from tcrules.rules.infer.family import fits
from tcrules.rules.infer.guards import literals, matches
from tcrules.rules.infer.model import Configured, Dropped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.rules.infer.family import Table
    from tcrules.rules.infer.guards import Cell
    from tcrules.rules.infer.model import Learned, Values
    from tcrules.rules.infer.options import Options


def by_chance(table: Table, rules: Sequence[Learned], options: Options) -> dict[int, Dropped]:
    """Rules whose probability to hold by chance is above `options.chance`."""
    dropped = {}
    for place, rule in enumerate(rules):
        probability, anchors = _probability(table, rule, options)
        if probability > options.chance:
            reason = f"holding for {anchors} anchors has a probability of {probability:.2g} by chance"
            keep = f"--chance {min(1.0, probability * 1.01):.2g}"
            dropped[place] = Dropped(rule.label(), reason, "chance", keep)
    return dropped


def _probability(table: Table, rule: Learned, options: Options) -> tuple[float, int]:
    """The probability that the rule holds by chance, and its anchors."""
    size = len(table.shape.bound)
    if any(isinstance(filling, Configured) for _, filling in rule.filling):
        return 0.0, rule.evidence.triggers  # a value that follows a setting from run to run
    bound = cast("Values", tuple(filling for _, filling in rule.filling[:size]))
    frees = [free for free in table.frees(bound) if all(_is(rule, place, free) for place in range(len(free)))]
    cells = table.cells(bound, frees)
    kept = [cell for cell in cells if matches(rule.guard, table.guards, cell.values)]
    anchors = _anchors(table, kept)
    if not all(cell.pure for cell in cells):
        tried = comb(
            len(list(literals(cells, table.shape.guard, options.most_guard_values))), len(rule.guard)
        )
        return min(1.0, tried * _separated(_anchors(table, cells), _failing(table, cells), anchors)), anchors
    if table.shape.default or not frees:
        return 0.0, anchors
    return _share_elsewhere(table, bound, frees) ** anchors, anchors


def _is(rule: Learned, place: int, free: Values) -> bool:
    return fits(rule.filling[len(rule.filling) - len(free) + place][1], free[place])


def _anchors(table: Table, cells: Iterable[Cell]) -> int:
    """Instances, of one guard combination and run at most as many as the run has steps."""
    return sum(_at_most(table, unit, number) for cell in cells for unit, number in cell.triggers.items())


def _failing(table: Table, cells: Iterable[Cell]) -> int:
    return sum(_at_most(table, unit, number) for cell in cells for unit, number in cell.failures.items())


def _at_most(table: Table, unit: int, number: int) -> int:
    return min(number, table.units[unit].steps or number)


def _separated(anchors: int, failing: int, kept: int) -> float:
    """The probability that `kept` of the anchors, taken at random, are none of the failing ones."""
    if kept > anchors - failing:
        return 0.0

    def log_choices(n: int, k: int) -> float:
        return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)

    return exp(log_choices(anchors - failing, kept) - log_choices(anchors, kept))


def _share_elsewhere(table: Table, bound: Values, frees: Sequence[Values]) -> float:
    """The share of the instances of other bindings for which the expectation holds; 0 where there are none."""
    own = table.cells(bound, frees)
    here = sum(sum(cell.triggers.values()) for cell in own)
    failing = sum(sum(cell.failures.values()) for cell in own)
    triggers = table.instances - here
    held = sum(table.holding(free) for free in frees) - (here - failing)
    return held / triggers if triggers else 0.0
