"""Where names stand."""

from __future__ import annotations

from tcrules.lsp.occurrences import at, occurrences, same

TEXT = """optimizer(X) :- step(step: X).
invariant late-optimizer { forbid optimizer(X) message "{X}" }
suppress late-optimizer (X: 3) because "optimizer(X) is late" until "2027-01-31"
"""


def test_a_suppression_names_its_rule():
    rules = [found for found in occurrences(TEXT) if found.kind == "rule"]
    assert [(found.name, found.defines) for found in rules] == [
        ("late-optimizer", True),
        ("late-optimizer", False),
    ]
    defined = at(TEXT, TEXT.index("late-optimizer"))
    assert defined is not None
    assert same(TEXT, defined, here=True) == rules


def test_no_relation_stands_in_a_suppression():
    start = TEXT.index("suppress")
    assert {found.kind for found in occurrences(TEXT) if found.start > start} == {"rule", "variable"}
