"""Live checking gives the verdicts of the naive evaluator, in whatever portions and order facts arrive."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from tcrules.engine import naive
from tcrules.engine.check import naive_check
from tcrules.engine.facts import Coverage
from tcrules.engine.live import LiveSession

for _name in ("helping", "live_strategies"):
    _spec = importlib.util.spec_from_file_location(f"live_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"live_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"live_{_name}"])
helping, strategies = sys.modules["live_helping"], sys.modules["live_live_strategies"]

few = settings(
    max_examples=int(__import__("os").environ.get("NX", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
many = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
KEPT = 1_000_000


def batch(program, facts, coverage, rules):
    """The definition, as what decides rules at the end."""
    model = naive.evaluate(program, facts)
    return naive_check(program, lambda invariant: naive.instances(invariant, model), coverage, rules)


def live(stream, keep):
    """A session to which everything happened, its result, and the violations that it found on the way."""
    coverage = Coverage(stream.facts.coverage.recorded)
    session = LiveSession(stream.program, coverage, keep=keep)
    found = []
    for action in stream.actions:
        if action[0] == "feed":
            session.feed(action[1], action[2])
        elif action[0] == "advance":
            found += session.advance(action[1], action[2])
        elif action[0] == "gap":
            session.gap(action[1])
        else:
            session.world(strategies.WORLD)
    return session, session.close(complete=stream.facts.coverage.complete, batch=batch), found


#: How many rules were decided in which way.
SHARE: Counter[str] = Counter()


def compare(stream) -> None:
    program, facts = stream.program, stream.facts
    expected = batch(program, facts, facts.coverage, program.invariants)
    _, result, _ = live(stream, KEPT)
    assert result == expected, stream.text
    session, alone, found = live(stream, 0)
    late = session.late_rules()
    for invariant, verdict, wanted in zip(program.invariants, alone.verdicts, expected.verdicts, strict=True):
        if invariant.id in late:
            how = "late"
            assert verdict.status == "unknown"
        elif any("came after" in reason for reason in verdict.reasons):
            how = "too late facts"
            assert verdict.status == "unknown"
        else:
            how = f"live {wanted.status}"
            assert verdict == wanted, stream.text
            if wanted.status == "violated" and not facts.coverage.gaps:
                told = {v.binding for v in found if v.rule == invariant.id}
                assert told <= set(expected.violations[invariant.id]), stream.text
        event(how)
        SHARE[how] += 1


@few
@given(strategies.streams())
def test_random_programs(stream) -> None:
    compare(stream)


def test_most_rules_were_decided_live() -> None:
    """The property above must not be about rules that are handed to batch checking."""
    total = sum(SHARE.values())
    if total < 100:
        pytest.skip("runs after the property")
    lively = sum(number for how, number in SHARE.items() if how.startswith("live"))
    busy = SHARE["live violated"] + SHARE["live held"]
    assert lively > 0.45 * total and busy > total / 6, SHARE


@pytest.mark.slow
@many
@given(strategies.streams(most_facts=20, strata=3))
def test_more_random_programs(stream) -> None:
    compare(stream)
