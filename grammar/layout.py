"""Documents that choose their line breaks: the small part of Wadler's "A prettier printer" that tcr needs."""

from __future__ import annotations

from typing import TypeAlias

from tcrules.grammar.records import dataclass

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Break:
    """`flat` where the group around it fits on the line, else a new line. Hard breaks never fit."""

    flat: str = " "
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Nest:
    """Breaks inside indent by `by` more."""

    by: int
    doc: Doc


@dataclass(frozen=True, slots=True)
class Align:
    """Breaks inside return to the column where this begins."""

    doc: Doc


@dataclass(frozen=True, slots=True)
class Group:
    """All breaks directly inside are flat, or all are new lines."""

    doc: Doc


Doc: TypeAlias = str | Break | Nest | Align | Group | tuple["Doc", ...]
_Work: TypeAlias = list[tuple[int, bool, Doc]]

LINE = Break()
HARD = Break(hard=True)


def join(separator: Doc, items: tuple[Doc, ...] | list[Doc]) -> Doc:
    """`items` with `separator` between them."""
    out: list[Doc] = []
    for item in items:
        out += [separator, item] if out else [item]
    return tuple(out)


def fill(items: tuple[Doc, ...] | list[Doc]) -> Doc:
    """`items` separated by commas, as many in a line as fit.

    >>> layout(fill(["aa", "bb", "cc"]), 7)
    'aa, bb,\\ncc'
    """
    return tuple(item if index == 0 else (",", Group((LINE, item))) for index, item in enumerate(items))


def layout(doc: Doc, width: int = WIDTH) -> str:
    """The text of `doc` in lines of at most `width` where its breaks allow that.

    >>> layout(Group(("a,", LINE, "b")), 10), layout(Group(("a,", LINE, "b")), 3)
    ('a, b', 'a,\\nb')
    """
    out: list[str] = []
    column = 0
    work: _Work = [(0, False, doc)]
    while work:
        indent, flat, item = work.pop()
        if isinstance(item, str):
            out.append(item)
            column += len(item)
        elif isinstance(item, Break):
            if flat:
                out.append(item.flat)
                column += len(item.flat)
            else:
                while out and out[-1].strip(" ") == "":  # no blanks at the end of a line
                    out.pop()
                if out:
                    out[-1] = out[-1].rstrip(" ")
                out += ["\n", " " * indent]
                column = indent
        elif isinstance(item, Group):
            work.append((indent, flat or _fits(width - column, indent, item.doc, work), item.doc))
        else:
            _unfold(work, indent, flat, item, column)
    return "".join(out)


def _unfold(work: _Work, indent: int, flat: bool, item: Doc, column: int) -> None:
    if isinstance(item, tuple):
        work += [(indent, flat, part) for part in reversed(item)]
    elif isinstance(item, Nest):
        work.append((indent + item.by, flat, item.doc))
    elif isinstance(item, Align):
        work.append((column, flat, item.doc))


def _fits(room: int, indent: int, doc: Doc, rest: _Work) -> bool:
    """Whether `doc`, flat, and what follows it up to the next possible break go into `room` columns."""
    work: _Work = [(indent, True, doc)]
    following = len(rest)
    while room >= 0:
        if not work:
            if following == 0:
                return True
            following -= 1
            work.append(rest[following])
        _, flat, item = work.pop()
        if isinstance(item, str):
            room -= len(item)
        elif isinstance(item, Break):
            if item.hard and flat:
                return False
            if not flat:
                return True
            room -= len(item.flat)
        elif isinstance(item, tuple):
            work += [(indent, flat, part) for part in reversed(item)]
        elif isinstance(item, Group | Nest | Align):
            work.append((indent, flat, item.doc))
    return False
