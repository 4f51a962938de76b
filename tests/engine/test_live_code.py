"""The Python that rules become under live checking: what it means, and that nothing of a rule is in its text."""

from __future__ import annotations

import importlib.util
import io
import keyword
import math
import re
import sys
import tokenize
from itertools import pairwise, product
from pathlib import Path

import pytest
from tcrules.engine import ir, naive
from tcrules.engine.check import naive_check
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.engine.live import LiveSession, derived, source
from tcrules.engine.live.expressions import comparison
from tcrules.engine.live.source import End, Module
from tcrules.engine.values import BASES, compare

_spec = importlib.util.spec_from_file_location("live_code_helping", Path(__file__).with_name("helping.py"))
assert _spec and _spec.loader
helping = importlib.util.module_from_spec(_spec)
sys.modules["live_code_helping"] = helping
_spec.loader.exec_module(helping)

DECLARED = """relation event(step: step, a: int, x: float, name: string)
relation link(step: step, a: int, b: int)
relation wide(step: step, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int)
"""
NAN = math.nan


def checked(rules: str, **facts: list[tuple[object, ...]]) -> dict[str, str]:
    """Statuses by live checking, which are those of the naive evaluator, as are counts and violations."""
    program = helping.program_of(DECLARED + rules)
    stored = {name: tuple(Stored(0, row) for row in rows) for name, rows in facts.items()}
    coverage = Coverage(frozenset({"event", "link", "wide"}))
    model = naive.evaluate(program, MemoryFacts(stored, coverage))
    expected = naive_check(program, lambda invariant: naive.instances(invariant, model), coverage)
    session = LiveSession(program, coverage, world=1)
    assert not session.late_rules()
    for step in sorted({row[0] for rows in facts.values() for row in rows}):
        for name, rows in facts.items():
            session.feed(name, [row for row in rows if row[0] == step])
        session.advance(0, step)
    found = session.close()
    assert found == expected
    return {verdict.rule: verdict.status for verdict in found.verdicts}


def chain(length: int, first: str = "A0") -> str:
    """A body whose atoms lead from one number to the next."""
    names = [first, *(f"A{at + 1}" for at in range(length))]
    return ", ".join(f"link(step: S, a: {a}, b: {b})" for a, b in pairwise(names))


LINKS = [(0, n, n + 1) for n in range(60)] + [(1, n, n + 1) for n in range(20)] + [(1, 5, 4)]


@pytest.mark.parametrize("length", [15, 16, 17, 20, 21, 45])
@pytest.mark.parametrize(
    "rule",
    [
        "each {chain} expect A0 > 4",
        "each link(step: S, a: 3, b: A0) expect {chain}",
        "each link(step: S, a: 3, b: A0), not {{ {chain}, A{length} > 50 }} expect A0 < 0",
        "each link(step: S, a: A0), N = count {{ {chain} }} expect N = 1",
        "each link(step: S, a: A0), M = max(A{length}) {{ {chain} }} expect M < 58",
        "each link(step: S, a: A0), {{ {chain} or A{length} = A0 }} expect A{length} != 50",
    ],
)
def test_bodies_with_more_loops_than_python_allows(rule: str, length: int) -> None:
    text = rule.format(chain=chain(length), length=length)
    assert checked(f'invariant deep {{ {text} message "m" }}', link=LINKS)["deep"] in ("held", "violated")


def test_what_is_within_each_other() -> None:
    rules = """
invariant counted { each link(step: S, a: A), not { 2 = count { link(step: S, a: A, b: B), B > 3 } }
    expect A > 5 message "m" }
invariant twice { each link(step: S, a: A), not { link(step: S, a: B), not { link(step: S, a: A, b: B) }, B < 2 }
    expect A < 0 message "m" }
invariant either { each link(step: S, a: A), { link(step: S, a: C, b: A), C > 1 or C = A + 1 or event(step: S, a: C) }
    expect C != 7 or not { event(step: S, a: C), N = sum(B) { link(step: S, a: C, b: B) }, N > 0 } message "m" }
invariant best { each event(step: S, a: A), B = arg_max(B1, X) { event(step: S, a: B1, x: X) }
    expect { A = B or link(step: S, a: A, b: B) } message "m" }
invariant none { each link(step: S) expect event(step: S) message "m" }
invariant plain { each link(step: S, a: A) expect event(step: S, a: A, name: "x"), A > 0 or A = 0 message "m" }
"""
    events = [(0, n, float(n), "x" if n % 3 else "y") for n in range(5)] + [
        (2, 1, NAN, "x"),
        (2, 2, 5.0, "x"),
    ]
    statuses = checked(rules, link=[(0, n % 7, (n * n) % 9) for n in range(20)] + LINKS[60:70], event=events)
    assert set(statuses.values()) == {"held", "violated"} or set(statuses.values()) == {"violated"}


def test_negations_within_each_other_and_many_tests() -> None:
    inner = "link(step: S, a: A27, b: A28)"
    for at in range(27, 0, -1):
        inner = f"link(step: S, a: A{at - 1}, b: A{at}), not {{ {inner} }}"
    many = ", ".join(f"A != {value}" for value in range(1000, 1200))
    rules = f"""
invariant nested {{ each link(step: S, a: A0), not {{ {inner} }} expect A0 < 5 message "m" }}
invariant wide {{ each link(step: S, a: A), {many} expect link(step: S, b: A), {many} message "m" }}
"""
    statuses = checked(rules, link=LINKS)
    assert statuses == {"nested": "violated", "wide": "violated"}


def test_one_variable_at_several_columns() -> None:
    rules = """
invariant same { each link(step: S, a: A, b: A) expect A != 3 message "m" }
invariant few { each wide(step: S, c: C, h: C) expect C != 3 message "m" }
invariant all { each wide(step: S, a: A, b: A, c: A, d: D, e: D, f: D, g: D, h: D, i: D) expect A < D message "m" }
"""
    wide = [(0, *(n + (at > k) for at in range(9))) for n in range(5) for k in range(8)]
    link = [(0, a, b) for a in range(5) for b in range(5)]
    assert checked(rules, wide=wide, link=link) == {"same": "violated", "few": "violated", "all": "held"}


def test_rules_of_a_family_with_constants_at_several_columns() -> None:
    family = "\n".join(
        f'invariant f{n} {{ each wide(step: S, a: {n}, b: {n}, c: 1, d: D, e: D) expect D > {n} message "m" }}'
        for n in range(4)
    )
    some = product(range(3), range(3), (0, 1), (0, 2), (1, 2))
    wide = [(0, *values, 0, 0, 0, 0) for values in some]
    statuses = checked(family, wide=wide)
    assert statuses == {"f0": "held", "f1": "held", "f2": "violated", "f3": "vacuous"}


def test_an_undefined_term_makes_its_literal_fail() -> None:
    rules = f"""
invariant bind {{ each link(step: S, a: A, b: B), C = 10//A expect C < B message "m" }}
invariant test {{ each link(step: S, a: A, b: B) expect 10//A < B or not {{ 10//A >= 0 }} message "m" }}
invariant large {{ each link(step: S, a: A) expect A + {2**63 - 1} > 0 message "m" }}
invariant small {{ each link(step: S, a: A) expect A - 9 - {2**63 - 1} < 0 message "m" }}
invariant widened {{ each link(step: S, a: A), event(step: S, x: X), X = A + 0.5 expect X < 2.0 message "m" }}
"""
    statuses = checked(
        rules, link=[(0, a, 3) for a in range(-2, 12)], event=[(0, 0, 1.5, ""), (0, 0, 2.5, "")]
    )
    assert set(statuses.values()) == {"violated"}


@pytest.mark.parametrize("op", ["=", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("base", ["float", "int"])
def test_comparisons(op: str, base: str) -> None:
    """Each is that of `values.compare`, for NaN, too."""
    values = [NAN, 0.0, 1.5, -2.0, math.inf, -math.inf] if base == "float" else [0, 1, -1, 2**63 - 1]
    module, kind = Module(), BASES[base]
    function = module.function(End(lambda made, _: made.line("return True"), "return False"))
    literal = ir.Compare(op, ir.Var("One", kind), ir.Var("Other", kind))
    function.need(comparison(function, literal))
    function.end.solution(function, None)  # type: ignore[arg-type]
    holds = module.compiled(function)
    for one in values:
        for other in values:
            assert holds(one, other) is compare(op, one, other), (one, op, other)


# ------------------------------------------------------------------------------------------------ text of programs

HOSTILE = [
    "\\n import os; os.abort() #",
    "'); raise SystemExit('",
    '\\"\\"\\"); raise SystemExit(1)',
    "{0} {x} %s \\\\",
    "__import__('os').abort()",
    "\u2028 \u202e k0 \ufffd",
]


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """The programs that are compiled while the test runs."""
    found: list[str] = []
    compiled = source._code

    def code(text: str):
        found.append(text)
        return compiled(text)

    monkeypatch.setattr(source, "_code", code)
    return found


NAMES = re.compile(r"[vtxkf][0-9]+|found|rows?|key|keys|get|bool|_")


def only_names_and_brackets(text: str) -> bool:
    """No string, no float, no name that is not numbered."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            if not keyword.iskeyword(token.string) and not NAMES.fullmatch(token.string):
                return False
        elif token.type == tokenize.NUMBER:
            if not token.string.isdigit():
                return False
        elif token.type in (tokenize.STRING, tokenize.COMMENT, tokenize.ERRORTOKEN):
            return False
    return True


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_rule_is_in_the_text(text: str, texts: list[str]) -> None:
    value = (
        text.encode("utf-8").decode("utf-8").replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
    )
    rules = f"""
invariant told {{ each event(step: S, a: A, x: X, name: "{text}") expect X < 1.25e300, A > 123454321 message "m" }}
invariant part {{ each event(step: Import, a: Exec, name: Name) expect not contains(Name, "{text}") or Exec > 2
    or 3 < count {{ event(step: Import, name: Name, x: 0.1) }} message "m" }}
same(S, "{text}") :- event(step: S, name: "{text}").
invariant read {{ each same(S, Name) expect event(step: S, name: Name, a: 1) message "m" }}
"""
    statuses = checked(rules, event=[(0, 1, 0.5, value), (0, 2, 0.5, "other"), (1, 2, 0.1, value)])
    assert statuses == {"told": "violated", "part": "violated", "read": "violated"}
    assert len(texts) == 4 and all(map(only_names_and_brackets, texts)), texts


def test_rules_of_one_shape_have_one_text(texts: list[str]) -> None:
    rules = "".join(
        f'd{n}(S, {n}) :- event(step: S, a: {n}, name: "n{n}").\n'
        f'invariant i{n} {{ each d{n}(S, A) expect A < 1 message "m" }}\n'
        for n in range(5)
    )
    checked(rules, event=[(0, n, 0.0, f"n{n}") for n in range(5)])
    assert len(texts) > 5 and len(set(texts)) == 2


def test_a_rule_is_compiled_when_it_is_first_evaluated(texts: list[str]) -> None:
    rule = 'invariant small { each event(step: S, a: A) expect A < 5 message "m" }'
    session = LiveSession(helping.program_of(DECLARED + rule), world=1)
    session.feed("link", [(0, 1, 2)])
    session.advance(0, 0)
    assert texts == []
    for step in (1, 2):
        session.feed("event", [(step, 9, 0.0, "")])
        assert len(session.advance(0, step)) == 1
    assert len(texts) == 1


# ------------------------------------------------------------------------------------------------ faults


def test_a_relation_that_could_not_be_derived_is_never_taken_for_an_empty_one(monkeypatch) -> None:
    rules = """pair(S, A, B) :- event(step: S, a: A), event(step: S, a: B).
invariant one { each event(step: S, a: A) expect not pair(S, A, A) message "m" }
invariant two { each event(step: S, a: A) expect not pair(S, A, 1) message "m" }
invariant three { each event(step: S, a: A) expect A > 0 message "m" }
"""
    monkeypatch.setattr(derived, "MOST_DERIVED", 10)
    session = LiveSession(helping.program_of(DECLARED + rules), world=1)
    session.feed("event", [(0, n, 0.0, "") for n in range(1, 5)])
    session.advance(0, 0)
    verdicts = {verdict.rule: verdict for verdict in session.close().verdicts}
    assert [verdicts[rule].status for rule in ("one", "two", "three")] == ["unknown", "unknown", "held"]
    assert "more than 10 facts" in verdicts["two"].reasons[0]


def test_a_settled_relation_that_can_no_longer_be_derived_does_not_end_the_session(monkeypatch) -> None:
    rules = """relation item(a: int)
pair(A, B) :- item(A), item(B).
invariant one { each event(step: S, a: A) expect not pair(A, _) message "m" }
invariant two { each event(step: S, a: A) expect A > 0 message "m" }
"""
    monkeypatch.setattr(derived, "MOST_DERIVED", 10)
    session = LiveSession(helping.program_of(DECLARED + rules), world=1)
    for step in range(3):
        session.feed("item", [(10 * step + n,) for n in range(2)])
        session.feed("event", [(step, 100, 0.0, "")])
        assert session.advance(0, step) == []
    verdicts = {verdict.rule: verdict for verdict in session.close().verdicts}
    assert (verdicts["one"].status, verdicts["two"].status) == ("unknown", "held")
    assert "more than 10 facts" in verdicts["one"].reasons[0]


def test_a_row_that_is_too_short_gives_up_the_rules_that_read_it() -> None:
    rules = """invariant bad { each link(step: S, b: B) expect B > 0 message "m" }
invariant good { each wide(step: S, a: A) expect A > 0 message "m" }
"""
    session = LiveSession(helping.program_of(DECLARED + rules), world=1)
    session.feed("link", [(0, 1)])
    session.feed("wide", [(0, *range(1, 10))])
    session.advance(0, 0)
    verdicts = {verdict.rule: verdict.status for verdict in session.close().verdicts}
    assert verdicts == {"bad": "unknown", "good": "held"}
