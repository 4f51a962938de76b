"""The outline of a statement is its text without its constants: numbers, strings, the id.

Statements with equal outlines differ in nothing else; `molds.py` makes use of that. Outlines only match where constants
cannot matter: text with comments, escapes or huge numbers has none, and what a message interpolates and what a pattern
is are parts of the outline.
"""

from __future__ import annotations

import re

from tcrules.grammar.records import dataclass
from tcrules.grammar.words import PATTERN_FUNCTIONS

#: Longer statements are parsed one by one.
LONGEST = 20_000
# It begins with one set of characters, which `re` searches quickly, and asks afterwards what came before.
_CONSTANT = re.compile(
    r'(["0-9/](?:(?<=")[^"\n]*"|(?<=/)/|(?<=[0-9])(?<![A-Za-z0-9_.?$][0-9])'
    r"[0-9]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_])))"
)
_ID = re.compile(r"invariant[ \t\n]+([a-z][a-z0-9_]*(?:-[a-z0-9_]+){0,20})(?![A-Za-z0-9_-])")
_RULE = re.compile(
    r'(?>[^".0-9/A-Za-z_]++|[A-Za-z_][A-Za-z0-9_]*+|"[^"\n]*"|[0-9]++(?:\.[0-9]++)?+|/(?!/)){0,999}+\.'
)
_FLOAT = r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
#: Constants by the letter of their class.
_CLASSES = {
    "n": "([a-z][a-z0-9_]*(?:-[a-z0-9_]+){0,20})",
    "i": "([0-9]{1,18})",
    "f": _FLOAT,
    "e": _FLOAT,
    "s": r'("[^"\\\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")',
}
# Escapes, and characters that are faults in a string.
_ODD = re.compile(r"[\\\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_BEFORE_PATTERN = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(sorted(PATTERN_FUNCTIONS))})\s*\(\s*\Z")
_BEFORE_MESSAGE = re.compile(r"(?<![A-Za-z0-9_])message\s*\Z")


@dataclass(frozen=True, slots=True)
class Outline:
    """A statement's text cut into `pieces`, with `constants` between them; `classes` has a letter for each.

    Letters: `n` an id, `i` and `f` numbers, `e` a float with a signed exponent, `s` a string.
    """

    pieces: tuple[str, ...]
    constants: tuple[str, ...]
    classes: str

    @property
    def key(self) -> tuple[tuple[str, ...], str]:
        """Equal for statements that the scanner cuts and the parser reads alike."""
        return self.pieces, self.classes

    def places(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where messages and patterns stand among the constants."""
        strings = [place for place, kind in enumerate(self.classes) if kind == "s"]
        messages = tuple(place for place in strings if _BEFORE_MESSAGE.search(self.pieces[place]))
        return messages, tuple(place for place in strings if _BEFORE_PATTERN.search(self.pieces[place]))


def outline(text: str) -> Outline | None:
    """The outline of one statement, a rule or an invariant; None where its constants may matter."""
    if _ODD.search(text) is not None:
        return None
    start = _ID.match(text)
    at = start.end() if start is not None else 0
    parts = _CONSTANT.split(text[at:])
    constants, pieces = parts[1::2], parts[::2]
    classes = ["s" if c[0] == '"' else "i" if c.isdigit() else _class(c) for c in constants]
    if "/" in classes or any(len(c) > 18 for c, kind in zip(constants, classes, strict=True) if kind == "i"):
        return None
    if start is not None:
        constants, pieces, classes = (
            [start[1], *constants],
            [text[: start.start(1)], *pieces],
            ["n", *classes],
        )
    return Outline(tuple(pieces), tuple(constants), "".join(classes))


def _class(number: str) -> str:
    if number == "//" or float(number) == float("inf"):
        return "/"
    return "e" if "-" in number or "+" in number else "f"


class Form:
    """What statements of one outline look like; `following` is the form of the statement that came after it last.

    Files that are made by a program repeat their forms in a fixed order, so the next one is guessed and only compared.
    """

    __slots__ = ("_classes", "_pattern", "_pieces", "following", "kind")

    def __init__(self, kind: str, outline: Outline) -> None:
        self.kind, self._pieces, self._classes = kind, outline.pieces, outline.classes
        self.following: Form | None = None
        self._pattern: re.Pattern[str] | None = None

    def match(self, text: str, start: int) -> tuple[Outline, int] | None:
        """The outline of the statement at `start` and its end, if it surely has this form."""
        if self._pattern is None:
            first, *pieces = map(re.escape, self._pieces)
            pairs = zip(self._classes, pieces, strict=True)
            self._pattern = re.compile(
                first + "".join(_CLASSES[kind] + piece for kind, piece in pairs) + "(?![0-9])"
            )
        found = self._pattern.match(text, start, start + LONGEST)
        if found is None:
            return None
        constants = found.groups()
        for kind, constant in zip(self._classes, constants, strict=True):
            if kind in "fe" and (constant.isdigit() or _class(constant) != kind):
                return None
        return Outline(self._pieces, constants, self._classes), found.end()


def likely_end(text: str, start: int) -> int:
    """Where the statement at `start` ends if it is written as usual; -1 where that is not to be seen."""
    if text.startswith("invariant", start):
        end = text.find("\n}", start, start + LONGEST)
        return end + 2 if end >= 0 else -1
    found = _RULE.match(text, start, start + LONGEST)
    return found.end() if found is not None else -1
