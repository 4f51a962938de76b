"""The mutation score of learned rules: how many injected faults each of them finds.

Faults are changes of the facts of one healthy run (`operators.py`), and rules are checked on the changed facts as on
any others (`laboratory.py`). What is found is a lower bound: a real fault changes several relations at once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tcrules.engine.reads import dependencies
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.infer.mutation.laboratory import laboratory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tcrules.engine.ir import Invariant, Program
    from tcrules.rules.infer.model import Dropped, Learned
    from tcrules.rules.infer.mutation.laboratory import Laboratory
    from tcrules.rules.infer.mutation.operators import Mutant
    from tcrules.rules.infer.options import Options


def scored(
    rules: Sequence[Learned], program: Program, facts: Path, options: Options
) -> tuple[list[Learned], list[Dropped]]:
    """The rules with the numbers of faults that could concern them and that they find.

    Rules of a template none of which finds one are archived: their tier becomes `note`; which of several siblings
    finds a fault is chance. A rule is left as it is where the run says
    nothing of it, or has no facts of something that it reads: no change makes such facts, which it may forbid.

    Args:
        rules: in the order of the invariants of `program`.
        program: these rules, analysed.
        facts: folder of the facts of a healthy run.
        options: how many faults, the seed of their choice, how many facts of the run.
    """
    reads = {rule.id: dependencies(program, [rule.each, *rule.expect]) for rule in program.invariants}
    relations = {name for several in reads.values() for name in several}
    with laboratory(facts, program, relations, options.mutation_facts) as bench:
        if bench is None:
            return list(rules), []
        alarming = {
            one.id: rule.template
            for one, rule in zip(program.invariants, rules, strict=True)
            if rule.tier != "note"
        }
        tried, caught = _tried(bench, program.invariants, reads, alarming, options)
        known = bench.known(relations)
    pairs = list(zip(rules, program.invariants, strict=True))
    useful = {rule.template for rule, invariant in pairs if caught[invariant.id]}
    found = []
    for rule, invariant in pairs:
        evidence = replace(rule.evidence, mutations=tried[invariant.id], caught=caught[invariant.id])
        observed = {name for name in reads[invariant.id] if name in BY_NAME}
        idle = evidence.mutations and rule.template not in useful and observed <= known
        found.append(replace(rule, evidence=evidence, tier="note" if idle else rule.tier))
    return found, []


def _tried(
    bench: Laboratory,
    invariants: Sequence[Invariant],
    reads: Mapping[str, set[str]],
    alarming: Mapping[str, str],
    options: Options,
) -> tuple[Counter[str], Counter[str]]:
    """Faults by rule: those that could concern it, and those that it finds.

    The first `options.mutations` faults are tried on every rule that reads what they change, the others only on
    `alarming` rules (with their templates) of whose template none has found anything yet.
    """
    statuses = bench.statuses(invariants)
    able = [rule for rule in invariants if statuses[rule.id] == "held"]
    tried: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    faults = _shuffled(bench.mutants({name for rule in able for name in reads[rule.id]}), options.seed)
    idle = set(alarming.values())
    for place, mutant in enumerate(faults):
        chosen = [
            rule
            for rule in able
            if mutant.relation in reads[rule.id]
            and (place < options.mutations or alarming.get(rule.id) in idle)
        ]
        if chosen:
            statuses = bench.statuses(chosen, mutant)
            tried.update(rule.id for rule in chosen)
            found = [rule.id for rule in chosen if statuses[rule.id] == "violated"]
            caught.update(found)
            idle.difference_update(alarming[rule] for rule in found if rule in alarming)
    return tried, caught


def _shuffled(mutants: Sequence[Mutant], seed: int) -> list[Mutant]:
    """Faults in an order that is the same for a seed, whatever other faults there are."""
    return sorted(mutants, key=lambda one: hashlib.sha256(f"{seed} {one.name}".encode()).hexdigest())
