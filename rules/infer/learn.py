"""Learning from statistics: families of rules with their risk, then which rules of all families are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcrules.rules.infer.candidates import candidates
from tcrules.rules.infer.family import Table, tally, units_of
from tcrules.rules.infer.filters import sift
from tcrules.rules.infer.filters.budget import over_budget
from tcrules.rules.infer.filters.holdout import Trial, fit, too_risky, trials
from tcrules.rules.infer.generalise import for_any_name, generalise, has_free_name, without_names
from tcrules.rules.infer.model import Dropped, Evidence, Learned, Run, Shape
from tcrules.rules.infer.options import DEFAULTS, Options
from tcrules.rules.infer.ranges import RANGE, learn_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.rules.infer.family import Unit
    from tcrules.rules.infer.filters import Judge


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was learned, in a stable order, and what was dropped."""

    rules: tuple[Learned, ...]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class _Family:
    """The rules of one template, and how such rules did where they were not learned."""

    shape: Shape
    rules: list[Learned]
    trials: list[Trial]


def learn(
    runs: Sequence[Run],
    shapes: Mapping[str, Shape],
    options: Options = DEFAULTS,
    judges: Sequence[tuple[str, Judge]] = (),
) -> Lessons:
    """Rules that hold in all runs.

    Runs of one program are compared with each other. Runs of several programs are added up by program first, and
    then only what does not name anything of one program is learned.

    Args:
        runs: their statistics.
        shapes: what learning needs to know of each template.
        options: thresholds, and stages to leave out.
        judges: filters of all rules which need more than statistics, with their stages: before the budget.
    """
    across = len({run.project for run in runs}) > 1
    families: list[_Family] = []
    dropped: list[Dropped] = []
    for name in sorted(shapes):
        shape, units = shapes[name], units_of(runs, name)
        found, lost = learn_family(shape, units, options, across=across)
        dropped += lost
        tried = _trials(shape, units, options, across=across)
        families.append(_Family(shape, [_believed(rule, shape, runs) for rule in found], tried))
    rules = ordered(_with_risks(families, options))
    for stage, judge in (("hold-out", too_risky), *judges, ("budget", over_budget)):
        if options.runs(stage):
            rules, lost = judge(rules, options)
            dropped += lost
    return Lessons(tuple(rules), tuple(dropped))


def learn_family(
    shape: Shape, units: Sequence[Unit], options: Options = DEFAULTS, *, across: bool = False
) -> tuple[list[Learned], list[Dropped]]:
    """The rules of one template that hold in all units; `across` several programs they are free of names."""
    if across and ("local" in shape.tags or has_free_name(shape)):
        reason = "such rules name parts of one program, and runs of several programs were given"
        return [], [Dropped(shape.id, reason, "support")]
    if across:
        units = [replace(unit, counts=without_names(shape, unit.counts)) for unit in units]
    table = Table(shape, units, options, across=across)
    how = learn_ranges if RANGE in shape.tags else candidates
    found, failing = how(table, options)
    if not found and not failing:
        return [], [Dropped(shape.id, "no run has an instance, or what it reads was not recorded", "support")]
    found, dropped = sift(table, found, options)
    if across:
        found = for_any_name(shape, found)
    elif options.runs("generalisation"):
        found = generalise(shape, found, table.bindings())
    return found, [*failing, *dropped]


def _trials(shape: Shape, units: Sequence[Unit], options: Options, *, across: bool) -> list[Trial]:
    return trials(
        shape, units, lambda others: learn_family(shape, others, options, across=across)[0], options
    )


def _with_risks(families: Sequence[_Family], options: Options) -> list[Learned]:
    general = fit((family.trials for family in families), options)
    found = []
    for family in families:
        trial = sum(family.trials, Trial())
        risk = general.after(trial)
        found += [
            replace(
                rule,
                evidence=replace(
                    rule.evidence, left_out=trial.tested, left_out_failed=trial.failed, risk=risk
                ),
            )
            for rule in family.rules
        ]
    return found


def _believed(rule: Learned, shape: Shape, runs: Sequence[Run]) -> Learned:
    """The rule with its evidence in runs, also where programs were compared."""
    tallies = [(run.project, tally(rule, shape, units_of([run], shape.id)[0])[0]) for run in runs]
    evidence = Evidence(
        sum(n > 0 for _, n in tallies),
        sum(n for _, n in tallies),
        rule.evidence.bindings,
        len({project for project, n in tallies if n}),
    )
    return replace(rule, evidence=evidence, tier=shape.tier)


def ordered(rules: Iterable[Learned]) -> list[Learned]:
    """The order of the output: by template, then by what was filled in; never by the order of the runs."""
    return sorted(rules, key=lambda rule: rule.key())
