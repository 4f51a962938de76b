"""The language reference tells the truth: its examples are canonical, its table of codes is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tcrules.grammar
from tcrules.grammar import CODES, parse, parse_tests, print_program, print_tests, render
from tcrules.grammar.words import BOOLEAN_FUNCTIONS

# The README is not part of the package data: look in the repository.
REFERENCE = Path(__file__).parents[2] / "grammar" / "README.md"
TEXT = REFERENCE.read_text(encoding="utf-8")
FENCES = re.findall(r"^```(tcr|tcr-test)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("kind", "text"), FENCES)
def test_example_is_canonical(kind: str, text: str) -> None:
    if kind == "tcr-test":
        assert print_tests(parse_tests(text, "README")) == text
        return
    parsed = parse(text, "README")
    assert parsed.program is not None, render(parsed.diagnostics, {"README": text})
    assert parsed.diagnostics == ()
    if not text.startswith("// A comment"):  # that one shows parameters apart from each other
        assert print_program(parsed.program) == text


def test_every_code_is_in_the_table() -> None:
    table = dict(re.findall(r"^\| (TCR\d+) \| (.*) \|$", TEXT, re.MULTILINE))
    assert table == CODES
    assert list(CODES) == sorted(CODES)


def test_boolean_functions_are_listed() -> None:
    assert all(f"`{name}`" in TEXT for name in BOOLEAN_FUNCTIONS)


def test_public_names_exist() -> None:
    assert all(hasattr(tcrules.grammar, name) for name in tcrules.grammar.__all__)
