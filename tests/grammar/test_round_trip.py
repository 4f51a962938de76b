"""Printing and parsing are inverse: for random trees, and for texts a person would write."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcrules.grammar import (
    ast,
    parse,
    parse_literals,
    parse_tests,
    print_expression,
    print_literal,
    print_program,
    print_statement,
    print_tests,
    render,
)
from tcrules.grammar.scan import Source, scan

# With --import-mode=importlib a test folder is not importable by name.
_spec = importlib.util.spec_from_file_location(
    "grammar_strategies", Path(__file__).with_name("strategies.py")
)
assert _spec is not None
assert _spec.loader is not None
strategies = importlib.util.module_from_spec(_spec)
sys.modules["grammar_strategies"] = strategies
_spec.loader.exec_module(strategies)

many = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize=True,
)


def read(text: str) -> ast.Program:
    parsed = parse(text, "x.tcr")
    assert parsed.program is not None, render(parsed.diagnostics, {"x.tcr": text})
    return parsed.program


# `==` takes 1, 1.0 and True for equal, and NaN for different; `repr` does neither, and leaves spans out.
@many
@given(strategies.programs)
def test_programs(program: ast.Program) -> None:
    text = print_program(program)
    again = read(text)
    assert repr(again) == repr(program)
    assert print_program(again) == text


@many
@given(strategies.programs)
def test_printing_gives_no_warning(program: ast.Program) -> None:
    assert parse(print_program(program), "x.tcr").diagnostics == ()


@many
@given(strategies.test_files)
def test_test_files(tests: ast.TestFile) -> None:
    text = print_tests(tests)
    again = parse_tests(text, "x.tcr-test")
    assert repr(again) == repr(tests)
    assert print_tests(again) == text


@many
@given(strategies.expressions)
def test_expressions(expression: ast.Expression) -> None:
    (literal,) = parse_literals("a(" + print_expression(expression) + ")", "query")
    assert isinstance(literal, ast.Atom)
    assert repr(literal.arguments[0].value) == repr(expression)


@many
@given(strategies.literals)
def test_literals(literal: ast.Literal) -> None:
    text = print_literal(literal)
    (again,) = parse_literals(text, "query")
    assert repr(again) == repr(literal)
    assert print_literal(again) == text


@many
@given(strategies.programs, st.randoms(use_true_random=False))
def test_no_comment_is_lost(program: ast.Program, random: Random) -> None:
    """Comments strewn over a text, one behind every few tokens, all come out again."""
    text = print_program(program)
    strewn = "".join(
        part + (f" // note {random.randrange(9)}\n" if part == "," and random.random() < 0.5 else "")
        for part in _tokens(text)
    )
    before = Counter(comment.text for comment in scan(Source(strewn, "x")).comments)
    canonical = print_program(read(strewn))
    after = Counter(comment.text for comment in scan(Source(canonical, "x")).comments)
    assert after == before
    assert print_program(read(canonical)) == canonical


def _tokens(text: str) -> list[str]:
    from tcrules.grammar.scan import TOKEN

    return [match.group() for match in TOKEN.finditer(text)]


CASES = [
    "a(X) :- b(X), X = (1 + 2) * 3.",
    "a(X) :- b(X), X = 1 + 2 * 3 - -4.",
    "a(X) :- b(X), X = -(3) - --X.",
    "a(X) :- b(X), X = Y//2 % 3, Z = (X * 2)//-$n.",
    "a(X) :- X = (count { b(_) })//2.",
    "a(step: S, call: C) :- not b(step: S), not { c(C), d(C) }.",
    'a(1, -2, 1.0, 1e-07, inf, -inf, nan, true, "\\u{0}\\"").',
    'a(X) :- (abs(X)), abs(X), glob("*", X), not glob("*", X), not { (abs(X)) }.',
]


@pytest.mark.parametrize("text", CASES)
def test_canonical_text_stays(text: str) -> None:
    assert print_program(read(text)) == text + "\n"


def test_statement_without_line_break() -> None:
    (statement,) = read("/// doc\n// why\na(1).").statements
    assert print_statement(statement) == "// why\n/// doc\na(1)."
