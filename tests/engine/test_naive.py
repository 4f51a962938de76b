"""The evaluator that defines the meaning, on programs whose answers are known."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.engine import ir, naive
from tcrules.engine.ir import Value
from tcrules.engine.values import compare

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

EDGE = "relation edge(a: int, b: int)\n"
LINEAR = EDGE + "path(X, Y) :- edge(X, Y).\npath(X, Z) :- path(X, Y), edge(Y, Z).\n"
NON_LINEAR = EDGE + "path(X, Y) :- edge(X, Y).\npath(X, Z) :- path(X, Y), path(Y, Z).\n"
EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


def derived(text: str, name: str, **relations: list[tuple[Value, ...]]) -> set[tuple[Value, ...]]:
    return set(helping.model_of(text, **relations).derived[name])


def closure(edges: list[tuple[int, int]]) -> set[tuple[int, int]]:
    found = set(edges)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


@settings(deadline=None)
@given(EDGES)
def test_closure(edges: list[tuple[int, int]]) -> None:
    assert derived(LINEAR, "path", edge=edges) == closure(edges)
    assert derived(NON_LINEAR, "path", edge=edges) == closure(edges)


def test_rounds_are_the_heights_of_proofs() -> None:
    chain = [(n, n + 1) for n in range(8)]
    linear, doubling = (helping.model_of(text, edge=chain) for text in (LINEAR, NON_LINEAR))
    assert linear.derived["path"][0, 8] == 8
    assert doubling.derived["path"][0, 8] == 4


def test_mutual_recursion() -> None:
    text = (
        EDGE + "odd(X, Y) :- edge(X, Y).\nodd(X, Z) :- even(X, Y), edge(Y, Z).\n"
        "even(X, Z) :- odd(X, Y), edge(Y, Z).\n"
    )
    chain = [(n, n + 1) for n in range(5)]
    assert derived(text, "even", edge=chain) == {(a, b) for a in range(6) for b in range(a + 2, 6, 2)}
    assert derived(text, "odd", edge=[(0, 0)]) == derived(text, "even", edge=[(0, 0)]) == {(0, 0)}


def test_same_generation() -> None:
    text = (
        "relation up(a: int, b: int)\nsame(X, X) :- up(X, _).\nsame(X, X) :- up(_, X).\n"
        "same(X, Y) :- up(X, A), same(A, B), up(Y, B).\n"
    )
    tree = [(1, 0), (2, 0), (3, 1), (4, 2)]
    found = derived(text, "same", up=tree)
    assert {(1, 2), (3, 4), (3, 3)} <= found and (1, 3) not in found


def test_negation_over_strata() -> None:
    text = NON_LINEAR + (
        "node(X) :- edge(X, _).\nnode(X) :- edge(_, X).\n"
        "apart(X, Y) :- node(X), node(Y), not path(X, Y).\n"
        "root(X) :- node(X), not { edge(Y, X), Y != X }.\n"
        "only_root(X) :- root(X), not { root(Y), Y != X }.\n"
    )
    assert derived(text, "apart", edge=[(0, 1)]) == {(0, 0), (1, 0), (1, 1)}
    assert derived(text, "only_root", edge=[(0, 0), (0, 1)]) == {(0,)}
    assert derived(text, "only_root", edge=[(0, 1), (2, 1)]) == set()


def test_aggregates_over_strata() -> None:
    text = NON_LINEAR + (
        "reaches(X, N) :- edge(X, _), N = count { path(X, Y) }.\n"
        "most(N) :- N = max(M) { reaches(_, M) }.\n"
        "best(X) :- reaches(X, N), most(N).\n"
        "total(sum(M) { reaches(_, M) }).\n"
    )
    edges = [(0, 1), (1, 2), (3, 2)]
    assert derived(text, "reaches", edge=edges) == {(0, 2), (1, 1), (3, 1)}
    assert derived(text, "best", edge=edges) == {(0,)}
    assert derived(text, "total", edge=edges) == {(3,)}  # distinct values of M, not of facts
    assert derived(text, "total", edge=[]) == {(0,)}
    assert derived(text, "most", edge=[]) == set()


def test_an_aggregate_ranges_over_distinct_bindings() -> None:
    text = "relation w(a: int, v: float)\n" + (
        "plain(N) :- N = sum(V) { w(A, V) }.\n"
        "values(N) :- N = sum(V) { w(_, V) }.\n"
        "per(A, N) :- w(A, _), N = count { w(A, V), V > 1 }.\n"
        "undefined(N) :- N = count { w(_, V), 1 / V > 0 }.\n"
        "quotients(N) :- N = sum(1 / V) { w(_, V) }.\n"
    )
    facts = [(1, 0.5), (2, 0.5), (2, 2.0), (3, 0.0)]
    assert derived(text, "plain", w=facts) == {(3.0,)}
    assert derived(text, "values", w=facts) == {(2.5,)}
    assert derived(text, "per", w=facts) == {(1, 0), (2, 1), (3, 0)}
    assert derived(text, "undefined", w=facts) == {(2,)}
    assert derived(text, "quotients", w=facts) == {(2.5,)}


def test_special_floats_join() -> None:
    text = "relation w(v: float)\nrelation x(v: float)\nsame(V) :- w(V), x(V).\nbelow(V) :- w(V), not { x(U), U > V }."
    facts = {"w": [(-0.0,), (math.nan,), (1.0,)], "x": [(0.0,), (-math.nan,)]}
    assert len(derived(text, "same", **facts)) == 2
    ((found,),) = derived(text, "below", **facts)
    assert math.isnan(float(found))


def test_equal_facts_count_once() -> None:
    model = helping.model_of(EDGE + "n(N) :- N = count { edge(X, Y) }.", edge=[(1, 1), (1, 1)])
    assert list(model.derived["n"]) == [(1,)]


def test_repeated_variables_and_constants_in_atoms() -> None:
    text = EDGE + "loop(X) :- edge(X, X).\nfrom_one(X) :- edge(1, X)."
    assert derived(text, "loop", edge=[(1, 1), (1, 2)]) == {(1,)}
    assert derived(text, "from_one", edge=[(1, 1), (1, 2), (2, 3)]) == {(1,), (2,)}


def test_rules_that_count_up_end_at_a_limit() -> None:
    program = helping.program_of(EDGE + "up(X) :- edge(X, _).\nup(X + 1) :- up(X).")
    with pytest.raises(naive.EvaluationLimit, match="up"):
        naive.evaluate(program, helping.facts_of(edge=[(1, 1)]), limit=100)


# ------------------------------------------------------------------------------------------------ invariants


def judged(text: str, edges: list[tuple[int, int]]) -> dict[tuple[Value, ...], bool]:
    model = helping.model_of(EDGE + text, edge=edges)
    return {found.values: found.held for found in naive.instances(model.program.invariants[0], model)}


def test_instances() -> None:
    text = 'invariant i { each edge(X, Y), X != Y expect edge(Y, X) or edge(Y, Z), Z > 5 message "{X}" }'
    assert judged(text, [(1, 2), (2, 1), (3, 4), (4, 9), (6, 6), (7, 8)]) == {
        (1, 2): True,
        (2, 1): True,
        (3, 4): True,
        (4, 9): False,
        (7, 8): False,
    }


def test_instances_are_distinct_bindings() -> None:
    text = 'invariant i { forbid edge(X, _) message "{X}" }'
    assert judged(text, [(1, 2), (1, 3), (2, 2)]) == {(1,): False, (2,): False}


def test_expect_with_negation_and_count() -> None:
    text = 'invariant i { each edge(X, _) expect not edge(_, X), 2 <= count { edge(X, Y) } message "{X}" }'
    assert judged(text, [(1, 2), (1, 3), (2, 3), (2, 4), (5, 6)]) == {(1,): True, (2,): False, (5,): False}


# ------------------------------------------------------------------------------------------------ templates


def test_statistics() -> None:
    text = (
        EDGE
        + "relation color(a: int, c: string, big: bool)\n"
        + (
            "template t(?A: string, ?B: string) {\n"
            " each color(X, ?A, G) guard G\n"
            ' expect edge(X, Y), color(Y, ?B, _) message "{?A} {?B}" }\n'
        )
    )
    colors = [(1, "r", True), (2, "r", False), (3, "g", True), (4, "b", True), (5, "b", True), (6, "w", True)]
    model = helping.model_of(text, edge=[(1, 3), (2, 3), (2, 4), (4, 3)], color=colors)
    triggers, held = naive.statistics(model.program.templates[0], model)
    assert triggers == {
        (("r",), (True,)): 1,
        (("r",), (False,)): 1,
        (("g",), (True,)): 1,
        (("b",), (True,)): 2,
        (("w",), (True,)): 1,
    }
    assert held == {
        (("r",), (True,), ("g",)): 1,
        (("r",), (False,), ("g",)): 1,
        (("r",), (False,), ("b",)): 1,
        (("b",), (True,), ("g",)): 1,
    }


def test_statistics_without_free_metavariables() -> None:
    text = EDGE + 'template t(?A: int) { each edge(?A, Y) expect edge(Y, _) message "{?A}" }'
    model = helping.model_of(text, edge=[(1, 2), (1, 3), (3, 1), (4, 5)])
    triggers, held = naive.statistics(model.program.templates[0], model)
    assert triggers == {((1,), ()): 2, ((3,), ()): 1, ((4,), ()): 1}
    assert held == {((1,), (), ()): 1, ((3,), (), ()): 1}


# ------------------------------------------------------------------------------------------------ random programs


def _beaten(rule: ir.Rule, fact: ir.Fact, model: naive.Model) -> bool:
    """The relation keeps a better fact with the same key."""
    best, rest = rule.head.predicate.best, [*enumerate(fact[:-1])]
    op = {"min": "<", "max": ">"}.get(best)
    found = [stored.values[-1] for stored in model.lookup(rule.head.predicate, dict(rest))]
    return op is not None and len(found) == 1 and compare(op, found[0], fact[-1])


@helping.examples(60)
@given(strategies.cases())
def test_a_model_is_a_fixpoint(case: strategies.Case) -> None:
    """Nothing more follows, every derived fact is in the model with its round, and it does not depend on order."""
    model = naive.evaluate(case.program, case.facts)
    for stratum in case.program.strata:
        for rule in stratum.rules:
            for solution in naive.solve(rule.body, model):
                fact = naive.instantiate(rule.head, solution.binding)
                assert model.round_of(rule.head.predicate, fact) is not None or _beaten(rule, fact, model)
    turned = type(case.facts)(
        {name: facts[::-1] for name, facts in case.facts.relations.items()}, case.facts.coverage
    )
    again = naive.evaluate(case.program, turned)
    assert again.derived == model.derived
