"""Where names stand in a text of rules. Works on words, so that a text with faults has names, too."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from tcrules.engine.values import FUNCTIONS
from tcrules.grammar.scan import Source, scan
from tcrules.names import AGGREGATES

_TOKEN = re.compile(
    r"""(?P<comment>(?<![A-Za-z0-9_)])//[^\n]*|//(?![A-Za-z0-9_($?-])[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"?)
      | (?P<id>(?:(?<=invariant\s)|(?<=template\s)|(?<=suppress\s))\s*[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*)
      | (?P<word>[?$@]?[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>:-|<:|[^\s])""",
    re.VERBOSE,
)
_HOLE = re.compile(r"\{([A-Z][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name at a place.

    Attributes:
        kind: relation, column, variable, metavariable, parameter, type, rule or function.
        name: without `$` and `?`.
        start, end: offsets of the name itself.
        statement: number of the statement; variables of different statements have nothing in common.
        owner: the relation of a column.
        defines: the name is declared or derived here.
    """

    kind: str
    name: str
    start: int
    end: int
    statement: int
    owner: str = ""
    defines: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    kind: str


@lru_cache(maxsize=64)
def occurrences(text: str) -> tuple[Occurrence, ...]:
    """All names in order. O(characters)."""
    chunks = scan(Source(text, ""), outlines=False).chunks
    starts = [chunk.start for chunk in chunks]
    tokens = [
        _Token(match.group().strip(), match.end() - len(match.group().strip()), match.lastgroup or "")
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "comment"
    ]
    found: list[Occurrence] = []
    owners: list[str] = []
    statement = -1
    for place, token in enumerate(tokens):
        number = max(0, bisect_right(starts, token.start) - 1)
        if number != statement:
            statement, owners = number, []
        kind = chunks[number].kind if chunks else "rule"
        before = tokens[place - 1].text if place else ""
        after = tokens[place + 1].text if place + 1 < len(tokens) else ""
        first = bool(chunks) and token.start == starts[number]
        if token.text in ("(", "{"):
            owners.append(before if token.text == "(" else "")
        elif token.text in (")", "}") and owners:
            owners.pop()
        elif token.kind == "string":
            found += [
                Occurrence(
                    "variable", hole.group(1), token.start + hole.start(1), token.start + hole.end(1), number
                )
                for hole in _HOLE.finditer(token.text)
                if kind in ("invariant", "template")
            ]
        elif token.kind == "id":
            found.append(_named("rule", token, number, defines=kind != "suppress"))
        elif token.kind == "word":
            occurrence = _word(token, before, after, owners[-1] if owners else "", kind, number, first)
            found += [occurrence] if occurrence is not None else []
    return tuple(found)


def _word(
    token: _Token, before: str, after: str, owner: str, statement: str, number: int, first: bool
) -> Occurrence | None:
    text = token.text
    if text[0] in "?$":
        kind = "metavariable" if text[0] == "?" else "parameter"
        return Occurrence(
            kind, text[1:], token.start + 1, token.start + len(text), number, defines=after == ":"
        )
    if text[0].isupper():
        return _named("variable", token, number)
    if before in ("relation", "type", "param") and before == statement and not owner:
        kind = "parameter" if before == "param" else before
        return _named(kind, token, number, defines=True)
    declares = statement in ("relation", "param", "template", "type")
    if before == "<:" or (before == ":" and declares and after != "("):
        return _named("type", token, number)
    if after == "(":
        if text in FUNCTIONS:
            return _named("function", token, number)
        if text in AGGREGATES:
            return None
        return _named("relation", token, number, defines=first and statement == "rule")
    if after == ":" and owner:
        return Occurrence(
            "column",
            text,
            token.start,
            token.start + len(text),
            number,
            owner,
            defines=statement == "relation",
        )
    return None


def _named(kind: str, token: _Token, number: int, *, defines: bool = False) -> Occurrence:
    return Occurrence(kind, token.text, token.start, token.start + len(token.text), number, defines=defines)


def at(text: str, offset: int) -> Occurrence | None:
    """The name that an offset touches."""
    return next((o for o in occurrences(text) if o.start <= offset <= o.end), None)


def same(text: str, wanted: Occurrence, *, here: bool) -> list[Occurrence]:
    """The occurrences of a name in a text; `here`: it is the text that `wanted` is from."""
    local = wanted.kind in ("variable", "metavariable")
    return [
        found
        for found in occurrences(text)
        if (found.kind, found.name, found.owner) == (wanted.kind, wanted.name, wanted.owner)
        and (not local or (here and found.statement == wanted.statement))
    ]
