"""Single behaviours of the parser, the comments, the renderer and the highlighter."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pygments.token import Error
from tcrules.grammar import Diagnostic, Label, TcrError, ast, did_you_mean, parse, parse_literals, parse_tests
from tcrules.grammar.printer import print_program
from tcrules.grammar.pygments_lexer import TcrLexer
from tcrules.grammar.render import render, to_json
from tcrules.grammar.words import BadEscape, quote, unquote


def program(text: str) -> ast.Program:
    parsed = parse(text, "x.tcr")
    assert parsed.program is not None, render(parsed.diagnostics, {"x.tcr": text})
    return parsed.program


def first_rule(text: str) -> ast.Rule:
    rule = program(text).statements[0]
    assert isinstance(rule, ast.Rule)
    return rule


def test_starting_loads_nothing_slow() -> None:
    """A process that reads and analyses a small program: what would double its start-up stays out."""
    code = """
import sys
from tcrules.engine.analyse import analyse, load_text
assert analyse(load_text("p(X, Y) :- q(X, Y), X < 3.\\nq(1, 2).").programs).program is not None
slow = {"lark", "dataclasses", "inspect", "numpy", "msgspec", "click", "rich", "networkx", "difflib", "pygments"}
sys.exit(", ".join(slow & set(sys.modules)) or 0)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_spans_point_at_the_text() -> None:
    text = "// c\na(X) :-\n    b(X),\n    X > 1 + 2.\n"
    literal = first_rule(text).body[1]
    assert isinstance(literal, ast.Comparison)
    assert (literal.span.line, literal.span.column) == (4, 5)
    assert text[literal.span.start : literal.span.end] == "X > 1 + 2"
    assert text[literal.right.span.start : literal.right.span.end] == "1 + 2"


@pytest.mark.parametrize(
    "word",
    [
        "step",
        "call",
        "message",
        "expect",
        "rank",
        "count",
        "min",
        "each",
        "not",
        "true",
        "inf",
        "type",
        "param",
    ],
)
def test_keywords_are_column_names(word: str) -> None:
    text = f"invariant a {{\n    each    b({word}: X)\n    expect  c({word}: X)\n}}\n"
    assert print_program(program(text)) == text


@pytest.mark.parametrize(
    "word",
    ["step", "call", "message", "expect", "rank", "count", "sum", "each", "test", "param", "type", "import"],
)
def test_keywords_are_relation_names(word: str) -> None:
    text = f"{word}(X) :- {word}(X), not {word}(X).\n"
    assert print_program(program(text)) == text


def test_forbid_means_expect_false() -> None:
    (short,) = program("invariant a { forbid b(x: X) }").statements
    (long,) = program("invariant a { each b(x: X) expect false }").statements
    assert short == long


def test_call_without_parentheses_around_is_an_atom() -> None:
    body = first_rule('a(X) :- b(X), (b(X)), glob("*", X).').body
    assert [type(literal) for literal in body] == [ast.Atom, ast.Test, ast.Test]


def test_integer_division_is_tight() -> None:
    comparison = first_rule("a(X) :- X = Y//2.").body[0]
    assert isinstance(comparison, ast.Comparison)
    assert isinstance(comparison.right, ast.Operation)
    assert comparison.right.op == "//"
    assert parse("a(X) :- X = Y. // 2 of them", "x").diagnostics == ()
    warned = parse("a(X) :- b(Y), X = Y // 2.\n   .", "x").diagnostics
    assert [item.code for item in warned] == ["TCR122"]
    assert warned[0].severity == "warning"


def test_number_types() -> None:
    head = first_rule("a(1, 1.0, -1, -0.0, true, 1e3, inf).").head
    values = [argument.value for argument in head.arguments]
    assert [repr(value.value) for value in values if isinstance(value, ast.Constant)] == [
        "1",
        "1.0",
        "-1",
        "-0.0",
        "True",
        "1000.0",
        "inf",
    ]


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "3 - 9223372036854775808 * 2", "-(9223372036854775808)"]
)
def test_integers_have_64_bits(text: str) -> None:
    codes = [item.code for item in parse(f"a(X) :- X = {text}.", "x").diagnostics]
    assert codes == ["TCR113"]
    assert parse("a(-9223372036854775808).", "x").diagnostics == ()


def test_strings() -> None:
    text = 'tab\t quote" back\\ line\n nul\0 π 🙂'
    assert unquote(quote(text)) == text
    assert unquote('"\\u{1F642}"') == "🙂"
    for bad in ('"\\x"', '"\\u{110000}"', '"\\u{d800}"', '"\\u12"'):
        with pytest.raises(BadEscape):
            unquote(bad)


# ----------------------------------------------------------------------------------------------- comments


def test_owners_of_comments() -> None:
    text = """// file
/// doc
invariant a { // opening
    each    b(x: X), // after b
            // before not
            not { // inside
                c(x: X)
                // last inside
            }
    // before expect
    expect  d(x: X)
    // before message
    message "m" // after message
} // after all
// end
"""
    parsed = program(text)
    (invariant,) = parsed.statements
    assert isinstance(invariant, ast.Invariant)
    first, negation = invariant.each
    assert isinstance(negation, ast.Negation)
    assert invariant.doc == ("doc",)
    assert invariant.comments == ("file", "before message", "after message", "after all")
    assert first.comments == ("opening", "after b")
    assert negation.comments == ("before not", "last inside")
    assert negation.body[0].comments == ("inside",)
    assert invariant.expect[0][0].comments == ("before expect",)
    assert parsed.trailing == ("end",)


def test_query_keeps_comments() -> None:
    first, second = parse_literals("a(X), // one\nb(X)\n// two", "q")
    assert (first.comments, second.comments) == (("one",), ("two",))


# ----------------------------------------------------------------------------------------------- messages


def test_faults_of_all_statements_at_once() -> None:
    text = "a(X) :- b(x).\ninvariant A { }\nrelation r(a int)\nc(1)\nd(2).\n"
    found = [(item.code, item.labels[0].span.line) for item in parse(text, "x").diagnostics]
    assert found == [("TCR108", 1), ("TCR119", 2), ("TCR101", 3), ("TCR107", 4)]


def test_errors_of_tests_and_queries_carry_their_source() -> None:
    for entry in (parse_tests, parse_literals):
        with pytest.raises(TcrError) as caught:
            entry("a(", "f")
        assert caught.value.sources == {"f": "a("}
        assert "f:1:2" in str(caught.value)


def test_render_several_files_and_colors() -> None:
    here = ast.Span("a.tcr", 0, 1, 1, 1)
    there = ast.Span("b\x1b[2J.tcr", 3, 4, 2, 1)
    item = Diagnostic(
        "TCR209", "error", "duplicate", (Label(here, "again"), Label(there, "first")), ("n1\nn2",), "rename"
    )
    plain = render([item], {"a.tcr": "x\n", "b\x1b[2J.tcr": "y\ny\n"})
    assert plain.splitlines() == [
        "error[TCR209]: duplicate",
        " --> a.tcr:1:1",
        "  |",
        "1 | x",
        "  | ^ again",
        " ::: b\ufffd[2J.tcr:2:1",
        "  |",
        "2 | y",
        "  | - first",
        "  = note: n1",
        "          n2",
        "  = help: rename",
    ]
    colored = render([item], {}, color=True)
    assert colored.startswith("\x1b[1;31merror[TCR209]")


def test_render_without_labels_or_sources() -> None:
    assert render([Diagnostic("TCR212", "error", "m")], {}) == "error[TCR212]: m\n"
    span = ast.Span("gone", 0, 3, 40, 2)
    assert "gone:40:2" in render([Diagnostic("TCR212", "error", "m", (Label(span),))], {"gone": "x"})


def test_json() -> None:
    (item,) = parse("a(x).", "f").diagnostics
    data = to_json(item)
    assert data["code"] == "TCR108"
    assert data["labels"] == [
        {"file": "f", "line": 1, "column": 3, "start": 2, "end": 3, "text": "starts with a lower-case letter"}
    ]


def test_did_you_mean() -> None:
    assert did_you_mean("optimiser_step", ["optimizer_step", "step"]) == "optimizer_step"
    assert did_you_mean("zzz", ["optimizer_step"]) is None


def test_highlighter_knows_every_token(sample: str) -> None:
    tokens = list(TcrLexer().get_tokens(sample))
    assert [text for kind, text in tokens if kind is Error] == []
    assert "".join(text for _, text in tokens).strip() == sample.strip()
