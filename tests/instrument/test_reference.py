"""The fact reference in the README is that of the schema."""

from __future__ import annotations

from pathlib import Path

from tcrules.instrument.reference import with_reference


def test_readme_is_up_to_date():
    text = (Path(__file__).parents[2] / "instrument" / "README.md").read_text(encoding="utf-8")
    assert with_reference(text) == text, "run: python -m tcrules.instrument.reference"
