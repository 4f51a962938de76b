"""Parsing with molds gives what parsing each statement gives: trees, spans, comments, diagnostics."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from tcrules.grammar import ast, parse, print_program
from tcrules.grammar.molds import Stamp, Statements, parts_of

# With --import-mode=importlib a test folder is not importable by name.
_spec = importlib.util.spec_from_file_location("grammar_molds", Path(__file__).with_name("molds.py"))
assert _spec and _spec.loader
molds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(molds)
assert_same, files = molds.assert_same, molds.files

GOLDEN = sorted(Path(__file__).parent.parent.glob("*/golden/*.tcr"))


def compare(text: str) -> int:
    """How many statements were stamps."""
    fast, plain = parse(text, "x.tcr"), parse(text, "x.tcr", molds=False)
    assert_same(fast.diagnostics, plain.diagnostics)
    assert (fast.program is None) == (plain.program is None)
    if fast.program is None or plain.program is None:
        return 0
    stamps = sum(isinstance(part, Stamp) for part in parts_of(fast.program.statements))
    assert_same(tuple(fast.program.statements), tuple(plain.program.statements))
    assert_same(fast.program.trailing, plain.program.trailing)
    assert fast.program == plain.program
    assert plain.program == fast.program
    assert hash(fast.program) == hash(plain.program)
    return stamps


@settings(max_examples=200, deadline=None)
@given(files(faulty=False))
def test_sound_files(text: str) -> None:
    compare(text)


@settings(max_examples=100, deadline=None)
@given(files(faulty=True))
def test_faulty_files(text: str) -> None:
    compare(text)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_golden_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    compare(text)
    compare(f"{text}\n{text}\n{text}")


def test_the_sample_repeated(sample: str) -> None:
    assert compare(f"{sample}\n{sample}\n\n{sample}") > 5


def test_stamps_are_made_and_built_late() -> None:
    text = "".join(f'p({n}, "x{n}", {n}.5). // {n}\n' for n in range(5))
    program = parse(text, "x.tcr").program
    assert program is not None
    assert isinstance(program.statements, Statements)
    assert [type(part) for part in program.statements.parts] == [ast.Rule] + [Stamp] * 4
    last = program.statements[4]
    assert isinstance(last, ast.Rule)
    assert [argument.value for argument in last.head.arguments] == [*map(ast.Constant, (4, "x4", 4.5))]
    assert last.comments == ("4",)
    assert (last.span.line, last.head.arguments[2].span.column) == (5, 12)
    assert parse(print_program(program), "x.tcr").program == program


@pytest.mark.parametrize(
    "shape",
    ['p("a\\n", {}).', "p({}) :- q(1 + {}).", "p({}) :- q(X), X > -(0).", '@a("{}")', "p(X) :- q(X). // {}"],
)
def test_what_matters_is_parsed_alone(shape: str) -> None:
    compare("\n".join(shape.format(number, number) for number in range(4)))


def test_a_zero_behind_a_sign_is_parsed_alone() -> None:
    assert compare("p(X) :- q(X), X > -1.5.\np(X) :- q(X), X > -2.5.\np(X) :- q(X), X > -0.0.\n") == 1


@pytest.mark.parametrize(
    "shape",
    [
        "p(X) :- q(X, Y), {{ Y = {0} or Y > {0}, X != {0} }}.",
        "p(N) :- N = count(V) {{ q(V, {0}) }}.",
        "p(X) :- X = arg_max(A, V + {0}) {{ q(A, V) or q(V, {0}) }}.",
        'p(slice(X, {0}, length(X))) :- q(X), index_of(X, "{0}") > {0}.',
        'invariant i-{0} {{ each q(X), {{ X > {0} or r(X) }} expect r({0}) message "{{X}}" }}',
    ],
)
def test_all_constructs_have_molds(shape: str) -> None:
    assert compare("\n".join(shape.format(number) for number in range(4))) == 3


@pytest.mark.parametrize(
    ("form", "other"),
    [
        ("p({}).", "p(7).5"),
        ("p({}).", "p(7.5)."),
        ("p({}).", "p(7e3)."),
        ("p({}.5).", "p(7)."),
        ("p({}.5).", "p(7.5e+3)."),
        ("p({}.5).", "p(9e999)."),
        ("p({}).", f"p({10**18})."),
        ("p({}).", "p(7). p(8)."),
        ("p({}).", "p(7)// 8\n."),
        ('p("{}").', 'p("\\n").'),
        ('p("{}").', 'p("7", 8).'),
        ('p("{}").', 'p("// 7").'),
        ("p(X) :- q(X), X > -{}.", "p(X) :- q(X), X > -0."),
    ],
)
def test_what_differs_where_a_form_is_guessed(form: str, other: str) -> None:
    known = "\n".join(map(form.format, range(1, 4)))
    assert compare(known) > 0
    compare(f"{known}\n{other}\n{known}")
