"""Whatever is fed in, a diagnostic comes out: no traceback, no quadratic time, bounded output."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.grammar import TcrError, parse, parse_literals, parse_tests, print_program, render
from tcrules.grammar.limits import LIMITS, Limits

_PIECES = [
    *("a(", "X", ")", ",", ".", ":-", "{", "}", '"', "not ", "invariant ", "each ", "expect ", "forbid "),
    *(
        "message ",
        "import ",
        "param ",
        "type ",
        "//",
        "///",
        "1",
        "-",
        "+",
        "=",
        "<:",
        "?A:",
        "$x",
        "@",
        "test ",
    ),
    *(
        "template ",
        "count{",
        "facts{",
        "\\",
        "\x00",
        "\xa0",
        "-3",
        "1.5",
        "_",
        ":",
        "or ",
        "held ",
        " ",
        "\n",
    ),
    *("\r\n", "\t"),
]

HUGE = {
    "too large": ("a" * (LIMITS.characters + 1), "TCR117"),
    "open parentheses": ("a(" * 100_000, "TCR116"),
    "open braces": ("{" * 500_000, "TCR116"),
    "closed braces": ("}" * 500_000, "TCR104"),
    "quotes": ('"' * 500_000, "TCR101"),
    "one word": ("a" * 500_000, "TCR108"),
    "dots": ("." * 100_000, "TCR101"),
    "sum": ("a(X) :- X = " + "1+" * 200_000 + "1.", "TCR116"),
    "minus": ("a(X) :- X = " + "-" * 200_000 + "1.", "TCR116"),
    "negations": ("a(X) :- " + "not { " * 20_000 + "b(X)" + "}" * 20_000 + ".", "TCR116"),
    "digits": ("a(" + "9" * 500_000 + ").", "TCR113"),
    "imports": ("import\n" * 50_000, "TCR101"),
    "zero bytes": ("\0" * 100_000, "TCR105"),
    "surrogate": ('a("\ud800").', "TCR105"),
    "bell": ('a("\x07").', "TCR105"),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_input(name: str) -> None:
    text, code = HUGE[name]
    started = time.monotonic()
    parsed = parse(text, "x.tcr")
    shown = render(parsed.diagnostics, {"x.tcr": text})
    assert time.monotonic() - started < 20
    assert parsed.program is None
    assert code in {diagnostic.code for diagnostic in parsed.diagnostics}
    assert len(parsed.diagnostics) <= 101
    assert len(shown) < 200_000


def test_limits_can_be_set() -> None:
    small = Limits(characters=20, nesting=3, operators=2, depth=4, errors=1)
    texts = {"p(1).": None, "p(1). // and more text": "TCR117", "p(X) :- q(((X))).": "TCR116"}
    texts |= {"p(1 + 2 + 3).": "TCR116", "p(abs(abs(X))).": "TCR116", "a(. b(. c(.": "TCR121"}
    for text, code in texts.items():
        found = parse(text, "x.tcr", small).diagnostics
        assert (found[-1].code if found else None) == code, text


def test_many_errors_are_cut() -> None:
    parsed = parse("import\n" * 300, "x.tcr")
    assert parsed.diagnostics[-1].code == "TCR121"


def test_deep_but_allowed_nesting_prints() -> None:
    text = "a(X) :- X = " + "(" * 50 + "1" + " + 1)" * 50 + "."
    program = parse(text, "x.tcr").program
    assert program is not None
    assert parse(print_program(program), "x.tcr").program == program


def test_operators_and_brackets_together_are_limited() -> None:
    inner = "X"
    for _ in range(40):
        inner = f"abs({inner} - 1 - 1 - 1)"
    (fault,) = parse(f"a(X) :- X = {inner}.", "x.tcr").diagnostics
    assert fault.code == "TCR116"


@pytest.mark.parametrize(
    "text", ["\ufeffa(1).", "a(1).\r\n// c\r\nb(2) :- c(3).\r\n", "", "\n", "\ufeff", "// only"]
)
def test_harmless_oddities(text: str) -> None:
    assert parse(text, "x.tcr").program is not None


def test_line_ends_do_not_matter() -> None:
    text = "// c\ninvariant a {\n    each b(x: X) // d\n    expect c(x: X)\n}\n"
    assert parse(text, "x").program == parse(text.replace("\n", "\r\n"), "x").program


def _all_entries(text: str) -> None:
    parsed = parse(text, "x.tcr")
    assert (parsed.program is None) == any(item.severity == "error" for item in parsed.diagnostics)
    render(parsed.diagnostics, {"x.tcr": text}, color=True)
    for entry in (parse_tests, parse_literals):
        try:
            entry(text, "x")
        except TcrError as error:
            assert error.diagnostics
            assert str(error)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_token_soup(text: str) -> None:
    _all_entries(text)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_binary(text: str) -> None:
    _all_entries(text)


def test_every_cut_of_a_file(sample: str) -> None:
    """Half-typed text, as an editor sends it."""
    for end in range(0, len(sample), 3):
        _all_entries(sample[:end])


def test_random_deletions(sample: str) -> None:
    chance = random.Random(1)
    for _ in range(100):
        start = chance.randrange(len(sample))
        _all_entries(sample[:start] + sample[start + chance.randrange(20) :])
