"""The wording and layout of messages: `golden/*.tcr` beside the expected `*.err`.

`TCRULES_UPDATE_GOLDEN=1 pytest tests/grammar/test_golden.py` writes the expected files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tcrules.grammar import CODES, Diagnostic, TcrError, parse, parse_tests, render

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted([*GOLDEN.glob("*.tcr"), *GOLDEN.glob("*.tcr-test")])


def diagnose(path: Path) -> tuple[Diagnostic, ...]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".tcr":
        return parse(text, path.name).diagnostics
    try:
        parse_tests(text, path.name)
    except TcrError as error:
        return error.diagnostics
    return ()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_messages(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = render(diagnose(path), {path.name: text})
    expected = path.with_suffix(".err")
    if os.environ.get("TCRULES_UPDATE_GOLDEN"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_every_case_has_a_fault() -> None:
    assert all(diagnose(path) for path in CASES)


def test_there_are_many_cases_also_of_several_faults() -> None:
    """Those of analysis are counted, too."""
    texts = [path.read_text(encoding="utf-8") for path in GOLDEN.parents[1].glob("*/golden/*.err")]
    several = [text for text in texts if text.count("error[TCR") + text.count("warning[TCR") > 1]
    assert len(texts) >= 80 and len(several) >= 40


def test_every_syntax_code_has_a_case() -> None:
    seen = {diagnostic.code for path in CASES for diagnostic in diagnose(path)}
    elsewhere = {"TCR116", "TCR117", "TCR121"}  # need large input: test_hostile.py
    assert seen | elsewhere == {code for code in CODES if code.startswith("TCR1")}
