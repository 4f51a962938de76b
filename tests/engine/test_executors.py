"""DuckDB and NumPy say what the naive evaluator says, on random programs and facts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from hypothesis import given
from tcrules.engine import naive
from tcrules.engine.check import check, naive_check
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.families import singles
from tcrules.engine.plan.build import compile_body, violated, violated_by_difference
from tcrules.engine.statistics import Statistics, statistics
from tcrules.engine.vector import VectorStore

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]


def compare(case) -> None:
    """Every store finds the facts, rounds, verdicts, violations and counts of the naive evaluator."""
    program, facts = case.program, case.facts
    model = naive.evaluate(program, facts)
    expected = naive_check(program, lambda invariant: naive.instances(invariant, model), facts.coverage)
    compare_store(case, model, expected, VectorStore.from_memory(facts, program))
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        compare_store(case, model, expected, store)


def compare_store(case, model, expected, store) -> None:
    program, coverage = case.program, case.facts.coverage
    for template in program.templates:
        assert statistics(template, store) == Statistics(*naive.statistics(template, model)), case.text
    for predicate in program.predicates.values():
        if not predicate.observed:
            assert store.rounds(predicate) == model.derived[predicate.name], case.text
    assert check(program, store, coverage) == expected, case.text
    assert check(program, store, coverage, grouping=singles, sharing=False) == expected, case.text
    for invariant in program.invariants:
        store.evaluate([invariant.each, *invariant.expect])
        trigger = compile_body(invariant.each)
        one, other = (way(invariant.expect, trigger) for way in (violated, violated_by_difference))
        listed = store.select(one, invariant.variables)
        assert listed == store.select(other, invariant.variables), case.text


@helping.examples(150)
@given(strategies.cases())
def test_random_programs(case) -> None:
    compare(case)


@helping.examples(50)
@given(strategies.cases(most_facts=16, strata=4))
def test_larger_random_programs(case) -> None:
    compare(case)
