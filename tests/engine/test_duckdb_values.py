"""Scalar operations and aggregates have one meaning: SQL gives what `values.py` gives, at the edges too."""

from __future__ import annotations

import importlib.util
import math
import sys
from itertools import product
from pathlib import Path

import pytest
from tcrules.engine import sql_values, values
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.ir import Atom, Bind, Column, Compare, Const, Group, Op, Predicate, Program, Value, Var
from tcrules.engine.values import BASES, LARGEST, SMALLEST

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

EDGES: dict[str, list[Value]] = {
    "int": [SMALLEST, SMALLEST + 1, -7, -2, -1, 0, 1, 2, 3, 7, 2**53 + 1, LARGEST - 1, LARGEST],
    "float": [
        *(-math.inf, -1e308, -2.5, -1.0, -0.5, -0.0, 0.0, 5e-324, 0.1, 0.5, 1.0, 2.5, 1e16, 9.3e18, 1e308),
        *(math.inf, math.nan),
    ],
    "bool": [False, True],
    "string": [
        "",
        "a",
        "A",
        "ab",
        "a.b",
        "a%b",
        "a_b",
        "a!b",
        "a\\b",
        "*",
        "?",
        "[a]",
        "É",
        "é",
        "𝄞",
        "a\nb",
        "a\0",
    ],
}
NUMBERS = [
    "+5",
    "-0",
    "007",
    "1e3",
    ".5",
    "5.",
    "1e400",
    "nan",
    "inf",
    " 1",
    "1 ",
    "9223372036854775808",
    "0x1",
    "1_0",
]
SPLITS = ["", ".", "a"]
ARITHMETIC = [(op, base) for op in ("+", "-", "*") for base in ("int", "float")]
ARITHMETIC += [("/", "float"), ("//", "int"), ("%", "int")]


def ask(operation: str, columns: list[str], rows: list[tuple[Value, ...]], result: str) -> dict:
    """The values of an operation on rows of arguments, as DuckDB gives them."""
    kinds = [BASES[base] for base in columns]
    predicate = Predicate(
        "given", tuple(Column(f"c{n}", kind) for n, kind in enumerate(kinds)), observed=True
    )
    arguments = tuple(Var(f"C{n}", kind) for n, kind in enumerate(kinds))
    value = Var("R", BASES[result])
    body = (Atom(predicate, arguments), Bind(value, Op(operation, arguments, value.type)))
    program = Program({"given": predicate}, (), (), ())
    with DuckDBStore.from_memory(helping.facts_of(given=rows), program, Settings(threads=1)) as store:
        _, found = store.query(body)
    return {repr(row[:-1]): repr(row[-1]) for row in found}


def expected(operation: str, columns: list[str], rows: list[tuple[Value, ...]]) -> dict:
    normal = [tuple(map(values.normalise, row, columns)) for row in rows]
    found = {repr(row): values.apply(operation, row) for row in normal}
    return {row: repr(values.normalise(value)) for row, value in found.items() if value is not None}


def agree(operation: str, columns: list[str], rows: list[tuple[Value, ...]], result: str) -> None:
    assert ask(operation, columns, rows, result) == expected(operation, columns, rows)


@pytest.mark.parametrize(("operation", "base"), ARITHMETIC)
def test_arithmetic(operation: str, base: str) -> None:
    agree(operation, [base, base], list(product(EDGES[base], repeat=2)), base)


@pytest.mark.parametrize("base", ["int", "float"])
@pytest.mark.parametrize("operation", ["neg", "abs", "floor", "ceil", "min_of", "max_of"])
def test_numbers(operation: str, base: str) -> None:
    count = 2 if operation.endswith("_of") else 1
    result = "int" if operation in ("floor", "ceil") else base
    agree(operation, [base] * count, list(product(EDGES[base], repeat=count)), result)


@pytest.mark.parametrize("operation", ["sqrt", "is_nan", "is_inf", "is_finite"])
def test_floats(operation: str) -> None:
    agree(operation, ["float"], [(x,) for x in EDGES["float"]], values.FUNCTIONS[operation].result)


@pytest.mark.parametrize("operation", ["log", "exp"])
def test_transcendental_functions_are_defined_alike(operation: str) -> None:
    rows = [(x,) for x in EDGES["float"]]
    found, wanted = ask(operation, ["float"], rows, "float"), expected(operation, ["float"], rows)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert float(found[key]) == pytest.approx(float(value), rel=1e-15, nan_ok=True)


def test_approx() -> None:
    numbers = [-math.inf, -1.0, 0.0, 1.0, 1.5, math.inf, math.nan]
    agree("approx", ["float"] * 4, list(product(numbers, numbers, [0.0, 0.5], [0.0, 0.25, math.nan])), "bool")


@pytest.mark.parametrize(
    "operation", ["glob", "starts_with", "ends_with", "contains", "concat", "length", "lower", "to_string"]
)
def test_texts(operation: str) -> None:
    count = len(values.FUNCTIONS[operation].parameters)
    rows = list(product(EDGES["string"], repeat=count))
    agree(operation, ["string"] * count, rows, values.FUNCTIONS[operation].result)


def test_replace_and_split() -> None:
    agree("replace", ["string"] * 3, list(product(EDGES["string"], SPLITS, ["", "x"])), "string")
    texts = [*EDGES["string"], "a.b.c", "..", "."]
    indexes = [SMALLEST, -4, -3, -2, -1, 0, 1, 2, 3, LARGEST]
    agree("split_part", ["string", "string", "int"], list(product(texts, SPLITS, indexes)), "string")


def test_parts_and_places() -> None:
    texts = [*EDGES["string"], "a.b.c", "..", "."]
    places = [SMALLEST, -4, -3, -1, 0, 1, 2, 4, LARGEST]
    agree("count_parts", ["string", "string"], list(product(texts, SPLITS)), "int")
    agree("index_of", ["string", "string"], list(product(texts, [*SPLITS, ".c", "é"])), "int")
    agree("slice", ["string", "int", "int"], list(product(texts, places, places)), "string")


def test_every_function_has_sql() -> None:
    assert values.FUNCTIONS.keys() <= {*sql_values._FUNCTIONS, *sql_values._ARITHMETIC}


CONVERSIONS = [
    (name, base)
    for name in ("to_string", "to_float", "to_int")
    for base in values.FUNCTIONS[name].parameters[0].split("|")
]


@pytest.mark.parametrize(("operation", "base"), CONVERSIONS)
def test_conversions(operation: str, base: str) -> None:
    rows = [(x,) for x in (*EDGES[base], *(NUMBERS if base == "string" else ()))]
    agree(operation, [base], rows, values.FUNCTIONS[operation].result)


@pytest.mark.parametrize(
    "pattern", ["a.*", r"a\.b", r"[a-zÉ]*", r"\w+", r"\W", r"a\s?b", "(a|b)+", "[^a]{1,2}"]
)
def test_matches(pattern: str) -> None:
    texts = EDGES["string"]
    predicate = Predicate("given", (Column("c", BASES["string"]),), observed=True)
    text = Var("T", BASES["string"])
    test = Op("matches", (Const(pattern, BASES["string"]), text), BASES["bool"])
    body = (Atom(predicate, (text,)), Compare("=", test, Const(True, BASES["bool"])))
    facts, program = helping.facts_of(given=[(t,) for t in texts]), Program({"given": predicate}, (), (), ())
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        found = {row[0] for row in store.query(body)[1]}
    assert found == {t for t in texts if values.apply("matches", [pattern, t])}


@pytest.mark.parametrize("base", list(EDGES))
@pytest.mark.parametrize("op", ["=", "!=", "<", "<=", ">", ">="])
def test_comparisons(op: str, base: str) -> None:
    rows = list(product(EDGES[base], repeat=2))
    predicate = Predicate("given", (Column("a", BASES[base]), Column("b", BASES[base])), observed=True)
    left, right = Var("A", BASES[base]), Var("B", BASES[base])
    body = (Atom(predicate, (left, right)), Compare(op, left, right))
    program = Program({"given": predicate}, (), (), ())
    with DuckDBStore.from_memory(helping.facts_of(given=rows), program, Settings(threads=1)) as store:
        found = {repr(row) for row in store.query(body)[1]}
    normal = [tuple(map(values.normalise, row, [base, base])) for row in rows]
    assert found == {repr(row) for row in normal if values.compare(op, *row)}


@pytest.mark.parametrize("base", ["int", "float"])
@pytest.mark.parametrize("kind", ["count", "sum", "min", "max", "mean"])
def test_aggregates(kind: str, base: str) -> None:
    groups: dict[int, list[Value]] = {
        0: [1, 2, 3],
        1: [LARGEST, LARGEST],
        2: [LARGEST, 1, SMALLEST],
        3: [LARGEST, 1],
        4: [-7],
    }
    if base == "float":
        groups = {
            0: [1e16, 1.0, -1e16],
            1: [math.nan, 1.0],
            2: [math.inf, -math.inf, 1.0],
            3: [0.1] * 3,
            4: [math.inf, 2.0],
        }
    rows = [(group, n, value) for group, listed in groups.items() for n, value in enumerate(listed)]
    int_, kind_ = BASES["int"], BASES[base]
    given = Predicate("given", (Column("g", int_), Column("n", int_), Column("v", kind_)), observed=True)
    key = Predicate("key", (Column("g", int_),), observed=True)
    group, number, value = Var("G", int_), Var("N", int_), Var("V", kind_)
    result = Var("R", int_ if kind == "count" else BASES["float"] if kind == "mean" else kind_)
    inner = (Atom(given, (group, number, value)),)
    body = (
        Atom(key, (group,)),
        Group(result, kind, None if kind == "count" else value, (number, value), inner, (group,)),
    )
    facts = helping.facts_of(given=rows, key=[(n,) for n in range(6)])
    program = Program({"given": given, "key": key}, (), (), ())
    wanted = {n: values.aggregate(kind, list(groups.get(n, [])), base) for n in range(6)}
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        found = {row[0]: repr(row[1]) for row in store.query(body)[1]}
    assert found == {n: repr(total) for n, total in wanted.items() if total is not None}
