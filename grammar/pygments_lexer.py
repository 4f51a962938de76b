"""Colours for `.tcr` in documents, reports and terminals."""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups, words  # type: ignore[import-untyped, unused-ignore]
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text  # type: ignore[import-untyped, unused-ignore]
from tcrules.grammar.words import CONSTANT_WORDS, SECTION_WORDS, STATEMENT_WORDS, TEST_WORDS

_KEYWORDS = sorted({*STATEMENT_WORDS, *SECTION_WORDS, *TEST_WORDS, "not"})


class TcrLexer(RegexLexer):  # type: ignore[misc, unused-ignore]
    """Pygments lexer for rule files and their tests."""

    name = "tcrules"
    aliases: ClassVar[list[str]] = ["tcr"]
    filenames: ClassVar[list[str]] = ["*.tcr", "*.tcr-test"]
    url = ""
    tokens: ClassVar[dict[str, list[object]]] = {
        "root": [
            (r"///[^\n]*", String.Doc),
            (r"(?<![A-Za-z0-9_)])//[^\n]*|//(?![A-Za-z0-9_($?-])[^\n]*", Comment.Single),
            (r"\s+", Text),
            (r'"', String, "string"),
            (
                r"(invariant|template|violated|held|vacuous|unknown)(\s+)([a-z][a-z0-9_]*(?:-[a-z0-9_]+)*)",
                bygroups(Keyword, Text, Name.Class),
            ),
            (r"@[a-z][a-z0-9_-]*", Name.Decorator),
            (r"\?[A-Z][A-Za-z0-9_]*", Name.Variable.Magic),
            (r"\$[a-z][a-z0-9_]*", Name.Variable.Global),
            # A word is a name where `:` or `(` follows: `step: S`, `call(…)`.
            (r"([a-z][a-z0-9_]*)(\s*)(:)(?![-=])", bygroups(Name.Attribute, Text, Punctuation)),
            (r"[a-z][a-z0-9_]*(?=\s*\()", Name.Function),
            (words(CONSTANT_WORDS, suffix=r"\b"), Keyword.Constant),
            (words(_KEYWORDS, suffix=r"\b"), Keyword),
            (r"[A-Z][A-Za-z0-9_]*|_\b", Name.Variable),
            (r"[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*", Name),
            (r"[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", Number.Float),
            (r"[0-9]+", Number.Integer),
            (r":-|<:|!=|<=|>=|//|[-+*/%=<>]", Operator),
            (r"[(){},.:]", Punctuation),
        ],
        "string": [
            (r'\\(?:u\{[0-9A-Fa-f]+\}|[\\"nt])', String.Escape),
            (r"\{[A-Z][^}\n]*\}", String.Interpol),
            (r'[^"\\\n{]+|[\\{]', String),
            (r'"', String, "#pop"),
            (r"\n", Text, "#pop"),
        ],
    }
