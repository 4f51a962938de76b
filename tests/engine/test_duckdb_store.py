"""The store: facts in and out, derived relations, and what goes wrong."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tcrules.engine import naive
from tcrules.engine.duckdb_store import DuckDBStore, Settings, StoreFault
from tcrules.engine.facts import Stored
from tcrules.engine.ir import Atom, Var

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

ONE = Settings(threads=1)
RELATION = "relation seen(text: string, name: int, value: float, ok: bool)\n"
EDGE = "relation edge(a: int, b: int)\n"
LINEAR = EDGE + "path(X, Y) :- edge(X, Y).\npath(X, Z) :- path(X, Y), edge(Y, Z).\n"
NON_LINEAR = EDGE + "path(X, Y) :- edge(X, Y).\npath(X, Z) :- path(X, Y), path(Y, Z).\n"
MUTUAL = EDGE + (
    "odd(X, Y) :- edge(X, Y).\nodd(X, Z) :- even(X, Y), edge(Y, Z).\neven(X, Z) :- odd(X, Y), edge(Y, Z).\n"
)
CHAIN = [(n, n + 1) for n in range(20)]


def write(folder: Path, name: str, select: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def atom_of(program, name: str) -> Atom:
    predicate = program.predicates[name]
    return Atom(predicate, tuple(Var(column.name.upper() + "_", column.type) for column in predicate.columns))


# ------------------------------------------------------------------------------------------------ facts in


def test_facts_from_memory_come_back_normalised() -> None:
    program = helping.program_of(RELATION)
    rows = [("a", 2**63 - 1, math.nan, True), ("A\0", -(2**63), -0.0, False), ("'\"$", 0, math.inf, True)]
    with DuckDBStore.from_memory(helping.facts_of(seen=rows), program, ONE) as store:
        found = list(store.lookup(program.predicates["seen"], {}))
    assert [fact.id for fact in found] == [1, 2, 3]
    assert repr([fact.values for fact in found]) == repr(rows).replace("-0.0", "0.0")


def test_lookup_by_columns() -> None:
    program = helping.program_of(RELATION)
    rows = [("a", 1, math.nan, True), ("b", 1, 0.0, False), ("a", 2, math.nan, False)]
    with DuckDBStore.from_memory(helping.facts_of(seen=rows), program, ONE) as store:
        seen = program.predicates["seen"]
        for bound, ids in (
            ({0: "a"}, [1, 3]),
            ({2: math.nan, 3: False}, [3]),
            ({2: -0.0}, [2]),
            ({1: 9}, []),
        ):
            assert [fact.id for fact in store.lookup(seen, bound)] == ids


@pytest.mark.parametrize("folder", ["facts", "lr=[0.1] *?"])
def test_facts_from_parquet(tmp_path: Path, folder: str) -> None:
    program = helping.program_of(RELATION + EDGE)
    columns = "'x' AS text, 1::BIGINT AS name, -0.0::DOUBLE AS value, true AS ok"
    write(tmp_path / folder, "seen", f"SELECT 7::BIGINT AS fact, {columns}")
    with DuckDBStore.open(tmp_path / folder, program, ONE) as store:
        assert list(store.lookup(program.predicates["seen"], {})) == [Stored(7, ("x", 1, 0.0, True))]
        assert list(store.lookup(program.predicates["edge"], {})) == []


def test_a_folder_with_a_quote_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's"
    write(tmp_path / "plain", "edge", "SELECT 1::BIGINT AS fact, 2::BIGINT AS a, 3::BIGINT AS b")
    (tmp_path / "plain").rename(folder)
    program = helping.program_of(EDGE)
    with DuckDBStore.open(folder, program, ONE) as store:
        assert list(store.lookup(program.predicates["edge"], {})) == [Stored(1, (2, 3))]


def test_wrong_columns_are_told(tmp_path: Path) -> None:
    program = helping.program_of(EDGE)
    path = write(tmp_path, "edge", "SELECT 1::BIGINT AS fact, 2::INTEGER AS a")
    with DuckDBStore.open(tmp_path, program, ONE) as store, pytest.raises(StoreFault) as fault:
        store.query((atom_of(program, "edge"),))
    assert str(path) in str(fault.value)
    assert "a is INTEGER, not BIGINT" in str(fault.value)
    assert "b is missing" in str(fault.value)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    program = helping.program_of(EDGE)
    (tmp_path / "edge.parquet").write_bytes(b"PAR1 not really")
    with DuckDBStore.open(tmp_path, program, ONE) as store, pytest.raises(StoreFault, match=r"edge\.parquet"):
        store.query((atom_of(program, "edge"),))


def test_names_that_differ_in_case_only() -> None:
    program = helping.program_of(EDGE + "p(Ab, AB) :- edge(Ab, AB).\n")
    with DuckDBStore.from_memory(helping.facts_of(edge=[(1, 2)]), program, ONE) as store:
        names, rows = store.query(program.strata[0].rules[0].body)
    assert (names, rows) == (("Ab", "AB"), [(1, 2)])


# ------------------------------------------------------------------------------------------------ derived facts


@pytest.mark.parametrize("text", [LINEAR, NON_LINEAR])
def test_closure_of_a_chain(text: str) -> None:
    program = helping.program_of(text)
    with DuckDBStore.from_memory(helping.facts_of(edge=CHAIN), program, ONE) as store:
        assert len(store.query((atom_of(program, "path"),))[1]) == 210


@pytest.mark.parametrize("text", [LINEAR, NON_LINEAR, MUTUAL])
def test_rounds_are_those_of_the_naive_evaluator(text: str) -> None:
    program, facts = helping.program_of(text), helping.facts_of(edge=[*CHAIN, (20, 0), (3, 3)])
    model = naive.evaluate(program, facts)
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        for predicate in program.predicates.values():
            if not predicate.observed:
                assert store.rounds(predicate) == model.derived[predicate.name]
                for fact in [(0, 1), (3, 3), (99, 99)]:
                    assert store.round_of(predicate, fact) == model.round_of(predicate, fact)
        assert store.round_of(program.predicates["edge"], (0, 1)) is None


def test_only_what_is_needed_is_derived() -> None:
    program = helping.program_of(LINEAR + "other(X) :- edge(X, _).\n")
    with DuckDBStore.from_memory(helping.facts_of(edge=CHAIN), program, ONE) as store:
        store.query((atom_of(program, "other"),))
        names = {
            row[0] for row in store.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        }
    assert names == {"edge", "other"}


def test_rules_that_never_end_are_stopped() -> None:
    program = helping.program_of(EDGE + "up(X) :- edge(X, _).\nup(Y) :- up(X), Y = X + 1.\n")
    settings = Settings(threads=1, max_rounds=30)
    with (
        DuckDBStore.from_memory(helping.facts_of(edge=[(0, 0)]), program, settings) as store,
        pytest.raises(StoreFault, match="up: still new facts after 30 rounds"),
    ):
        store.query((atom_of(program, "up"),))


def test_a_relation_without_columns() -> None:
    program = helping.program_of(
        EDGE + "relation any()\nany() :- edge(_, _).\nlone(X) :- edge(X, _), any().\n"
    )
    for edges, expected in (([(1, 2)], [(1,)]), ([], [])):
        with DuckDBStore.from_memory(helping.facts_of(edge=edges), program, ONE) as store:
            assert store.query((atom_of(program, "lone"),))[1] == expected


# ------------------------------------------------------------------------------------------------ queries


def test_query_has_names_order_and_limit() -> None:
    program = helping.program_of(EDGE)
    with DuckDBStore.from_memory(
        helping.facts_of(edge=[(3, 1), (1, 2), (3, 1), (2, 2)]), program, ONE
    ) as store:
        body = (atom_of(program, "edge"),)
        assert store.query(body) == (("A_", "B_"), [(1, 2), (2, 2), (3, 1)])
        assert store.query(body, limit=2)[1] == [(1, 2), (2, 2)]


def test_a_query_without_variables_says_whether() -> None:
    program = helping.program_of(EDGE + 'invariant i { each edge(1, 2) expect false message "x" }')
    body = program.invariants[0].each
    for edges, expected in (([(1, 2), (1, 2)], [()]), ([(2, 1)], [])):
        with DuckDBStore.from_memory(helping.facts_of(edge=edges), program, ONE) as store:
            assert store.query(body) == ((), expected)


def test_a_limit_of_memory_is_passed_on() -> None:
    program = helping.program_of(EDGE)
    with DuckDBStore.from_memory(helping.facts_of(), program, Settings(threads=1, memory="256MB")) as store:
        row = store.connection.execute("SELECT current_setting('memory_limit')").fetchone()
    assert row[0].startswith("24")


def test_importing_the_room_is_cheap() -> None:
    code = "import sys, tcrules.engine; sys.exit(bool({'duckdb', 'sqlglot', 'torch', 'lark'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
