"""What suppressions mean: values and patterns, days, and comments in scripts."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tcrules.engine.analyse import analyse, load_text
from tcrules.rules.ignores import MAX_BYTES, ignores, read_ignores
from tcrules.rules.suppress import expired, matcher
from tcrules.rules.testing import run_tests

RULE = """
relation reading(sensor: string, value: float, count: int, on: bool)
invariant small { forbid reading(sensor: N, value: V, count: C, on: B), V > 1.0 message "{N} {V} {C} {B}" }
"""


def suppression(bindings: str, until: str = ""):
    text = f'{RULE}\nsuppress small {bindings} because "known"{until and f" until {chr(34)}{until}{chr(34)}"}'
    program = analyse(load_text(text).programs).program
    assert program is not None
    return program.suppressions[0], program.invariants[0]


@pytest.mark.parametrize(
    ("bindings", "meant"),
    [
        ("", True),
        ('(N: "a.b")', True),
        ('(N: "a.*")', True),
        ('(N: "a.?")', True),
        ('(N: "a")', False),
        ('(N: "a?")', False),
        ("(V: 3)", True),
        ("(V: 3.0, C: 2)", True),
        ("(V: 3.0, C: 3)", False),
        ("(B: true)", True),
        ("(B: false)", False),
    ],
)
def test_bindings(bindings: str, meant: bool):
    assert matcher(*suppression(bindings))(("a.b", 3.0, 2, True)) is meant


def test_nan_is_equal_to_nan():
    assert matcher(*suppression("(V: nan)"))(("a", float("nan"), 2, True))


def test_the_last_day_still_counts():
    meant, _ = suppression("", "2027-01-31")
    assert not expired(meant, date(2027, 1, 31))
    assert expired(meant, date(2027, 2, 1))
    assert not expired(suppression("")[0], date(9999, 12, 31))


def places(text: str) -> list[tuple[tuple[str, ...], str, int, int]]:
    return [(i.rules, i.reason, i.first, i.last) for i in ignores(text.encode(), "t.py")]


def test_a_comment_speaks_about_its_statement():
    assert places("x = 1\nf(  # tcr: ignore[a]: known\n    2,\n)\n") == [(("a",), "known", 2, 4)]
    assert places("f(\n    2,\n)  # noqa # tcr: ignore[a, b, a] known\n") == [(("a", "b"), "known", 1, 3)]
    assert places("f(); g()  # tcr:ignore [a-b] — known\n") == [(("a-b",), "known", 1, 1)]


def test_a_comment_alone_speaks_about_the_next_statement_but_not_its_block():
    assert places("# tcr: ignore[a] one\n\n# tcr: ignore[b] two\nf(\n)\ng()\n") == [
        (("a",), "one", 4, 5),
        (("b",), "two", 4, 5),
    ]
    assert places("# tcr: ignore[a] known\nfor x in y:\n    f()\n") == [(("a",), "known", 2, 2)]
    assert places("for x in y:\n    # tcr: ignore[a] known\n    f()\n") == [(("a",), "known", 3, 3)]
    assert places("f()\n# tcr: ignore[a] known\n") == [(("a",), "known", 2, 2)]


def test_what_is_no_comment():
    assert places('x = "# tcr: ignore[a] known"\ny = """\n# tcr: ignore[a] known\n"""\n') == []
    assert places("f()  # tcr: ignored things\nf()  # about tcr\n") == []
    assert places("f()  # tcr: ignore\ng()  # tcr: ignore[ , ] why\n") == [((), "", 1, 1), ((), "why", 2, 2)]


def test_of_a_broken_script_the_beginning_is_read():
    assert places("f()  # tcr: ignore[a] known\ndef (:\n  '''\n") == [(("a",), "known", 1, 1)]


def test_files_that_are_no_scripts(tmp_path: Path):
    assert read_ignores(str(tmp_path / "missing.py")) == ()
    assert read_ignores(str(tmp_path)) == ()
    assert read_ignores("<stdin>") == ()
    assert read_ignores("a\0b") == ()
    binary = tmp_path / "data.py"
    binary.write_bytes(b"\xff\xfe\x00# tcr: ignore[a] known\n\x00\x80")
    assert read_ignores(str(binary)) == ()
    big = tmp_path / "big.py"
    big.write_bytes(b"# tcr: ignore[a] known\nf()\n" + b"#" * MAX_BYTES)
    assert read_ignores(str(big)) == ()
    small = tmp_path / "small.py"
    small.write_text("# -*- coding: utf-8 -*-\nf()  # tcr: ignore[a] grün\n", encoding="utf-8")
    assert [i.reason for i in read_ignores(str(small))] == ["grün"]


def test_rule_tests_do_not_read_suppressions(tmp_path: Path):
    (tmp_path / "small.tcr").write_text(RULE + 'suppress small because "known"\n')
    case = tmp_path / "small.tcr-test"
    case.write_text(
        'import "small.tcr"\ntest "high" {\n    facts { reading(sensor: "a", value: 2.0). }\n'
        '    expect { violated small (N: "a") }\n}\n'
    )
    (outcome,) = run_tests([case])
    assert outcome.passed
