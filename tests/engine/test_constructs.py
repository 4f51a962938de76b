"""Disjunction, keyed aggregates and relations that keep the best fact: programs whose answers are known."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tcrules.engine import naive
from tcrules.engine.check import check, naive_check
from tcrules.engine.duckdb_store import DuckDBStore, Settings, StoreFault
from tcrules.engine.ir import Value
from tcrules.engine.proof import Proof, check_proof, check_violation
from tcrules.engine.provenance import explain_violation, proofs, prove
from tcrules.engine.vector.store import VectorStore
from tcrules.engine.why_not import why_not

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

EDGE = "relation edge(a: int, b: int)\n"
NAN = float("nan")


def derived(text: str, name: str, **relations: list[tuple[Value, ...]]) -> set[tuple[Value, ...]]:
    """The facts of a relation, the same on all executors."""
    program, facts = helping.program_of(text), helping.facts_of(**relations)
    model = naive.evaluate(program, facts)
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        assert store.rounds(program.predicates[name]) == model.derived[name]
    vector = VectorStore.from_memory(facts, program)
    assert vector.rounds(program.predicates[name]) == model.derived[name]
    return set(model.derived[name])


# ------------------------------------------------------------------------------------------------ disjunction


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("edge(X, 1) or edge(2, X)", {0, 3, 5}),
        ("edge(X, _), { X > 2 or edge(_, X), X < 2 }", {1, 3}),
        ("edge(X, _), not { edge(_, X) or X = 3 }", {0}),
        ("edge(X, _), { not edge(_, X) or edge(X, 1), { X = 3 or X = 9 } }", {0, 3}),
        ("{ X = 7 or X = 8 }, { X > 7 or edge(X, _) }", {8}),
        ("edge(X, _), 2 = count { edge(X, B) or edge(B, X) }", {3}),
        ("edge(_, X), 0 = count { edge(X, _) or X < 4 }", {5}),
    ],
)
def test_disjunction(body: str, expected: set[int]) -> None:
    edges = [(0, 1), (1, 2), (3, 1), (2, 3), (2, 5)]
    assert derived(f"{EDGE}p(X) :- {body}.", "p", edge=edges) == {(x,) for x in expected}


def test_a_variable_of_one_alternative_is_not_the_one_of_another_literal() -> None:
    text = EDGE + "p(X) :- edge(X, _), { edge(X, Y), Y > 3 or edge(X, Y), Y < 0 }."
    assert derived(text, "p", edge=[(1, 4), (2, 2), (3, -1)]) == {(1,), (3,)}


def test_recursion_through_a_disjunction() -> None:
    text = EDGE + "linked(X, Y) :- edge(X, Y) or edge(Y, X) or linked(X, Z), { linked(Z, Y) or Z = Y }."
    assert len(derived(text, "linked", edge=[(0, 1), (2, 1), (2, 3), (8, 9)])) == 16 + 4


def violated(text: str, **relations: list[tuple[Value, ...]]) -> set[tuple[Value, ...]]:
    program, facts = helping.program_of(text), helping.facts_of(**relations)
    model = naive.evaluate(program, facts)
    expected = naive_check(program, lambda rule: naive.instances(rule, model), facts.coverage)
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        assert check(program, store, facts.coverage) == expected
    return set(expected.violations.get(program.invariants[0].id, ()))


def test_an_instance_has_the_variables_that_all_alternatives_bind() -> None:
    text = EDGE + 'invariant i {{ each {} expect false message "{{X}}" }}'
    edges = [(1, 2), (2, 1), (3, 9)]
    assert violated(text.format("{ edge(X, 1) or edge(2, X) }"), edge=edges) == {(1,), (2,)}
    assert violated(text.format("{ edge(X, Y), Y > 2 or edge(Z, X), Z > 2 }"), edge=edges) == {(3,), (9,)}


def test_alternatives_within_an_alternative_of_expect() -> None:
    text = EDGE + 'invariant i { each edge(X, Y) expect edge(Y, Z), { Z = X or Z > 8 } message "{X}{Y}" }'
    assert violated(text, edge=[(1, 2), (2, 1), (3, 1), (4, 3), (3, 9)]) == {(3, 1), (3, 9)}
    invariant = helping.program_of(text).invariants[0]
    assert len(invariant.expect) == 2


def test_a_violation_is_proved_by_the_alternative_that_holds() -> None:
    text = (
        EDGE
        + 'invariant i { each edge(X, _), { edge(X, 7) or edge(7, X), X > 1 } expect false message "{X}" }'
    )
    model = helping.model_of(text, edge=[(1, 2), (7, 1), (3, 4), (7, 3)])
    invariant = model.program.invariants[0]
    found = explain_violation(model.program, model, invariant, {"X": 3})
    assert found is not None and check_violation(found, model.program, model) == []
    assert [premise.conclusion for premise in found.premises] == ["edge(a: 3, b: 4)", "edge(a: 7, b: 3)"]
    assert found.checks == ("3 > 1",)
    assert explain_violation(model.program, model, invariant, {"X": 1}) is None
    assert check_violation(replace(found, each=invariant.each), model.program, model) != []


def test_why_not_a_disjunction() -> None:
    text = EDGE + 'invariant i { forbid edge(1, X), { edge(X, 5) or edge(X, 6), X > 8 } message "{X}" }'
    model = helping.model_of(text, edge=[(1, 2), (2, 6)])
    found = why_not(model.program.invariants[0].each, model, {}, model.program)
    assert found is not None
    assert found.text == "{ edge(a: 2, b: 5) or edge(a: 2, b: 6), 2 > 8 }"


def test_disjunctions_side_by_side_are_one_rule_each() -> None:
    text = EDGE + "p(X) :- edge(X, _), { X = 1 or X = 2 }, { edge(X, 1) or edge(X, 2) or edge(X, 3) }."
    assert len(helping.program_of(text).strata[0].rules) == 6


def test_what_is_needed_of_a_disjunction_to_decide() -> None:
    head = "invariant i { each step(step: S), "
    tail = ' expect step(step: S) message "{S}" }'
    invariant = helping.program_of(head + "{ metric(step: S) or not metric(step: S) }" + tail).invariants[0]
    assert not invariant.monotone and invariant.window.kind == "body" and "metric" in invariant.watched
    invariant = helping.program_of(head + "{ S > 3 or not metric(value: 0.5) }" + tail).invariants[0]
    assert invariant.window.kind == "run"
    invariant = helping.program_of(head + "{ S > 3 or metric(step: S) }" + tail).invariants[0]
    assert invariant.monotone and invariant.window.kind == "body" and "metric" in invariant.needs


# ------------------------------------------------------------------------------------------------ aggregates


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("count(W) { weight(_, W) }", {3}),
        ("count(1 / W) { weight(_, W) }", {2}),
        ("count(X) { weight(X, _), X > 9 }", {0}),
        ("arg_min(X, W) { weight(X, W) }", {4}),
        ("arg_max(X, W) { weight(X, W) }", {2}),
        ("arg_min(X, 1.0 / W) { weight(X, W) }", {1}),
        ("arg_max(X, W) { weight(X, W), X > 9 }", set()),
        ("arg_min(10 / (X - 4), W) { weight(X, W) }", {5.0}),
    ],
)
def test_aggregates(aggregate: str, expected: set[Value]) -> None:
    text = f"relation weight(a: int, w: float)\np(N) :- N = {aggregate}."
    weights = [(1, 2.5), (3, 2.5), (2, NAN), (4, 0.0), (6, -0.0)]
    assert derived(text, "p", weight=weights) == {(value,) for value in expected}


def test_a_keyed_aggregate_has_the_type_of_its_value() -> None:
    text = "p(A) :- A = arg_max(A1, S) { call(api: A1, step: S) }.\nq(A) :- p(A), call(api: A)."
    assert helping.program_of(text).predicates["p"].columns[0].type.name == "api"


# ------------------------------------------------------------------------------------------------ the best fact

PATH = """relation edge(a: int, b: int, w: float)
relation dist(to: int, length: min float)
dist(0, 0.0).
dist(Y, D + W) :- dist(X, D), edge(X, Y, W).
far(X) :- dist(X, D), D > 3.0.
"""
WEIGHTED = [(0, 1, 4.0), (0, 2, 1.0), (2, 1, 2.0), (1, 3, 1.0), (3, 0, 0.0), (2, 3, 9.0)]


def test_shortest_paths() -> None:
    assert derived(PATH, "dist", edge=WEIGHTED) == {(0, 0.0), (1, 3.0), (2, 1.0), (3, 4.0)}
    assert derived(PATH, "far", edge=WEIGHTED) == {(3,)}


def test_improving_cycles_that_end() -> None:
    text = PATH.replace("D + W", "max_of(D + W, -3.0)")
    assert derived(text, "dist", edge=[(0, 1, -1.0), (1, 0, 0.5)]) == {(0, -2.5), (1, -3.0)}


def test_the_first_time() -> None:
    text = """relation link(from: int, to: int, at: int)
relation reached(place: int, at: min int)
reached(0, 0).
reached(Y, max_of(T, At)) :- reached(X, T), link(X, Y, At).
relation warm(place: int)
warm(X) :- reached(X, T), T <= 5.
"""
    links = [(0, 1, 3), (1, 2, 2), (2, 3, 9), (0, 3, 12), (3, 1, 1)]
    assert derived(text, "reached", link=links) == {(0, 0), (1, 3), (2, 3), (3, 9)}
    assert derived(text, "warm", link=links) == {(0,), (1,), (2,)}


def test_a_relation_may_keep_the_best_without_recursion_and_without_a_key() -> None:
    text = (
        EDGE
        + "relation top(b: max int)\ntop(B) :- edge(_, B).\nrelation low(a: int, b: min int)\nlow(A, B) :- edge(A, B)."
    )
    edges = [(1, 5), (1, 2), (2, 9)]
    assert derived(text, "top", edge=edges) == {(9,)}
    assert derived(text, "top", edge=[]) == set()
    assert derived(text, "low", edge=edges) == {(1, 2), (2, 9)}


def test_nan_is_the_greatest_value() -> None:
    text = "relation w(a: int, v: float)\nrelation high(a: int, v: max float)\nhigh(A, V) :- w(A, V)."
    (only,) = derived(text, "high", w=[(1, 2.0), (1, NAN), (1, float("inf"))])
    assert only[0] == 1 and only[1] != only[1]


def test_what_gets_better_without_end_is_stopped() -> None:
    program = helping.program_of(PATH)
    facts = helping.facts_of(edge=[(0, 1, -1.0), (1, 0, 0.5)])
    with pytest.raises(naive.EvaluationLimit, match="deriving dist; do values get better without end"):
        naive.evaluate(program, facts, limit=50)
    with (
        DuckDBStore.from_memory(facts, program, Settings(threads=1, max_rounds=30)) as store,
        pytest.raises(StoreFault, match="still new facts after 30 rounds; does a cycle make values better"),
    ):
        store.rounds(program.predicates["dist"])


#: The path to 2 was found through 1 when that was 5 away; now it is 4 away, and the limit of 10 hides the difference.
CAPPED = PATH.replace("D + W", "max_of(D + W, 10.0)").replace(
    "dist(0, 0.0).", "dist(0, 0.0).\ndist(1, 20.0)."
)


def stores(text: str, **relations: list[tuple[Value, ...]]):
    program, facts = helping.program_of(text), helping.facts_of(**relations)
    yield program, naive.evaluate(program, facts)
    yield program, VectorStore.from_memory(facts, program)
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        yield program, store


def test_proofs_of_best_facts() -> None:
    for program, source in stores(PATH, edge=WEIGHTED):
        dist = program.predicates["dist"]
        proof = prove(program, source, dist, (3, 4.0))
        assert proof is not None and check_proof(proof, program, source) == []
        assert prove(program, source, dist, (3, 10.0)) is None
        assert list(proofs(program, source, dist, (3, 10.0))) == []
        assert [found.conclusion for found in proofs(program, source, dist, (1, 3.0))] == [
            "dist(to: 1, length: 3.0)"
        ]


def test_a_proof_may_use_a_fact_that_was_replaced_later() -> None:
    text = """relation edge(a: int, b: int, w: int)
relation dist(to: int, length: min int)
dist(0, 0).
dist(Y, max_of(D + W, 3)) :- dist(X, D), edge(X, Y, W).
dist(1, 2) :- dist(2, D), D <= 3.
"""
    for program, source in stores(text, edge=[(0, 1, 3), (1, 2, 0)]):
        dist = program.predicates["dist"]
        assert source.round_of(dist, (1, 2)) == 4 and source.round_of(dist, (2, 3)) == 3
        assert list(source.superseded(dist, {})) == [((1, 3), 2)]
        proof = prove(program, source, dist, (1, 2))
        assert proof is not None and check_proof(proof, program, source) == []
        assert [node.conclusion for node in proof.nodes()][:3] == [
            "dist(to: 1, length: 2)",
            "dist(to: 2, length: 3)",
            "dist(to: 1, length: 3)",
        ]
        old = proof.premises[0].premises[0]
        assert check_proof(old, program, source) == ["dist(to: 1, length: 3) was replaced by a better fact"]


def test_outside_of_its_recursion_only_the_best_fact_is_a_premise() -> None:
    model = helping.model_of(PATH, edge=WEIGHTED)
    far = prove(model.program, model, model.program.predicates["far"], (3,))
    assert far is not None and check_proof(far, model.program, model) == []
    worse = Proof(
        far.premises[0].predicate, replace(far.premises[0].fact, values=(3, 5.0)), far.premises[0].rule
    )
    faults = check_proof(replace(far, premises=(worse,)), model.program, model)
    assert any("was replaced by a better fact" in fault for fault in faults)


def test_more_facts_may_replace_the_best_one() -> None:
    text = """relation first(param: param, step: min step)
first(P, S) :- param_state(param: P, step: S).
invariant i { each first(P, S) expect S < 3 message "{P}" }
"""
    invariant = helping.program_of(text).invariants[0]
    assert not invariant.monotone and "param_state" in invariant.watched and not invariant.needs
