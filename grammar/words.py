"""Words and marks that parser, printer and highlighter agree on."""

from __future__ import annotations

import re

STATEMENT_WORDS = ("import", "type", "relation", "param", "invariant", "template", "suppress", "test")
SECTION_WORDS = ("each", "forbid", "guard", "expect", "or", "about", "message")
SUPPRESSION_WORDS = ("because", "until")
TEST_WORDS = ("facts", "unrecorded", "expect", "violated", "held", "vacuous", "unknown")
VALUE_AGGREGATES = ("sum", "min", "max", "mean")
KEY_AGGREGATES = ("arg_min", "arg_max")
CONSTANT_WORDS = ("true", "false", "inf", "nan")

BOOLEAN_FUNCTIONS = frozenset(
    {"approx", "contains", "ends_with", "glob", "is_finite", "is_inf", "is_nan", "matches", "starts_with"}
)
"""Calls that are read as a `Test` where a literal stands; every other call there is an `Atom`.

`(name(X))`, in parentheses, is always a `Test`: so every tree can be written.
"""

PATTERN_FUNCTIONS = frozenset({"matches"})
"""Functions whose first argument is a pattern that is compiled when rules are analysed."""

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

ANNOTATION_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|([\"\\nt])|(.?))", re.DOTALL)


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_date(text: str) -> bool:
    """Whether `text` is a day of the calendar, written YYYY-MM-DD; so written, days are ordered like texts.

    >>> is_date("2028-02-29"), is_date("2027-02-29"), is_date("20270131")
    (True, False, False)
    """
    if _DATE.fullmatch(text) is None:
        return False
    import datetime

    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


class BadEscape(ValueError):
    """A string literal with an escape that does not exist; `start` and `end` are offsets in the literal."""

    def __init__(self, start: int, end: int, text: str) -> None:
        super().__init__(text)
        self.start, self.end = start, end


def quote(text: str) -> str:
    r"""`text` as a string literal; whatever cannot be seen is escaped.

    >>> print(quote('a "b"\n\x00'))
    "a \"b\"\n\u{0}"
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def message_parts(message: str) -> list[str]:
    """What a message interpolates: its parts in braces, doubled braces, and braces without a partner.

    >>> message_parts("{{x}} {A} {B:.2f} }")
    ['{{', '}}', '{A}', '{B:.2f}', '}']
    """
    return _BRACES.findall(message)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character == "\n":
        return "\\n"
    if character == "\t":
        return "\\t"
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"


def unquote(literal: str) -> str:
    """The text of a string literal; raises `BadEscape`."""

    def replace(match: re.Match[str]) -> str:
        code, simple, _ = match.groups()
        if simple is not None:
            return _ESCAPES[simple]
        point = int(code, 16) if code is not None else -1
        if not 0 <= point < 0x110000 or 0xD800 <= point < 0xE000:
            raise BadEscape(match.start() + 1, match.end() + 1, match.group())
        return chr(point)

    return _ESCAPE.sub(replace, literal[1:-1])
