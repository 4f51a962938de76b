"""Statistics of templates: the counts, who is a candidate, and the bound on candidates."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from tcrules.engine import naive
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import MemoryFacts
from tcrules.engine.ir import Program
from tcrules.engine.statistics import Statistic, TooManyCandidates, statistics

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

ONE = Settings(threads=1)
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


def counted(program: Program, facts: MemoryFacts, most: int = 100) -> dict[tuple[object, ...], Statistic]:
    """The statistics by candidate and guard, after a comparison with the naive ones."""
    (template,) = program.templates
    expected = naive.statistics(template, naive.evaluate(program, facts))
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        found = statistics(template, store, most)
    assert list(found) == sorted(found, key=lambda s: (s.bound, s.free, s.guard))
    by_key = {(s.bound, s.free, s.guard): s for s in found}
    numbers = {key: (s.triggers, s.held) for key, s in by_key.items()}
    assert numbers == {(s.bound, s.free, s.guard): (s.triggers, s.held) for s in expected}
    return by_key


def test_candidates_hold_somewhere_and_are_counted_everywhere() -> None:
    found = counted(helping.program_of(NESTED), helping.facts_of(seen=CALLS))
    assert list(found.values()) == [
        Statistic(("outer",), ("inner",), (False,), triggers=1, held=0, steps=1, objects=1),
        Statistic(("outer",), ("inner",), (True,), triggers=2, held=1, steps=2, objects=2),
        Statistic(("outer",), ("other",), (False,), triggers=1, held=0, steps=1, objects=1),
        Statistic(("outer",), ("other",), (True,), triggers=2, held=1, steps=2, objects=2),
    ]


def test_without_free_metavariables_what_never_holds_counts_too() -> None:
    text = RELATION + (
        'template t(?A: api) { each seen(call: C, api: ?A) expect seen(parent: C) message "{C}" }'
    )
    found = counted(helping.program_of(text), helping.facts_of(seen=CALLS))
    numbers = {s.bound[0]: (s.triggers, s.held) for s in found.values()}
    assert numbers == {"outer": (3, 2), "inner": (2, 0), "other": (1, 0)}


def test_alternatives_count_once() -> None:
    text = RELATION + (
        "template t(?A: api, ?B: api) { each seen(call: C, api: ?A) "
        'expect seen(api: ?B, parent: C) or seen(api: ?B, parent: C, ok: true) message "{C}" }'
    )
    found = counted(helping.program_of(text), helping.facts_of(seen=CALLS))
    assert {s.free[0]: s.held for s in found.values()} == {"inner": 1, "other": 1}


def test_no_facts_no_candidates() -> None:
    assert counted(helping.program_of(NESTED), helping.facts_of(seen=[])) == {}


def test_too_many_candidates_are_refused_by_name() -> None:
    with pytest.raises(TooManyCandidates, match=r"template nested: 2 combinations .* more than 1"):
        counted(helping.program_of(NESTED), helping.facts_of(seen=CALLS), most=1)
