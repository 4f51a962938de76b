"""Rules of one shape are evaluated as one; nothing else changes."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.check import check, naive_check
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.families import families, singles
from tcrules.engine.ir import Any_, Atom, Const, Invariant, Op, Program, Var

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

ONE = Settings(threads=1)
RELATIONS = "relation event(id: int, name: string, size: float)\nrelation inside(a: int, b: int)\n"


def rules(*bodies: tuple[str, str]) -> str:
    written = [
        f'invariant r-{number} {{ each {each} expect {expect} message "x" }}'
        for number, (each, expect) in enumerate(bodies)
    ]
    return RELATIONS + "\n".join(written)


def shapes(*bodies: tuple[str, str]) -> list[int]:
    return [len(family.members) for family in families(helping.program_of(rules(*bodies)).invariants)]


def test_names_of_variables_and_constants_do_not_matter() -> None:
    assert shapes(
        ('event(A, "a", V), V > 0.5', 'inside(A, B), event(B, "b", _)'),
        ('event(X, "z", Y), Y > 2.5', 'inside(X, Z), event(Z, "z", _)'),
    ) == [2]


def test_shapes_that_differ_stay_apart() -> None:
    plain = ('event(A, "a", V), V > 0.5', "inside(A, B)")
    assert shapes(
        plain,
        ('event(A, "a", V), V >= 0.5', "inside(A, B)"),
        ('event(A, "a", V), V > 0.5', "inside(B, A)"),
        ('event(A, "a", V), V > 0.5', "not inside(A, _)"),
        ('event(A, "a", V), 0.5 > V', "inside(A, B)"),
        ('event(A, N, V), N = "a", V > 0.5', "inside(A, B)"),
        plain,
    ) == [2, 1, 1, 1, 1, 1]


def test_only_constants_that_vary_become_facts() -> None:
    program = helping.program_of(
        rules(*((f'event(A, "{name}", 0.5)', f"inside(A, {number})") for number, name in enumerate("abc")))
    )
    (family,) = families(program.invariants)
    assert family.facts == ((0, "a", 0), (1, "b", 1), (2, "c", 2))
    event = family.invariant.each[1]
    assert isinstance(event, Atom)
    assert isinstance(event.arguments[2], Const)


def test_a_rule_alone_stays_as_it_is() -> None:
    program = helping.program_of(rules(('event(A, "a", _)', "inside(A, _)")))
    (family,) = families(program.invariants)
    assert (family.invariant, family.constants) == (program.invariants[0], None)


def test_equal_rules_each_get_their_verdict() -> None:
    program = helping.program_of(rules(*[('event(A, "a", _)', "inside(A, _)")] * 3))
    facts = helping.facts_of(event=[(1, "a", 0.0), (2, "a", 0.0)], inside=[(1, 1)])
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        result = check(program, store, facts.coverage)
    assert [(v.rule, v.violated, v.held) for v in result.verdicts] == [(f"r-{n}", 1, 1) for n in range(3)]
    assert all(result.violations[f"r-{n}"] == ((2,),) for n in range(3))


def test_patterns_of_matches_stay_constants() -> None:
    names = ['matches("a.*", N)', 'matches("b.*", N)', 'glob("a*", N)', 'glob("b?", N)']
    program = helping.program_of(rules(*((f"event(A, N, _), {test}", "inside(A, _)") for test in names)))
    assert [len(family.members) for family in families(program.invariants)] == [1, 1, 2]
    facts = helping.facts_of(
        event=[(1, "a", 0.0), (2, "ab", 0.0), (3, "bb", 0.0), (4, "bbb", 0.0)], inside=[]
    )
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        result = check(program, store, facts.coverage)
        assert result == check(program, store, facts.coverage, grouping=singles)
    assert [verdict.violated for verdict in result.verdicts] == [2, 2, 2, 1]


def test_slots_are_shared_with_nested_bodies() -> None:
    nested = (
        'event(A, "{0}", V), N = count {{ inside(A, B), event(B, "{1}", W), W < {2} }}, '
        'not {{ inside(B, A), not event(B, "{1}", {2}) }}'
    )
    values = [("a", "b", 1.0), ("a", "a", 2.0), ("b", "a", math.pi)]
    program = helping.program_of(
        rules(*((nested.format(*v), f'N >= 1, event(A, "{v[1]}", _)') for v in values))
    )
    names = [(n, "ab"[n % 2], float(n)) for n in range(6)]
    inside = [(a, b) for a in range(6) for b in range(6) if (a * b + a) % 3 == 1]
    facts = helping.facts_of(event=names, inside=inside)
    assert [len(family.members) for family in families(program.invariants)] == [3]
    model = naive.evaluate(program, facts)
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        result = check(program, store, facts.coverage)
    assert result == naive_check(program, lambda rule: naive.instances(rule, model), facts.coverage)


# ------------------------------------------------------------------------------------------------ property


def variant(draw, invariant: Invariant, number: int) -> Invariant:
    """The rule with other constants and other names of its variables."""

    def other(term):
        if isinstance(term, Var):
            return replace(term, name=f"{term.name}v{number}")
        if isinstance(term, Const):
            return replace(term, value=draw(st.sampled_from(strategies.DOMAINS[term.type.base])))
        if isinstance(term, Op):
            fixed = term.name == "matches"
            arguments = [a if fixed and n == 0 else other(a) for n, a in enumerate(term.arguments)]
            return replace(term, arguments=tuple(arguments))
        if isinstance(term, Any_) or term is None:
            return term
        if isinstance(term, tuple):
            return tuple(map(other, term))
        names = ("arguments", "left", "right", "variable", "value", "key", "body", "shared", "result", "over")
        names += ("alternatives", "binds")
        return replace(term, **{name: other(getattr(term, name)) for name in names if hasattr(term, name)})

    changed = {name: other(getattr(invariant, name)) for name in ("each", "variables", "expect", "about")}
    return replace(invariant, id=f"{invariant.id}-{number}", **changed)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.cases(strata=1), st.data())
def test_families_change_nothing(case, data) -> None:
    chosen: list[Invariant] = []
    for invariant in case.program.invariants:
        chosen += [variant(data.draw, invariant, number) for number in range(data.draw(st.integers(1, 4)))]
    found = families(chosen)
    assert len(found) <= len(case.program.invariants)
    program = Program(case.program.predicates, case.program.strata, tuple(chosen), ())
    model = naive.evaluate(program, case.facts)
    expected = naive_check(program, lambda rule: naive.instances(rule, model), case.facts.coverage)
    with DuckDBStore.from_memory(case.facts, program, ONE) as store:
        assert check(program, store, case.facts.coverage) == expected, case.text
        assert check(program, store, case.facts.coverage, grouping=singles) == expected, case.text


def test_members_of_one_family_may_be_written_differently() -> None:
    """Names of variables do not matter, and members keep the order of the file."""
    shapes = (
        'invariant a{0} {{ each edge(X, {0}) expect edge({0}, X) message "{{X}}" }}\n',
        'invariant b{0} {{ each edge(Other, {0}) expect edge({0}, Other) message "{{Other}}" }}\n',
    )
    text = "relation edge(a: int, b: int)\n" + "".join(
        shapes[number % 2].format(number) for number in range(9)
    )
    (family,) = families(helping.program_of(text).invariants)
    assert [member.id for member in family.members] == [f"{'ab'[n % 2]}{n}" for n in range(9)]
    assert family.facts == tuple((n, n, n) for n in range(9))
