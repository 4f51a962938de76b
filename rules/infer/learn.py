"""Learning from statistics: candidates, generalisation, redundancy, and the risk of each family of rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcrules.rules.infer.candidates import Table, by_template, candidates, merged
from tcrules.rules.infer.filters import ordered, reduce_orders, tally
from tcrules.rules.infer.generalise import for_any_name, generalise, has_free_name, without_names
from tcrules.rules.infer.model import Counts, Dropped, Evidence, Learned, Run, Shape
from tcrules.rules.infer.options import DEFAULTS, Options
from tcrules.rules.infer.ranges import RANGE, learn_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Units below which nothing can be left out: a shared rule needs two.
LEAST_TO_LEAVE_OUT = 3


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was learned, in a stable order, and what was dropped."""

    rules: tuple[Learned, ...]
    dropped: tuple[Dropped, ...]


def learn(runs: Sequence[Run], shapes: Mapping[str, Shape], options: Options = DEFAULTS) -> Lessons:
    """Rules that hold in all runs.

    Runs of one program are compared with each other. Runs of several programs are added up by program first, and
    then only what does not name anything of one program is learned.
    """
    projects = sorted({run.project for run in runs})
    rules: list[Learned] = []
    dropped: list[Dropped] = []
    for name in sorted(shapes):
        shape, counts = shapes[name], by_template([run.counts for run in runs], name)
        units = counts
        if len(projects) > 1:
            by_project = [
                [c for run, c in zip(runs, counts, strict=True) if run.project == p] for p in projects
            ]
            units = [merged(several) for several in by_project]
        found, lost = learn_family(shape, units, options, across=len(projects) > 1)
        risk = family_risk(shape, units, options, across=len(projects) > 1)
        dropped += lost
        if found and risk > options.highest_risk:
            reason = f"{risk:.0%} of such rules failed on runs that were left out while learning"
            dropped += [Dropped(rule.label(), reason) for rule in found]
            continue
        rules += [replace(rule, evidence=_evidence(rule, shape, counts)) for rule in found]
    return Lessons(tuple(ordered(rules)), tuple(dropped))


def learn_family(
    shape: Shape, units: Sequence[Counts], options: Options, *, across: bool
) -> tuple[list[Learned], list[Dropped]]:
    """The rules of one template that hold in all units; `across` several programs they are free of names."""
    if across and ("local" in shape.tags or has_free_name(shape)):
        return [], []
    table = Table(shape, [without_names(shape, one) for one in units] if across else units)
    how = learn_ranges if RANGE in shape.tags else candidates
    found, dropped = how(table, options)
    found, redundant = reduce_orders(shape, found)
    if across:
        found = for_any_name(shape, found)
    elif options.runs("generalisation"):
        found = generalise(shape, found, table.bindings())
    return found, [*dropped, *redundant]


def family_risk(shape: Shape, units: Sequence[Counts], options: Options, *, across: bool) -> float:
    """The share of rules, learned without one unit, that fail on it; 0 where nothing can be left out."""
    if len(units) < LEAST_TO_LEAVE_OUT or not options.runs("hold-out"):
        return 0.0
    tested = failed = 0
    for left_out, unit in enumerate(units):
        others = [one for place, one in enumerate(units) if place != left_out]
        for rule in learn_family(shape, others, options, across=across)[0]:
            triggers, failures = tally(rule, shape, unit)
            tested += triggers > 0
            failed += failures > 0
    return failed / tested if tested else 0.0


def _evidence(rule: Learned, shape: Shape, runs: Sequence[Counts]) -> Evidence:
    tallies = [tally(rule, shape, counts)[0] for counts in runs]
    return Evidence(sum(n > 0 for n in tallies), sum(tallies), rule.evidence.bindings)
