"""Where keys determine the rows of a plan, no duplicates are looked for; where they do not, they are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from tcrules.engine import naive
from tcrules.engine.check import check, naive_check
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.plan.build import compile_body
from tcrules.engine.plan.determined import determined

_spec = importlib.util.spec_from_file_location("determined_helping", Path(__file__).with_name("helping.py"))
assert _spec and _spec.loader
helping = sys.modules["determined_helping"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helping)

PROGRAM = """relation made(call: call, step: step, api: string)
relation noted(call: call, kind: string)
invariant one { each made(call: C, step: S) expect S != 1 message "{C}" }
invariant two { each made(call: C, step: S), noted(call: C, kind: K), Long = length(K) expect Long < 2 message "{C}" }
invariant three { each made(step: S) expect noted(kind: "a") message "{S}" }
"""


def is_key(predicate, at: int) -> bool:
    return predicate.name == "made" and at == 0


@pytest.mark.parametrize(("number", "expected"), [(0, True), (1, False), (2, False)])
def test_keys_determine_the_facts_of_a_body(number: int, expected: bool) -> None:
    invariant = helping.program_of(PROGRAM).invariants[number]
    assert determined(compile_body(invariant.each), invariant.variables, is_key) is expected


def test_a_computed_value_is_determined_by_what_it_is_computed_from() -> None:
    invariant = helping.program_of(PROGRAM).invariants[1]
    wanted = [variable for variable in invariant.variables if variable.name in ("C", "K")]
    assert determined(compile_body(invariant.each), wanted, lambda _, at: at == 0)


@pytest.mark.parametrize("calls", [(1, 2, 3, 4), (1, 3, 2, 2), (2, 2, 2, 2)])
def test_facts_that_repeat_count_once(calls: tuple[int, ...]) -> None:
    program = helping.program_of(PROGRAM)
    made = [(call, at % 2, "ab"[at // 2]) for at, call in enumerate(calls)]
    facts = helping.facts_of(made=made, noted=[(calls[0], "a"), (calls[1], "bb"), (calls[0], "a")])
    model = naive.evaluate(program, facts)
    expected = naive_check(program, lambda invariant: naive.instances(invariant, model), facts.coverage)
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        assert check(program, store, facts.coverage) == expected
