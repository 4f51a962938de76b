"""Statistics of templates: the counts, who is a candidate, and the bound on candidates."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tcrules.engine import naive
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Coverage, Gap, MemoryFacts
from tcrules.engine.ir import Program
from tcrules.engine.statistics import Bounds, Statistics, TooWide, statistics
from tcrules.engine.vector import VectorStore
from tcrules.engine.verdict import doubt

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

ONE = Settings(threads=1)
FEW = Bounds(bindings=100)
RELATION = "relation seen(call: call, api: api, parent: call, step: step, ok: bool)\n"
NESTED = (
    RELATION
    + """
template nested(?A: api, ?B: api) {
    each    seen(call: C, api: ?A, step: S, ok: Ok)
    guard   Ok
    expect  seen(api: ?B, parent: C)
    about   C
    message "{C}"
}
"""
)
CALLS = [
    (1, "outer", 0, 0, True),
    (2, "inner", 1, 0, True),
    (3, "inner", 1, 0, True),
    (4, "outer", 0, 1, True),
    (5, "other", 4, 1, False),
    (6, "outer", 0, 1, False),
]


def stores(facts: MemoryFacts, program: Program) -> Iterator[DuckDBStore | VectorStore]:
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        yield store
    with VectorStore.from_memory(facts, program) as store:
        yield store


def counted(program: Program, facts: MemoryFacts, bounds: Bounds = FEW) -> Statistics:
    """The statistics of the one template: all stores and the definition agree on them."""
    (template,) = program.templates
    expected = Statistics(*naive.statistics(template, naive.evaluate(program, facts)))
    for store in stores(facts, program):
        assert statistics(template, store, bounds) == expected
    return expected


def test_candidates_hold_somewhere_and_are_counted_everywhere() -> None:
    found = counted(helping.program_of(NESTED), helping.facts_of(seen=CALLS))
    outer, inner, other = ("outer",), ("inner",), ("other",)
    assert found.triggers[outer, (False,)] == 1
    assert found.triggers[outer, (True,)] == 2
    assert found.held == {(outer, (True,), inner): 1, (outer, (True,), other): 1}


def test_without_free_metavariables_what_never_holds_counts_too() -> None:
    text = RELATION + (
        'template t(?A: api) { each seen(call: C, api: ?A) expect seen(parent: C) message "{C}" }'
    )
    found = counted(helping.program_of(text), helping.facts_of(seen=CALLS))
    assert found.triggers == {(("outer",), ()): 3, (("inner",), ()): 2, (("other",), ()): 1}
    assert found.held == {(("outer",), (), ()): 2}


def test_alternatives_count_once() -> None:
    text = RELATION + (
        "template t(?A: api, ?B: api) { each seen(call: C, api: ?A) "
        'expect seen(api: ?B, parent: C) or seen(api: ?B, parent: C, ok: true) message "{C}" }'
    )
    found = counted(helping.program_of(text), helping.facts_of(seen=CALLS))
    assert {free: number for (_, _, free), number in found.held.items()} == {("inner",): 1, ("other",): 1}


def test_an_expectation_that_calculates() -> None:
    text = RELATION + (
        "template t(?A: api, ?B: bool) { each seen(call: C, api: A, ok: Ok), A = ?A guard Ok "
        'expect B = Ok, B = ?B, C > 1 message "{C} {?B}" }'
    )
    assert counted(helping.program_of(text), helping.facts_of(seen=CALLS)).held


def test_no_facts_no_candidates() -> None:
    assert counted(helping.program_of(NESTED), helping.facts_of(seen=[])) == Statistics()


# ------------------------------------------------------------------------------------------------ doubt


def test_instances_that_missing_facts_could_change_are_not_counted() -> None:
    program = helping.program_of(NESTED)
    (template,) = program.templates
    coverage = Coverage(frozenset({"seen"}), (Gap("seen", -1, 1, -1, "sampled"),))
    for store in stores(helping.facts_of(seen=CALLS), program):
        sure = statistics(template, store, doubt=doubt(template.invariant, coverage))
        assert sure.triggers[("outer",), (True,)] == 1
        assert (("outer",), (False,)) not in sure.triggers


def test_what_was_not_recorded_says_nothing() -> None:
    program = helping.program_of(NESTED)
    (template,) = program.templates
    for store in stores(helping.facts_of(seen=CALLS), program):
        unknown = doubt(template.invariant, Coverage(frozenset()))
        assert statistics(template, store, doubt=unknown) == Statistics()


# ------------------------------------------------------------------------------------------------ bounds


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (Bounds(bindings=1), "template nested: more than 1 bindings of its metavariables"),
        (Bounds(instances=2), "template nested: a join with more than 2 bindings"),
    ],
)
def test_too_many_are_refused_by_name_and_the_store_goes_on(bounds: Bounds, why: str) -> None:
    program, facts = helping.program_of(NESTED), helping.facts_of(seen=CALLS)
    (template,) = program.templates
    for store in stores(facts, program):
        with pytest.raises(TooWide, match=why):
            statistics(template, store, bounds)
        assert statistics(template, store).held
