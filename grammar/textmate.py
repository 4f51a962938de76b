"""The TextMate grammar of `.tcr`, made from `highlight.py`; editors read it.

python -m tcrules.grammar.textmate > editors/vscode/syntaxes/tcr.tmLanguage.json
"""

from __future__ import annotations

import json
import sys

from tcrules.grammar.highlight import MARKS, Mark

#: Scopes that colour themes know; "blank" has none.
SCOPES = {
    "annotation": "entity.name.function.decorator",
    "call": "entity.name.function",
    "column": "entity.other.attribute-name",
    "comment": "comment.line.double-slash",
    "constant": "constant.language",
    "doc": "comment.line.documentation",
    "escape": "constant.character.escape",
    "float": "constant.numeric.float",
    "hole": "constant.other.placeholder",
    "integer": "constant.numeric.integer",
    "keyword": "keyword.control",
    "metavariable": "variable.other.meta",
    "name": "support.type",
    "operator": "keyword.operator",
    "parameter": "variable.other.constant",
    "punctuation": "punctuation.separator",
    "rule": "entity.name.class",
    "string": "string.quoted.double",
    "variable": "variable.other.readwrite",
}


def grammar() -> dict[str, object]:
    """The grammar as data."""
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "tcrules",
        "scopeName": "source.tcr",
        "fileTypes": ["tcr", "tcr-test"],
        "patterns": [pattern for mark in MARKS["root"] for pattern in _pattern(mark)],
    }


def _pattern(mark: Mark) -> list[dict[str, object]]:
    if (
        mark.to
    ):  # an editor looks at one line at a time: what a line end would end, ends at the end of the line
        return [
            {
                "begin": mark.pattern,
                "end": '"|$',
                "name": _scope(mark.kinds[0]),
                "patterns": [
                    pattern for inner in MARKS[mark.to] if not inner.to for pattern in _pattern(inner)
                ],
            }
        ]
    if mark.kinds == ("blank",):
        return []
    if len(mark.kinds) == 1:
        return [{"match": mark.pattern, "name": _scope(mark.kinds[0])}]
    captures = {
        str(number): {"name": _scope(kind)} for number, kind in enumerate(mark.kinds, 1) if kind != "blank"
    }
    return [{"match": mark.pattern, "captures": captures}]


def _scope(kind: str) -> str:
    return f"{SCOPES[kind]}.tcr"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(grammar(), indent=2) + "\n")
