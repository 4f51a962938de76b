"""The shipped library, checked live over the facts of its own tests, gives the verdicts of batch checking."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import pytest
from tcrules.engine import naive
from tcrules.engine.check import naive_check
from tcrules.engine.live import LiveSession
from tcrules.grammar import parse_tests
from tcrules.rules import testing
from tcrules.rules.catalogue import library_tests
from tcrules.rules.loading import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT = 100_000


@cache
def library():
    return load_rules().program


def batch(program, facts, coverage, rules):
    model = naive.evaluate(program, facts)
    return naive_check(program, lambda invariant: naive.instances(invariant, model), coverage, rules)


def streamed(facts, program, chance: random.Random) -> Iterator[tuple[str, list]]:
    """Facts step by step, those without a step first; within a step in random order, one by one or together."""
    steps: dict[int, list[tuple[str, tuple]]] = {}
    for name, stored in facts.relations.items():
        kinds = [column.type.name for column in program.predicates[name].columns]
        at = kinds.index("step") if kinds.count("step") == 1 else None
        for fact in stored:
            steps.setdefault(-1 if at is None else fact.values[at], []).append((name, fact.values))
    for step in sorted(steps):
        chance.shuffle(steps[step])
        for name, row in steps[step]:
            yield step, name, row


@pytest.mark.parametrize("path", library_tests(), ids=lambda path: path.stem)
def test_library_tests(path: Path) -> None:
    program = library()
    tests = parse_tests(path.read_text(encoding="utf-8"), str(path))
    for number, case in enumerate(tests.tests):
        facts, faults = testing.facts_of(case, program)
        assert not faults
        expected = batch(program, facts, facts.coverage, program.invariants)
        for keep in (0, KEPT):
            session = LiveSession(program, facts.coverage, world=1, keep=keep)
            last = None
            for step, name, row in streamed(facts, program, random.Random(number)):
                if last is not None and step != last:
                    session.advance(0, last)
                last = step
                session.feed(name, [row])
            result = session.close(batch=batch)
            late = session.late_rules() if not keep else {}
            wanted = [verdict for verdict in expected.verdicts if verdict.rule not in late]
            found = [verdict for verdict in result.verdicts if verdict.rule not in late]
            assert found == wanted, case.name
            broken = {rule: rows for rule, rows in expected.violations.items() if rule not in late}
            assert dict(result.violations) == broken, case.name


#: Rules of the library that are decided with each step.
# fmt: off
BOUNDED = [
    "autocast-reaches-layers", "batch-norm-rests-in-evaluation", "clip-after-unscale",
    "clip-before-step", "copies-own-their-values", "cross-entropy-gets-logits", "forward-through-wrapper",
    "frozen-params-stay",
    "gradients-survive-until-step", "loaded-state-fits", "loss-is-finite", "loss-shapes-agree",
    "nll-gets-log-probabilities", "no-dropout-in-evaluation", "optimizer-updates-params",
    "params-have-one-optimizer", "params-stay-finite", "random-state-moves-on",
    "ranks-see-different-data", "replicas-stay-equal", "replicated-buffers-are-equal",
    "tied-weights-stay-tied", "used-gradients-are-finite", "workers-draw-differently",
]
# fmt: on
#: Rules that are decided when an object has counted on: an optimizer's step, a loader's epoch, a group's collective.
COUNTING = {
    "collectives-match": "group",
    "gradients-start-empty": "optimizer",
    "learning-rates-agree": "optimizer",
    "reductions-agree": "group",
    "replicated-gradients-are-equal": "optimizer",
    "workers-yield-different-batches": "loader",
}
#: The others, by why: the literal of each looks back without a bound.
UNBOUNDED = {
    "counts along one object, but also asks what happened at any step (training_loader) or in between": """
        batches-change epochs-are-reshuffled sampler-is-told-the-epoch scheduler-steps-once
        workers-vary-over-epochs""",
    "asks what happened, or did not happen, at any step": """
        accumulation-windows-are-equal copies-follow-in-buffers first-layers-get-gradients
        float16-training-is-scaled
        learning-rate-is-positive low-precision-params-move optimizer-before-scheduler optimizer-finds-gradients
        optimizer-is-kept repeated-evaluation-in-evaluation-mode resume-restores-optimizer
        scaled-gradients-are-unscaled scaler-lets-steps-through scheduler-is-stepped training-mode-is-restored
        training-mode-is-set
        validation-in-evaluation-mode""",
    "reads facts that belong to no step and may come at any time (member, init_call)": """
        frozen-params-were-trained late-params-reach-optimizer optimizer-steps params-are-initialised-once
        params-with-gradient-are-owned""",
}


def test_which_rules_are_decided_with_each_step() -> None:
    """A rule that changes sides is worth a look: a bound that was lost costs users a live answer."""
    session = LiveSession(library())
    late = session.late_rules()
    bounded = {invariant.id for invariant in library().invariants} - set(late)
    assert sorted(bounded) == sorted([*BOUNDED, *COUNTING])
    clocks = {w.family.members[0].id: w.horizon.clock.of for w in session._watchers() if w.horizon.clock}
    assert clocks == COUNTING
    assert sorted(late) == sorted(rule for rules in UNBOUNDED.values() for rule in rules.split())


def test_no_bounded_rule_looks_back_further_than_a_step() -> None:
    session = LiveSession(library())
    assert (
        max(watcher.horizon.back[name] for watcher in session._watchers() for name in watcher.horizon.back)
        == 1
    )
    assert "forward: the step itself and 1 before" in session.memory().splitlines()
    assert "optimizer_step: 2 ordinals of each optimizer" in session.memory().splitlines()
    assert "parameter: all" in session.memory().splitlines()
