"""Colours for `.tcr` in documents, reports and terminals."""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups  # type: ignore[import-untyped, unused-ignore]
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text  # type: ignore[import-untyped, unused-ignore]
from tcrules.grammar.highlight import MARKS, Mark

TOKENS = {
    "annotation": Name.Decorator,
    "blank": Text,
    "call": Name.Function,
    "column": Name.Attribute,
    "comment": Comment.Single,
    "constant": Keyword.Constant,
    "doc": String.Doc,
    "escape": String.Escape,
    "float": Number.Float,
    "hole": String.Interpol,
    "integer": Number.Integer,
    "keyword": Keyword,
    "metavariable": Name.Variable.Magic,
    "name": Name,
    "operator": Operator,
    "parameter": Name.Variable.Global,
    "punctuation": Punctuation,
    "rule": Name.Class,
    "string": String,
    "variable": Name.Variable,
}


def _rule(mark: Mark) -> tuple[object, ...]:
    kinds = [TOKENS[kind] for kind in mark.kinds]
    action = kinds[0] if len(kinds) == 1 else bygroups(*kinds)
    return (mark.pattern, action, mark.to) if mark.to else (mark.pattern, action)


class TcrLexer(RegexLexer):  # type: ignore[misc, unused-ignore]
    """Pygments lexer for rule files and their tests."""

    name = "tcrules"
    aliases: ClassVar[list[str]] = ["tcr"]
    filenames: ClassVar[list[str]] = ["*.tcr", "*.tcr-test"]
    url = ""
    tokens: ClassVar[dict[str, list[object]]] = {
        state: [_rule(mark) for mark in marks] for state, marks in MARKS.items()
    }
