"""Why-not answers, word for word, on facts that a person has read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from .asking import answer

CASES: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("why_not.toml").read_text("utf-8"))[
    "case"
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_answer(case: dict[str, Any], tmp_path: Path):
    rules = None if case.get("library") else tmp_path / "it.tcr"
    if rules is not None:
        rules.write_text(case.get("rules", "").strip() + "\n", encoding="utf-8")
    recording = {name: case[name] for name in ("unrecorded", "gaps") if name in case}
    found = answer(rules, case["facts"], case["ask"].strip(), **recording)
    assert found.strip() == case["answer"].strip()


def test_there_are_enough():
    assert len(CASES) >= 30 and len({case["name"] for case in CASES}) == len(CASES)
