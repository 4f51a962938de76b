"""Plans: what bodies become, how they are printed, and what SQL they give."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from tcrules.engine import ir, sql
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.plan.build import compile_body, compile_rule, held, violated
from tcrules.engine.plan.plan import (
    AntiJoin,
    Difference,
    Join,
    Project,
    Scan,
    Union,
    Unit,
    Values,
    Version,
    columns,
    is_distinct,
)
from tcrules.engine.plan.print import print_plan
from tcrules.engine.values import INT, STRING

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

RELATIONS = "relation edge(a: int, b: int)\nrelation name(a: int, s: string)\n"
EDGE = ir.Predicate("edge", (ir.Column("a", INT), ir.Column("b", INT)), observed=True)
PATH = ir.Predicate("path", (ir.Column("a", INT), ir.Column("b", INT)), observed=False)
X, Y, Z = ir.Var("X", INT), ir.Var("Y", INT), ir.Var("Z", INT)


def body_of(each: str) -> ir.Body:
    return (
        helping.program_of(f'{RELATIONS}invariant i {{ each {each} expect false message "m" }}')
        .invariants[0]
        .each
    )


def rows(plan, *output: ir.Var, edge=((1, 2), (2, 3), (1, 2), (3, 3))) -> list[ir.Fact]:
    program = ir.Program({"edge": EDGE}, (), (), ())
    with DuckDBStore.from_memory(helping.facts_of(edge=edge), program, Settings(threads=1)) as store:
        store.evaluate([(ir.Atom(EDGE, (X, Y)),)])
        return store.select(plan, output or columns(plan))


# ------------------------------------------------------------------------------------------------ what is built

PRINTED = {
    "edge(X, 1), name(X, S)": """
        join
          scan edge(a: X, b: 1)
          scan name(a: X, s: S)
        """,
    'edge(X, Y), X + 1 < Y, Z = X * 2, name(Z, "a")': """
        join
          extend Z = (X * 2)
            select (X + 1) < Y
              scan edge(a: X, b: Y)
          scan name(a: Z, s: 'a')
        """,
    # One atom: the anti-join tests the rest itself.
    "edge(X, _), not { edge(X, Y), Y > X }": """
        anti-join, Y > X
          scan edge(a: X)
          scan edge(a: X, b: Y)
        """,
    # More: the block starts from the values of the variables that it shares.
    # An atom that only asks for the existence of a fact does not repeat bindings, wherever it stands.
    "name(Y, _), edge(X, Y), edge(Y, Z), X < Z": """
        select X < Z
          semi-join
            join
              scan edge(a: X, b: Y)
              scan edge(a: Y, b: Z)
            scan name(a: Y)
        """,
    "edge(X, _), not { edge(X, Y), name(Y, _) }": """
        anti-join
          #1 scan edge(a: X)
          project (X) distinct
            semi-join
              join
                project (X) distinct
                  see #1
                scan edge(a: X, b: Y)
              scan name(a: Y)
        """,
}


@pytest.mark.parametrize("each", list(PRINTED))
def test_printed_plans(each: str) -> None:
    lines = PRINTED[each].strip("\n").splitlines()
    assert print_plan(compile_body(body_of(each))) == "".join(
        f"{line[8:]}\n" for line in lines if line.strip()
    )


def test_aggregates_start_from_the_outer_bindings() -> None:
    text = print_plan(compile_body(body_of("edge(X, _), N = count { edge(X, Y) }, N > 1")))
    assert "= count over (Y) by (X)" in text
    assert text.count("scan edge") == 2


def test_delta_versions_are_marked() -> None:
    rule = ir.Rule(ir.Atom(PATH, (X, Z)), (ir.Atom(PATH, (X, Y)), ir.Atom(PATH, (Y, Z))))
    text = print_plan(compile_rule(rule, {0: Version.DELTA, 1: Version.OLD}))
    assert text.splitlines()[2:] == ["    scan path(a: X, b: Y) [delta]", "    scan path(a: Y, b: Z) [old]"]


def test_what_nobody_shares_is_one_select_and_what_is_shared_is_written_once() -> None:
    flat = sql.query(compile_body(body_of("edge(X, Y), edge(Y, Z), X < Z"))).sql(dialect="duckdb")
    assert flat.count("SELECT") == 1
    nested = sql.query(compile_body(body_of("edge(X, Y), name(Y, _), not { edge(X, Z), name(Z, _) }")))
    text = nested.sql(dialect="duckdb")
    assert (text.count("MATERIALIZED"), text.count('"edge"')) == (1, 2)


# ------------------------------------------------------------------------------------------------ each node

ALL = Scan(EDGE, (X, Y))


def test_scan_filters_by_constants_and_repetition() -> None:
    assert rows(Scan(EDGE, (ir.Const(1, INT), Y))) == [(2,)]
    assert rows(Scan(EDGE, (X, X))) == [(3,)]
    assert rows(Scan(EDGE, (X, ir.Any_()))) == [(1,), (2,), (3,)]


def test_unit_and_values() -> None:
    assert rows(Unit()) == [()]
    given = Values((X, ir.Var("S", STRING)), ((2, "b'"), (1, "a"), (2, "b'")))
    assert rows(given) == [(1, "a"), (2, "b'")]
    assert rows(Values((X,), ())) == []
    assert rows(Join(Values((X,), ((2,), (7,))), ALL)) == [(2, 3)]


def test_set_operations() -> None:
    first, second = Project(ALL, (X,)), Project(Scan(EDGE, (ir.Any_(), X)), (X,))
    assert rows(Union((first, second))) == [(1,), (2,), (3,)]
    assert rows(Union((first,))) == [(1,), (2,), (3,)]
    assert rows(Difference(second, first)) == []
    assert rows(Difference(first, second)) == [(1,)]


def test_anti_join_with_tests_and_without_shared_variables() -> None:
    assert rows(AntiJoin(ALL, Scan(EDGE, (Z, ir.Any_())), (ir.Compare(">", Z, Y),))) == [(2, 3), (3, 3)]
    assert rows(AntiJoin(ALL, Scan(EDGE, (ir.Const(9, INT), ir.Any_())))) == [(1, 2), (2, 3), (3, 3)]
    assert rows(AntiJoin(Unit(), Scan(EDGE, (ir.Any_(), ir.Any_())))) == []
    assert rows(AntiJoin(Unit(), Scan(EDGE, (ir.Any_(), ir.Any_()))), edge=()) == [()]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("count", [(1, 1), (2, 1), (3, 1), (9, 0)]),
        ("sum", [(1, 2), (2, 3), (3, 3), (9, 0)]),
        ("max", [(1, 2), (2, 3), (3, 3)]),
    ],
)
def test_grouping(kind: str, expected: list[ir.Fact]) -> None:
    result = ir.Var("R", INT)
    group = ir.Group(result, kind, None if kind == "count" else Y, (Y,), (ir.Atom(EDGE, (X, Y)),), (X,))
    keys = Values((X,), ((1,), (2,), (3,), (9,)))
    assert rows(compile_body((group,), keys)) == expected
    # What follows an outer join reads its result.
    more = (group, ir.Atom(EDGE, (ir.Any_(), result)), ir.Compare("!=", result, ir.Const(2, INT)))
    assert rows(compile_body(more, keys)) == [row for row in expected if row[1] == 3]


def test_a_body_may_start_with_an_aggregate_or_a_negation() -> None:
    result = ir.Var("R", INT)
    group = ir.Group(result, "count", None, (X, Y), (ir.Atom(EDGE, (X, Y)),), ())
    assert rows(compile_body((group,))) == [(3,)]
    assert rows(compile_body((group,)), edge=()) == [(0,)]
    missing = ir.Not((ir.Atom(EDGE, (X, Y)), ir.Atom(EDGE, (Y, X)), ir.Compare("<", X, Y)), ())
    assert rows(compile_body((missing, ir.Atom(EDGE, (X, X))))) == [(3,)]


def test_alternatives() -> None:
    alternatives = ((ir.Atom(EDGE, (Y, Z)), ir.Compare("<", Y, Z)), (ir.Compare("=", X, Y),))
    assert rows(held(alternatives, ALL)) == [(1, 2), (3, 3)]
    assert rows(violated(alternatives, ALL)) == [(2, 3)]
    assert rows(violated((), ALL)) == [(1, 2), (2, 3), (3, 3)]
    assert rows(violated(((),), ALL)) == []


def test_distinctness_is_known_where_it_is_sure() -> None:
    assert is_distinct(Scan(PATH, (X, Y)), (X, Y))
    assert not is_distinct(Scan(PATH, (X, ir.Any_())), (X,))
    assert not is_distinct(ALL, (X, Y))
    assert is_distinct(Project(ALL, (X,)), (X,))
    assert not is_distinct(Project(ALL, (X,), distinct=False), (X,))
    assert not is_distinct(Join(Scan(PATH, (X, Y)), ALL), (X, Y))
