"""What values mean: the table that every executor has to agree with."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tcrules.engine.ir import Value
from tcrules.engine.patterns import PatternError, glob, regex
from tcrules.engine.values import (
    FUNCTIONS,
    LARGEST,
    SMALLEST,
    aggregate,
    apply,
    compare,
    equal,
    normalise,
    order_key,
)

NAN, INF = math.nan, math.inf

TABLE: list[tuple[str, list[Value], Value | None]] = [
    ("+", [LARGEST, 1], None),
    ("+", [LARGEST, 0], LARGEST),
    ("-", [SMALLEST, 1], None),
    ("*", [2**62, 2], None),
    ("*", [2**62, -2], SMALLEST),
    ("neg", [SMALLEST], None),
    ("abs", [SMALLEST], None),
    ("/", [1.0, 0.0], None),
    ("/", [1.0, -0.0], None),
    ("/", [1.0, 4.0], 0.25),
    ("//", [-7, 2], -4),
    ("//", [7, -2], -4),
    ("%", [-7, 2], 1),
    ("%", [7, -2], -1),
    ("//", [1, 0], None),
    ("%", [1, 0], None),
    ("//", [SMALLEST, -1], None),
    ("*", [1e308, 10.0], INF),
    ("-", [INF, INF], NAN),
    ("*", [-1.0, 0.0], 0.0),
    ("floor", [-0.5], -1),
    ("ceil", [-0.5], 0),
    ("floor", [NAN], None),
    ("ceil", [1e300], None),
    ("floor", [3], 3),
    ("sqrt", [-1.0], None),
    ("sqrt", [NAN], NAN),
    ("log", [0.0], None),
    ("log", [1.0], 0.0),
    ("log", [INF], INF),
    ("exp", [1000.0], INF),
    ("exp", [-INF], 0.0),
    ("min_of", [NAN, 1.0], 1.0),
    ("max_of", [NAN, INF], NAN),
    ("is_nan", [NAN], True),
    ("is_inf", [-INF], True),
    ("is_finite", [NAN], False),
    ("approx", [NAN, NAN, 0.0, 0.0], True),
    ("approx", [INF, 1.0, 1.0, INF], False),
    ("approx", [1.0, 1.25, 0.0, 0.25], True),
    ("approx", [1.0, 1.5, 0.0, 0.25], False),
    ("approx", [3.0, 2.0, 0.5, 0.0], True),
    ("glob", ["*.weight", "fc.weight"], True),
    ("glob", ["?", ""], False),
    ("glob", ["[a]", "a"], False),
    ("glob", ["[a]", "[a]"], True),
    ("matches", ["a+", "baa"], False),
    ("matches", [r"(layer\d+\.)*weight", "layer1.layer22.weight"], True),
    ("starts_with", ["abc", "ab"], True),
    ("ends_with", ["abc", ""], True),
    ("contains", ["abc", "bc"], True),
    ("length", ["é"], 1),
    ("lower", ["AbÉ"], "abÉ"),
    ("replace", ["aaa", "aa", "b"], "ba"),
    ("replace", ["abc", "", "x"], "abc"),
    ("count_parts", ("a.b.c", "."), 3),
    ("count_parts", ("", "."), 1),
    ("count_parts", ("a", ""), 0),
    ("slice", ("abcd", 1, 3), "bc"),
    ("slice", ("abcd", -3, 9), "bcd"),
    ("slice", ("abcd", 3, 1), ""),
    ("index_of", ("a.b.c", "."), 1),
    ("index_of", ("abc", ""), 0),
    ("index_of", ("abc", "x"), None),
    ("split_part", ["a.b", ".", 0], "a"),
    ("split_part", ["a.b", ".", -1], "b"),
    ("split_part", ["a.b", ".", 2], None),
    ("split_part", ["a.b", "", 0], None),
    ("concat", ["a", "b"], "ab"),
    ("to_string", [True], "true"),
    ("to_string", [-3], "-3"),
    ("to_float", [3], 3.0),
    ("to_float", ["1e2"], 100.0),
    ("to_float", [".5"], 0.5),
    ("to_float", ["1_0"], None),
    ("to_float", [" 1"], None),
    ("to_float", ["nan"], None),
    ("to_int", [-1.75], -1),
    ("to_int", [INF], None),
    ("to_int", [9.3e18], None),
    ("to_int", ["+7"], 7),
    ("to_int", ["7.0"], None),
    ("to_int", ["9223372036854775808"], None),
    ("to_int", [True], 1),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), TABLE, ids=str)
def test_operations(name: str, arguments: list[Value], expected: Value | None) -> None:
    found = apply(name, arguments)
    if expected is None:
        assert found is None
    else:
        assert found is not None and type(found) is type(expected) and equal(found, expected)


def test_every_function_is_in_the_table() -> None:
    assert set(FUNCTIONS) <= {name for name, _, _ in TABLE}


def test_what_is_undefined_stays_undefined() -> None:
    assert apply("+", [None, 1]) is None


def test_order() -> None:
    values = [NAN, INF, 1.0, 0.0, -INF]
    assert sorted(values, key=order_key)[:4] == [-INF, 0.0, 1.0, INF]
    assert compare("=", NAN, NAN) and compare(">", NAN, INF) and compare("<=", NAN, NAN)
    assert not compare("<", NAN, NAN) and compare("=", 0.0, -0.0) and compare("<", "B", "a")


def test_normalised_values_hash_alike() -> None:
    assert len({normalise(float("nan")), normalise(-NAN)}) == 1
    assert str(normalise(-0.0)) == "0.0" and isinstance(normalise(1, "float"), float)


@pytest.mark.parametrize(
    ("kind", "values", "base", "expected"),
    [
        ("count", ["a", "b"], "string", 2),
        ("sum", [], "int", 0),
        ("sum", [], "float", 0.0),
        ("min", [], "int", None),
        ("mean", [], "float", None),
        ("sum", [1e308, 1e308, -1e308], "float", 1e308),
        ("sum", [1e308, 1e308], "float", INF),
        ("distinct", [1.0, NAN, 1.0, NAN, 0.0], "float", 3),
        ("distinct", [], "int", 0),
        ("sum", [INF, -INF], "float", NAN),
        ("sum", [0.1] * 10, "float", 1.0),
        ("sum", [LARGEST, 1], "int", None),
        ("sum", [LARGEST, 1, -1], "int", LARGEST),
        ("mean", [1, 2], "int", 1.5),
        ("max", [1.0, NAN], "float", NAN),
        ("min", ["b", "B"], "string", "B"),
    ],
)
def test_aggregates(kind: str, values: list[Value], base: str, expected: Value | None) -> None:
    found = aggregate(kind, values, base)
    assert (found is None) if expected is None else (found is not None and equal(found, expected))


# ------------------------------------------------------------------------------------------------ patterns

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\.", "(a|b)", "(?:ab)"])
PIECES = st.tuples(ATOMS, st.sampled_from(["", "*", "+", "?", "{0}", "{2}", "{1,}", "{0,2}"])).map("".join)
PATTERNS = st.lists(PIECES, max_size=4).map("".join)
TEXTS = st.text("ab.1\n", max_size=6)


@given(st.lists(PATTERNS, min_size=1, max_size=2).map("|".join), TEXTS)
def test_regular_expressions_mean_what_python_means(pattern: str, text: str) -> None:
    assert regex(pattern).matches(text) == (re.fullmatch(pattern, text, re.ASCII) is not None)


@given(st.text("ab*?[", max_size=5), st.text("ab[", max_size=6))
def test_globs(pattern: str, text: str) -> None:
    expected = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert glob(pattern, text) == (re.fullmatch(expected, text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a)", "[a", "[]", "*a", "a**", "a{2,1}", "a{101}", "a{x}", r"\1", r"\b", "(?=a)", "(?P<x>a)",
     "^a", "a$", "a\\", "[b-a]", "[a-]]"],
)  # fmt: skip
def test_what_is_not_a_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        regex(pattern)


def test_patterns_cannot_explode() -> None:
    assert not regex("(a*)*b").matches("a" * 5000)
    with pytest.raises(PatternError, match="too large"):
        regex("(((a{100}){100}){100})")
