"""The wording of all faults that analysis finds: `golden/*.tcr` beside the expected `*.err`.

`TCRULES_UPDATE_GOLDEN=1 pytest tests/engine/test_analyse_golden.py` writes the expected files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tcrules.engine.analyse import Source, analyse, load
from tcrules.grammar import CODES, Diagnostic, render

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(GOLDEN.glob("*.tcr"))


def find(path: str, importer: str | None) -> Source | None:
    file = GOLDEN / path
    return Source(path, file.read_text(encoding="utf-8")) if file.is_file() else None


def diagnose(path: Path) -> tuple[tuple[Diagnostic, ...], dict[str, str]]:
    loaded = load([path.name], find)
    found = analyse(loaded.programs)
    return (*loaded.diagnostics, *found.diagnostics), dict(loaded.sources)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_messages(path: Path) -> None:
    found = render(*diagnose(path))
    expected = path.with_suffix(".err")
    if os.environ.get("TCRULES_UPDATE_GOLDEN"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 20
    assert all(diagnose(path)[0] for path in CASES)


def test_every_code_of_analysis_has_a_case() -> None:
    seen = {diagnostic.code for path in CASES for diagnostic in diagnose(path)[0]}
    elsewhere = {"TCR219"}  # a thousand files: test_hostile.py
    assert {code for code in CODES if code[:4] in ("TCR2", "TCR3")} - elsewhere <= seen
