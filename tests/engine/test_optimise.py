"""Rewrites change nothing but the time: with each of them, and with all, the results are those of the definition."""

from __future__ import annotations

import importlib.util
import sys
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.check import check, naive_check
from tcrules.engine.ir import Any_, Atom, Const, Program, Var
from tcrules.engine.naive import solve
from tcrules.engine.optimise import PASSES, optimised
from tcrules.engine.optimise.share import share
from tcrules.engine.vector import VectorStore

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

CHAIN = """
relation edge(from: int, to: int)
relation path(from: int, to: int)
path(X, Y) :- edge(X, Y).
path(X, Z) :- path(X, Y), edge(Y, Z).
"""


def compare(case) -> None:
    model = naive.evaluate(case.program, case.facts)
    coverage = case.facts.coverage
    expected = naive_check(case.program, lambda invariant: naive.instances(invariant, model), coverage)
    for number in range(len(PASSES) + 1):
        for passes in combinations(PASSES, number):
            program = optimised(case.program, frozenset(passes))
            store = VectorStore.from_memory(case.facts, program)
            for sharing in (True, False):
                assert check(program, store, coverage, sharing=sharing) == expected, (passes, case.text)
            for predicate in case.program.predicates.values():
                if not predicate.observed:
                    found = set(store.rounds(predicate))
                    assert found == set(model.derived[predicate.name]), (passes, case.text)


def compare_goals(case, draw) -> None:
    """Each derived relation is asked with some columns bound, alone and joined with another atom."""
    model = naive.evaluate(case.program, case.facts)
    for predicate in case.program.predicates.values():
        if predicate.observed:
            continue
        facts = sorted(model.derived[predicate.name], key=repr)
        terms = []
        for place, column in enumerate(predicate.columns):
            kind = draw.draw(st.sampled_from(["variable", "constant", "any"]))
            values = [fact[place] for fact in facts] or strategies.DOMAINS[column.type.base]
            if kind == "constant":
                terms.append(Const(draw.draw(st.sampled_from(values)), column.type))
            else:
                terms.append(Var(f"V{place}", column.type) if kind == "variable" else Any_())
        goal = (Atom(predicate, tuple(terms)),)
        store = VectorStore.from_memory(case.facts, case.program)
        names, found = store.ask(goal)
        wanted = {tuple(solution.binding[name] for name in names) for solution in solve(goal, model)}
        assert set(found) == wanted, (case.text, goal)
        assert store.ask(goal) == (names, found)


@helping.examples(40)
@given(strategies.cases())
def test_each_rewrite_keeps_all_results(case) -> None:
    compare(case)


@helping.examples(40)
@given(strategies.cases(), st.data())
def test_goals_have_the_same_answers_when_only_they_are_derived(case, draw) -> None:
    compare_goals(case, draw)


def as_written(body, _statistics, _first=None, bound=()) -> list[int]:
    """An order of literals that changes nothing."""
    return list(range(len(body)))


@helping.examples(30)
@given(strategies.cases())
def test_the_order_of_joins_changes_nothing(case) -> None:
    model = naive.evaluate(case.program, case.facts)
    coverage = case.facts.coverage
    expected = naive_check(case.program, lambda invariant: naive.instances(invariant, model), coverage)
    with (
        patch("tcrules.engine.vector.derive.order", as_written),
        patch("tcrules.engine.vector.store.order", as_written),
    ):
        store = VectorStore.from_memory(case.facts, case.program)
        assert check(case.program, store, coverage) == expected, case.text
        for predicate in case.program.predicates.values():
            if not predicate.observed:
                assert store.rounds(predicate) == model.derived[predicate.name], case.text


def program_of(text: str) -> Program:
    program = analyse(load_text(text).programs).program
    assert program is not None
    return program


def test_a_goal_derives_little() -> None:
    program = program_of(CHAIN)
    store = VectorStore(program)
    store.give(program.predicates["edge"], [(n, n + 1) for n in range(100)])
    path = program.predicates["path"]
    names, found = store.ask((Atom(path, (Const(95, path.columns[0].type), Var("X", path.columns[1].type))),))
    assert names == ("X",) and found == [(96,), (97,), (98,), (99,), (100,)]
    assert "path" not in store.relations


def test_equations_are_solved() -> None:
    program = optimised(program_of(CHAIN + "two(X) :- edge(X, Y), edge(A, B), Y = A, X = 1, B = B."))
    (rule,) = next(s for s in program.strata if s.predicates[0].name == "two").rules
    assert [type(literal) for literal in rule.body] == [Atom, Atom]
    assert isinstance(rule.head.arguments[0], Const)


def test_a_contradiction_leaves_no_rule() -> None:
    program = optimised(program_of(CHAIN + "never(X) :- edge(X, _), 1 > 2."))
    assert not next(s for s in program.strata if s.predicates[0].name == "never").rules


def test_a_plain_definition_is_inlined() -> None:
    program = optimised(
        program_of(CHAIN + "back(X, Y) :- edge(Y, X).\nend(X) :- back(X, _), not back(_, X).")
    )
    (rule,) = next(s for s in program.strata if s.predicates[0].name == "end").rules
    (atom, negation) = rule.body
    assert atom.predicate.name == "edge" and negation.body[0].predicate.name == "edge"
    assert isinstance(atom.arguments[0], Any_)


def test_common_beginnings_are_found_up_to_names() -> None:
    text = (
        CHAIN
        + """
invariant one { each edge(A, B), path(B, C), A < C expect edge(C, A) message "m" }
invariant two { each edge(X, Y), path(Y, Z), X < Z, edge(Z, _) expect edge(Z, X) message "m" }
invariant three { each edge(X, Y), path(X, Y) expect edge(Y, X) message "m" }
"""
    )
    found = share([invariant.each for invariant in program_of(text).invariants])
    (relation,) = found.relations
    assert len(relation.body) == 3 and len(relation.atom.arguments) == 3
    assert [len(body) for body in found.bodies] == [1, 2, 2]
