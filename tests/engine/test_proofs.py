"""Proofs are found for everything that holds, pass an independent check, and fail it once they are changed."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from tcrules.engine import ir, naive
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Stored
from tcrules.engine.ir import Value
from tcrules.engine.proof import Proof, check_proof, check_violation, to_json
from tcrules.engine.provenance import ProofFault, explain_violation, proofs, prove
from tcrules.engine.why_not import WhyNot, why_not, why_not_atom

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

EDGE = "relation edge(a: int, b: int)\n"
PATH = EDGE + "path(X, Y) :- edge(X, Y).\npath(X, Z) :- path(X, Y), path(Y, Z).\n"


def proved(model: naive.Model, name: str, *fact: Value) -> Proof:
    proof = prove(model.program, model, model.program.predicates[name], fact)
    assert proof is not None and check_proof(proof, model.program, model) == []
    return proof


def explained(model: naive.Model, *values: Value):
    invariant = model.program.invariants[0]
    names = [variable.name for variable in invariant.variables]
    found = explain_violation(model.program, model, invariant, dict(zip(names, values, strict=True)))
    assert found is None or check_violation(found, model.program, model) == []
    return found


def height(proof: Proof) -> int:
    return 1 + max((height(premise) for premise in proof.premises), default=0)


# ------------------------------------------------------------------------------------------------ proofs


def test_the_proof_is_of_least_height() -> None:
    model = helping.model_of(PATH, edge=[(n, n + 1) for n in range(8)] + [(0, 7)])
    assert height(proved(model, "path", 0, 8)) == 3
    assert height(proved(model, "path", 0, 6)) == 5


def test_observed_facts_prove_themselves_by_their_id() -> None:
    model = helping.model_of(PATH, edge=[(3, 4), (1, 2)])
    proof = proved(model, "edge", 1, 2)
    assert proof.rule is None and proof.fact == Stored(2, (1, 2))
    assert prove(model.program, model, model.program.predicates["edge"], (9, 9)) is None


def test_what_does_not_hold_has_no_proof() -> None:
    model = helping.model_of(PATH, edge=[(1, 2)])
    assert prove(model.program, model, model.program.predicates["path"], (2, 1)) is None
    assert list(proofs(model.program, model, model.program.predicates["path"], (2, 1))) == []


def test_all_proofs() -> None:
    model = helping.model_of(PATH, edge=[(0, 1), (1, 2), (2, 3), (0, 3)])
    predicate = model.program.predicates["path"]
    found = list(proofs(model.program, model, predicate, (0, 3)))
    assert len(found) == 3
    assert all(check_proof(proof, model.program, model) == [] for proof in found)
    assert len(list(proofs(model.program, model, predicate, (0, 3), limit=2))) == 2


def test_the_search_for_all_proofs_ends() -> None:
    complete = [(a, b) for a in range(4) for b in range(4)]
    model = helping.model_of(PATH, edge=complete)
    found = list(proofs(model.program, model, model.program.predicates["path"], (0, 3), limit=10))
    assert len(found) == 10


def test_a_proof_can_be_very_high() -> None:
    program = helping.program_of(EDGE + "reach(X) :- edge(-1, X).\nreach(Y) :- reach(X), edge(X, Y).")
    size = 5000
    edges = {(n - 1, n): Stored(n + 1, (n - 1, n)) for n in range(size)}
    model = naive.Model(program, {"edge": edges}, {"reach": {(n,): n + 1 for n in range(size)}})
    proof = prove(program, model, program.predicates["reach"], (size - 1,))
    assert proof is not None and sum(1 for _ in proof.nodes()) == 2 * size
    assert check_proof(proof, program, model) == []
    assert len(to_json(proof)["inferences"]) == 2 * size


def test_a_store_that_claims_too_much_is_found_out() -> None:
    model = helping.model_of(PATH, edge=[(1, 2)])
    model.derived["path"][7, 8] = 1
    with pytest.raises(ProofFault):
        prove(model.program, model, model.program.predicates["path"], (7, 8))


def test_checks_are_shown_with_values() -> None:
    text = EDGE + "q(X, N) :- edge(X, Y), N = X + count { edge(X, Z), Z > 1 }, not edge(Y, X), Y != 0."
    model = helping.model_of(text, edge=[(1, 2), (1, 3)])
    assert proved(model, "q", 1, 3).checks == (
        "2 = count { edge(a: 1, b: Z), Z > 1 }",
        "3 = (1 + 2)",
        "not edge(a: 2, b: 1)",
        "2 != 0",
    )


def test_json() -> None:
    model = helping.model_of(PATH, edge=[(1, 2), (2, 3)])
    found = json.loads(json.dumps(to_json(proved(model, "path", 1, 3))))
    assert found["finalConclusion"] == "path(1, 3)"
    assert [(i["conclusion"], i["premises"]) for i in found["inferences"]] == [
        ("path(1, 3)", ["path(1, 2)", "path(2, 3)"]),
        ("path(1, 2)", ["edge(a: 1, b: 2)"]),
        ("edge(a: 1, b: 2)", []),
        ("path(2, 3)", ["edge(a: 2, b: 3)"]),
        ("edge(a: 2, b: 3)", []),
    ]


# ------------------------------------------------------------------------------------------------ the check


def mutants(proof: Proof) -> list[Proof]:
    """Proofs that differ in one place, each of them wrong."""
    found = []
    other = tuple(_other(value) for value in proof.fact.values)
    found.append(replace(proof, fact=Stored(proof.fact.id, other)))
    found.append(
        replace(proof, fact=replace(proof.fact, id=10_000))
        if proof.rule is None
        else replace(proof, rule=None)
    )
    if proof.premises:
        found.append(replace(proof, premises=proof.premises[1:]))
        found.append(replace(proof, premises=(*proof.premises, proof.premises[0])))
        for at, premise in enumerate(proof.premises):
            before, after = proof.premises[:at], proof.premises[at + 1 :]
            found += [replace(proof, premises=(*before, wrong, *after)) for wrong in mutants(premise)]
    if proof.rule is not None:
        found.append(replace(proof, rule=replace(proof.rule)))  # not a rule of the program
        if proof.binding:
            found.append(replace(proof, binding=()))
    return found


def _other(value: Value) -> Value:
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return 0.5 if value != 0.5 else 1.5
    return f"{value}x" if isinstance(value, str) else value + 17


def test_changed_proofs_are_rejected() -> None:
    text = PATH + "far(X, N) :- path(X, _), N = max(Y) { path(X, Y) }, not edge(X, N)."
    model = helping.model_of(text, edge=[(1, 2), (2, 3), (3, 4)])
    wrong = mutants(proved(model, "far", 1, 4))
    assert len(wrong) > 10
    for mutant in wrong:
        assert check_proof(mutant, model.program, model) != []


def test_the_check_looks_at_negations_and_aggregates_itself() -> None:
    text = EDGE + "q(X) :- edge(X, _), not edge(X, 9), 1 = count { edge(X, Y) }."
    model = helping.model_of(text, edge=[(1, 2)])
    proof = proved(model, "q", 1)
    later = helping.model_of(text, edge=[(1, 2), (1, 9)])
    faults = check_proof(replace(proof, rule=later.program.strata[0].rules[0]), later.program, later)
    assert faults == [
        "q(1): not edge(a: 1, b: 9) does not hold",
        "q(1): 1 = count { edge(a: 1, b: Y) } does not hold",
    ]


@helping.examples(60)
@given(strategies.cases())
def test_every_derived_fact_has_a_proof(case: strategies.Case) -> None:
    model = naive.evaluate(case.program, case.facts)
    for name, facts in model.derived.items():
        for fact in list(facts)[:4]:
            proof = prove(case.program, model, case.program.predicates[name], fact)
            assert proof is not None
            assert check_proof(proof, case.program, model) == []
            assert all(check_proof(mutant, case.program, model) for mutant in mutants(proof)[:10])
            (first,) = proofs(case.program, model, case.program.predicates[name], fact, limit=1)
            assert check_proof(first, case.program, model) == []


@helping.examples(60)
@given(strategies.cases())
def test_every_violation_is_explained(case: strategies.Case) -> None:
    model = naive.evaluate(case.program, case.facts)
    for invariant in case.program.invariants:
        names = [variable.name for variable in invariant.variables]
        for instance in list(naive.instances(invariant, model))[:6]:
            found = explain_violation(
                case.program, model, invariant, dict(zip(names, instance.values, strict=True))
            )
            assert (found is None) == instance.held
            if found is not None:
                assert check_violation(found, case.program, model) == []
                assert len(found.unmet) == len(invariant.expect)
                json.dumps(to_json(found))


# ------------------------------------------------------------------------------------------------ why not


def reason(model: naive.Model, body: str, **binding: Value) -> WhyNot | None:
    program = helping.program_of(
        f'{EDGE}relation speed(a: int, v: float)\ninvariant i {{ forbid {body} message "." }}'
    )
    return why_not(program.invariants[0].each, model, binding)


def test_violations() -> None:
    text = PATH + (
        'invariant i { each edge(X, Y), path(Y, Z) expect edge(Y, 5) or edge(X, W), W > 3, path(W, 9) message "{X}" }'
    )
    model = helping.model_of(text, edge=[(1, 2), (2, 3), (1, 4), (2, 6)])
    found = explained(model, 1, 2, 3)
    assert found is not None
    assert found.conclusion == "violated i(X: 1, Y: 2, Z: 3)"
    assert [premise.conclusion for premise in found.premises] == ["edge(a: 1, b: 2)", "path(2, 3)"]
    first, second = found.unmet
    assert (first.matched, first.text) == (0, "edge(a: 2, b: 5)")
    assert [near.fact.values for near in first.near] == [(2, 6), (2, 3)]
    assert first.near[0].differences == (("b", 5, 6),)
    assert (second.matched, second.total, second.text) == (2, 3, "path(4, 9)")
    assert [why.text for _, why in second.rules] == ["edge(a: 4, b: 9)", "path(4, Y)"]


def test_an_instance_that_held_is_not_explained() -> None:
    model = helping.model_of(
        EDGE + 'invariant i { each edge(X, Y) expect edge(Y, _) message "{X}" }', edge=[(1, 1)]
    )
    assert explained(model, 1, 1) is None
    assert explained(model, 7, 7) is None


def test_the_best_partial_match() -> None:
    model = helping.model_of(EDGE, edge=[(1, 2), (1, 3), (3, 4), (4, 9)])
    found = reason(model, "edge(1, X), edge(X, Y), Y > 5")
    assert found is not None and (found.matched, found.text) == (2, "4 > 5")
    assert [stored.values for _, stored in found.facts] == [(1, 3), (3, 4)]


def test_a_missing_count_says_what_was_counted() -> None:
    model = helping.model_of(EDGE, edge=[(1, 2)])
    found = reason(model, "edge(X, _), N = count { edge(X, Y) }, N > 1")
    assert found is not None and found.text == "1 > 1 where 1 = count { edge(a: 1, b: Y) }"


def test_a_negation_names_what_forbids_it() -> None:
    model = helping.model_of(EDGE, edge=[(1, 2), (2, 7)])
    found = reason(model, "edge(1, X), not { edge(X, Y), Y > 5 }")
    assert found is not None and found.text == "not { edge(a: 2, b: Y), Y > 5 }"
    assert [near.fact.values for near in found.near] == [(2, 7)]


def test_what_holds_has_no_reason() -> None:
    assert reason(helping.model_of(EDGE, edge=[(1, 2)]), "edge(1, X), X = 2") is None


def test_near_facts_differ_in_the_fewest_columns_and_are_near() -> None:
    text = (
        'relation at(step: int, name: string, on: bool)\ninvariant i { forbid at(5, "a", true) message "." }'
    )
    facts = [(5, "b", False), (99, "a", True), (7, "a", True), (5, "zz", True), (2, "a", True)]
    model = helping.model_of(text, at=facts)
    found = why_not(model.program.invariants[0].each, model, {})
    assert found is not None
    assert [near.fact.values for near in found.near] == [(7, "a", True), (2, "a", True), (99, "a", True)]


def test_why_not_of_a_derived_fact() -> None:
    text = (
        EDGE
        + 'kind(X, "a") :- edge(X, Y), Y > 5.\nkind(X, "b") :- edge(X, Y), top(Y).\ntop(X) :- edge(9, X).'
    )
    model = helping.model_of(text, edge=[(1, 2), (9, 3)])
    predicate = model.program.predicates["kind"]
    atom = ir.Atom(
        predicate, (ir.Const(1, predicate.columns[0].type), ir.Const("b", predicate.columns[1].type))
    )
    ((rule, why),) = why_not_atom(atom, model, {}, model.program)
    assert rule.head.arguments[1] == ir.Const("b", predicate.columns[1].type)
    assert why.text == "top(2)"
    assert [inner.text for _, inner in why.rules] == ["edge(a: 9, b: 2)"]
    assert why.rules[0][1].near[0].fact.values == (9, 3)


# ------------------------------------------------------------------------------------------------ other stores


@helping.examples(15)
@given(strategies.cases())
def test_proofs_over_duckdb(case: strategies.Case) -> None:
    model = naive.evaluate(case.program, case.facts)
    with DuckDBStore.from_memory(case.facts, case.program, Settings(threads=1)) as store:
        for name, facts in model.derived.items():
            for fact in list(facts)[:2]:
                proof = prove(case.program, store, case.program.predicates[name], fact)
                assert proof is not None and check_proof(proof, case.program, store) == []
                assert check_proof(proof, case.program, model) == []
        for invariant in case.program.invariants:
            names = [variable.name for variable in invariant.variables]
            for instance in list(naive.instances(invariant, model))[:3]:
                binding = dict(zip(names, instance.values, strict=True))
                found = explain_violation(case.program, store, invariant, binding)
                assert (found is None) == instance.held
                assert found is None or check_violation(found, case.program, model) == []
