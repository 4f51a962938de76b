"""What colours of `.tcr` depend on, for every highlighter: kinds of words and the patterns that find them.

`pygments_lexer.py` and `textmate.py` are made from this table. At each place the first pattern of a state that matches
counts.
"""

from __future__ import annotations

from typing import NamedTuple

from tcrules.grammar.words import (
    CONSTANT_WORDS,
    SECTION_WORDS,
    STATEMENT_WORDS,
    SUPPRESSION_WORDS,
    TEST_WORDS,
)

_KEYWORDS = sorted({*STATEMENT_WORDS, *SECTION_WORDS, *SUPPRESSION_WORDS, *TEST_WORDS, "not"})
_ID = r"[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*"


class Mark(NamedTuple):
    """A pattern and the kind of what it matches, or a kind for each of its groups, which follow each other.

    `to` names the state that begins; "#pop" ends one.
    """

    pattern: str
    kinds: tuple[str, ...]
    to: str = ""


def _one_of(words: tuple[str, ...] | list[str]) -> str:
    return rf"(?:{'|'.join(words)})\b"


#: "blank" is what nobody colours.
MARKS: dict[str, tuple[Mark, ...]] = {
    "root": (
        Mark(r"///[^\n]*", ("doc",)),
        Mark(r"(?<![A-Za-z0-9_)])//[^\n]*|//(?![A-Za-z0-9_($?-])[^\n]*", ("comment",)),
        Mark(r"\s+", ("blank",)),
        Mark(r'"', ("string",), "string"),
        Mark(
            rf"(invariant|template|suppress|violated|held|vacuous|unknown)(\s+)({_ID})",
            ("keyword", "blank", "rule"),
        ),
        Mark(r"@[a-z][a-z0-9_-]*", ("annotation",)),
        Mark(r"\?[A-Z][A-Za-z0-9_]*", ("metavariable",)),
        Mark(r"\$[a-z][a-z0-9_]*", ("parameter",)),
        # A word is a name where `:` or `(` follows: `step: S`, `call(…)`.
        Mark(r"([a-z][a-z0-9_]*)(\s*)(:)(?![-=])", ("column", "blank", "punctuation")),
        Mark(r"[a-z][a-z0-9_]*(?=\s*\()", ("call",)),
        Mark(_one_of(list(CONSTANT_WORDS)), ("constant",)),
        Mark(_one_of(_KEYWORDS), ("keyword",)),
        Mark(r"[A-Z][A-Za-z0-9_]*|_\b", ("variable",)),
        Mark(_ID, ("name",)),
        Mark(r"[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", ("float",)),
        Mark(r"[0-9]+", ("integer",)),
        Mark(r":-|<:|!=|<=|>=|//|[-+*/%=<>]", ("operator",)),
        Mark(r"[(){},.:]", ("punctuation",)),
    ),
    "string": (
        Mark(r'\\(?:u\{[0-9A-Fa-f]+\}|[\\"nt])', ("escape",)),
        Mark(r"\{[A-Z][^}\n]*\}", ("hole",)),
        Mark(r'[^"\\\n{]+|[\\{]', ("string",)),
        Mark(r'"', ("string",), "#pop"),
        Mark(r"\n", ("blank",), "#pop"),
    ),
}
