"""The NumPy executor says what the naive evaluator says, on random programs and facts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from tcrules.engine import naive
from tcrules.engine.check import check, naive_check
from tcrules.engine.families import singles
from tcrules.engine.plan.build import compile_body, violated, violated_by_difference
from tcrules.engine.vector import VectorStore

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def compare(case) -> None:
    program, facts = case.program, case.facts
    model = naive.evaluate(program, facts)
    store = VectorStore.from_memory(facts, program)
    for predicate in program.predicates.values():
        if not predicate.observed:
            assert store.rounds(predicate) == model.derived[predicate.name], case.text
    expected = naive_check(program, lambda invariant: naive.instances(invariant, model), facts.coverage)
    assert check(program, store, facts.coverage) == expected, case.text
    assert check(program, store, facts.coverage, grouping=singles) == expected, case.text
    for invariant in program.invariants:
        trigger = compile_body(invariant.each)
        one, other = (way(invariant.expect, trigger) for way in (violated, violated_by_difference))
        assert store.select(one, invariant.variables) == store.select(other, invariant.variables), case.text


@few
@given(strategies.cases())
def test_random_programs(case) -> None:
    compare(case)


@pytest.mark.slow
@many
@given(strategies.cases(most_facts=16, strata=4))
def test_more_random_programs(case) -> None:
    compare(case)
