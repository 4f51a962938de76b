"""The runner of rule tests says what is wrong with a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tcrules.grammar.diagnostics import TcrError
from tcrules.rules.testing import Outcome, run_tests

RULES = """
invariant finite @error {
    each    update(param: P, finite: Finite)
    expect  Finite = true
    about   P
    message "{P}"
}
"""


def run(folder: Path, facts: str, expect: str, more: str = "") -> Outcome:
    (folder / "r.tcr").write_text(RULES)
    test = folder / "r.tcr-test"
    test.write_text(
        f'import "r.tcr"\n\ntest "t" {{\n facts {{ {facts} }}\n {more}\n expect {{ {expect} }}\n}}\n'
    )
    return run_tests([test])[0]


def test_a_test_that_holds(tmp_path: Path) -> None:
    assert run(tmp_path, 'update(param: "w").', 'violated finite (P: "w")').passed


@pytest.mark.parametrize(
    ("facts", "expect", "says"),
    [
        ('update(param: "w", finite: true).', "violated finite", "but it is held"),
        ('update(param: "w").', 'violated finite (P: "v")', "not with these values"),
        ('update(param: "w").', 'violated finite (Q: "v")', "no variable Q"),
        ("", "held finite", "but it is vacuous"),
    ],
)
def test_a_test_that_fails(tmp_path: Path, facts: str, expect: str, says: str) -> None:
    outcome = run(tmp_path, facts, expect)
    assert not outcome.passed
    assert says in outcome.faults[0].message


@pytest.mark.parametrize(
    ("facts", "expect", "says"),
    [
        ('updat(param: "w").', "held finite", "unknown relation"),
        ('update(parm: "w").', "held finite", "unknown column"),
        ("update(param: 3).", "held finite", "base type string"),
        ("update(param: X).", "held finite", "constants"),
        ("", "held finit", "unknown rule"),
    ],
)
def test_a_test_that_makes_no_sense(tmp_path: Path, facts: str, expect: str, says: str) -> None:
    with pytest.raises(TcrError) as caught:
        run(tmp_path, facts, expect)
    assert says in caught.value.diagnostics[0].message


def test_unrecorded_relations(tmp_path: Path) -> None:
    assert run(tmp_path, "", "unknown finite", "unrecorded update").passed
    with pytest.raises(TcrError):
        run(tmp_path, "", "unknown finite", "unrecorded nonsense")
