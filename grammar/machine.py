"""The parser: runs the tables over the text of one statement and builds bottom-up, without lark.

The tables are those of lark's LALR parser with its contextual lexer, so both accept the same texts (a test compares
them). Where a text does not fit, lark reads it once more and tells what it expected.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar.tables import tables

if TYPE_CHECKING:
    from collections.abc import Callable

#: Tries to read a terminal at an offset: where it ends, or -1.
Reader: TypeAlias = "Callable[[str, int], int]"


class Token(str):
    """A terminal's text, with its name and its place."""

    __slots__ = ("end_pos", "start_pos", "type")
    type: str
    start_pos: int
    end_pos: int


class Unfit(Exception):
    """The text is not in the language."""


def run(text: str, start: str, builder: object) -> object:
    """Parse `text` with a start symbol: for each rule, its children are given to the builder's method of its name.

    Linear in the text. Raises `Unfit`.
    """
    found = tables()
    states, rules = found["states"], found["rules"]
    first, last = found["starts"][start]
    path, values = [first], list[object]()
    position = 0
    while True:
        scanner, actions = states[path[-1]]
        token = _next(text, position, scanner)
        kind = "$END" if token is None else token.type
        while (action := actions.get(kind)) is None or action < 0:
            if action is None:
                raise Unfit
            name, symbol, size, lists = rules[-1 - action]
            children = values[len(values) - size :]
            del values[len(values) - size :], path[len(path) - size :]
            for place in reversed(lists):
                children[place : place + 1] = children[place]
            values.append(getattr(builder, name)(children) if name else children)
            path.append(states[path[-1]][1][symbol])
            if token is None and path[-1] == last:
                return values[-1]
            actions = states[path[-1]][1]
        assert token is not None
        path.append(action)
        values.append(token)
        position = token.end_pos


def _next(text: str, position: int, scanner: int) -> Token | None:
    """The token at or behind `position`; None at the end."""
    while position < len(text):
        name, end = _read(text, position, scanner)
        if name:
            token = Token(text[position:end])
            token.type, token.start_pos, token.end_pos = name, position, end
            return token
        position = end
    return None


def _read(text: str, position: int, scanner: int) -> tuple[str, int]:
    for name, read in _readers(scanner, text[position]):
        end = read(text, position)
        if end >= 0:
            return name, end
    raise Unfit


@cache
def _readers(scanner: int, character: str) -> tuple[tuple[str, Reader], ...]:
    """The terminals that may begin with a character, in order; those that are ignored have no name."""
    found = tables()
    ignored = found["ignored"]
    return tuple(
        ("" if found["terminals"][number][0] in ignored else found["terminals"][number][0], _reader(number))
        for number in found["scanners"][scanner]
        if character in found["terminals"][number][3]
    )


@cache
def _reader(number: int) -> Reader:
    _, source, plain, _ = tables()["terminals"][number]
    if plain:
        return lambda text, position: position + len(source) if text.startswith(source, position) else -1
    match = re.compile(source).match

    def read(text: str, position: int) -> int:
        found = match(text, position)
        return -1 if found is None else found.end()

    return read
