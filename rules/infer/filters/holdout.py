"""The risk of a family of rules: how often rules learned without a run (or program) fail there.

Three runs say little of one rule, but the rules of one template are siblings, and templates are alike too: shares of
failing rules are taken as drawn from one beta distribution, which is fitted to all hold-outs of all families together
with a prior. The risk of a family is then its posterior mean: near that of all families where it has few rules, near
its own share of failures where it has many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf, lgamma, log
from typing import TYPE_CHECKING

from tcrules.rules.infer.family import tally
from tcrules.rules.infer.filters.parting import parted
from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tcrules.rules.infer.family import Unit
    from tcrules.rules.infer.model import Learned, Shape
    from tcrules.rules.infer.options import Options

#: Units below which nothing can be left out: a shared rule needs two.
LEAST_TO_LEAVE_OUT = 3
_MEANS = tuple(10 ** (power / 10) for power in range(-50, 0))
_WEIGHTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


@dataclass(frozen=True, slots=True, order=True)
class Trial:
    """Rules that were learned without some unit and triggered there, and those of them that failed there."""

    tested: int = 0
    failed: int = 0

    def __add__(self, other: Trial) -> Trial:
        return Trial(self.tested + other.tested, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class Risk:
    """A beta distribution of the risk of rules: its mean, and the number of trials that it is worth."""

    mean: float
    weight: float

    def after(self, trial: Trial) -> float:
        """The mean of the risk once a trial is known."""
        return (self.mean * self.weight + trial.failed) / (self.weight + trial.tested)


def trials(
    shape: Shape,
    units: Sequence[Unit],
    learn: Callable[[Sequence[Unit]], Iterable[Learned]],
    options: Options,
) -> list[Trial]:
    """One trial for each unit that is left out; units beyond `options.most_left_out` are left out in groups."""
    if len(units) < LEAST_TO_LEAVE_OUT or not options.runs("hold-out"):
        return []
    groups = min(len(units), options.most_left_out)
    found = []
    for group in range(groups):
        rules = list(learn([unit for place, unit in enumerate(units) if place % groups != group]))
        for unit in units[group::groups]:
            tallies = [tally(rule, shape, unit) for rule in rules]
            found.append(Trial(sum(n > 0 for n, _ in tallies), sum(failed > 0 for _, failed in tallies)))
    return found


def fit(families: Iterable[Sequence[Trial]], options: Options) -> Risk:
    """The most probable beta distribution behind the trials of all families, over a grid.

    The prior is worth `options.prior_weight` trials with the share `options.prior_risk` of failures.
    """
    # Sorted, so that sums of floats are the same whatever the order of the runs.
    seen = sorted(Counter(trial for several in families for trial in several if trial.tested).items())
    failures = options.prior_risk * options.prior_weight
    successes = options.prior_weight - failures
    best, chosen = -inf, Risk(options.prior_risk, options.prior_weight)
    if not seen:
        return chosen
    for mean in _MEANS:
        prior = failures * log(mean) + successes * log(1 - mean)
        for weight in _WEIGHTS:
            a, b = mean * weight, (1 - mean) * weight
            likelihood = prior + sum(n * _log_beta_binomial(trial, a, b) for trial, n in seen)
            if likelihood > best:
                best, chosen = likelihood, Risk(mean, weight)
    return chosen


def _log_beta_binomial(trial: Trial, a: float, b: float) -> float:
    """Without the number of ways to choose the failures, which is the same for all distributions."""
    held = trial.tested - trial.failed
    return _log_beta(a + trial.failed, b + held) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def too_risky(rules: Sequence[Learned], options: Options) -> tuple[list[Learned], list[Dropped]]:
    """Rules whose family fails too often where it was not learned."""
    dropped = {}
    for place, rule in enumerate(rules):
        found = rule.evidence
        if found.left_out and found.risk > options.highest_risk:
            reason = (
                f"of {found.left_out} such rules {found.left_out_failed} failed on runs that were left out while "
                f"learning: estimated risk {found.risk:.0%}"
            )
            keep = f"--highest-risk {min(1.0, found.risk * 1.01):.2g}"
            dropped[place] = Dropped(rule.label(), reason, "hold-out", keep)
    return parted(rules, dropped)
