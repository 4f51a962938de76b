"""Statements of one outline are parsed once, and analysed once.

A `Mold` is a statement with a mark in the place of each constant. Whatever is made of it, its tree or what analysis
makes of the tree, `casting.py` compiles to a function that makes the same of any statement with that outline. A `Stamp`
is a statement that was recognised and is not built before somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from tcrules.grammar import ast
from tcrules.grammar.casting import COMMENT, DOC, Casting, Layout
from tcrules.grammar.records import collector_paused, replace
from tcrules.grammar.words import message_parts, quote, unquote

if TYPE_CHECKING:
    from tcrules.grammar.ast import Span, Statement, Value
    from tcrules.grammar.casting import Show
    from tcrules.grammar.outlines import Outline

#: Names of molds begin so where names of files are expected; no file is called so.
_MOLD = "\0mold "
_numbers = count(1)
_INTEGER = 1_000_000_007_000_000_000
Parse: TypeAlias = "Callable[[str, str], Statement | None]"


class Stamp:
    """A statement that is not built yet: the texts of its constants, and its place."""

    __slots__ = ("comments", "constants", "doc", "mold", "span")

    def __init__(self, mold: Mold, constants: tuple[str, ...], span: Span) -> None:
        self.mold, self.constants, self.span = mold, constants, span
        self.doc: tuple[str, ...] = ()
        self.comments: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id of an invariant; empty for a rule."""
        return self.constants[0] if self.mold.outline.classes[:1] == "n" else ""

    def build(self) -> Statement:
        """The tree."""
        built: Statement = self.mold.tree(self)
        return built


class Mold:
    """The common form of statements; `statement` is its tree, with marks, in a source of its own called `name`."""

    def __init__(self, outline: Outline, parse: Parse) -> None:
        number = next(_numbers)
        self.name = f"{_MOLD}{number}"
        self.outline = outline
        fixed = frozenset(outline.places()[1])
        texts = [
            constant if place in fixed else _mark(kind, constant, place, number)
            for place, (kind, constant) in enumerate(zip(outline.classes, outline.constants, strict=True))
        ]
        self._sources = _sources(outline, texts, fixed)
        self._layout = Layout(outline.pieces, texts)
        text = "".join(part for pair in zip(outline.pieces, (*texts, ""), strict=True) for part in pair)
        parsed = parse(text, self.name)
        self.statement = parsed
        if isinstance(parsed, ast.Rule | ast.Invariant):
            self.statement = replace(parsed, doc=(DOC,), comments=(COMMENT,))
        self.usable = self.statement is not None and not any(map(_matters, nodes(self.statement)))
        self._negated = self._signs() if self.usable else frozenset()

    @cached_property
    def tree(self) -> Callable[[Stamp], Any]:
        """The function that builds the tree of a stamp."""
        return self.caster(self.made)

    @property
    def made(self) -> Statement:
        """The statement; only of a usable mold."""
        assert self.statement is not None, "the mold is not usable"
        return self.statement

    @property
    def marks(self) -> frozenset[tuple[type, Value]]:
        """The values that stand for constants."""
        return frozenset(self._sources)

    def fits(self, constants: tuple[str, ...]) -> bool:
        """Whether a statement can be cast: a zero behind a sign loses it when it is analysed."""
        return all(float(constants[place]) != 0 for place in self._negated)

    def caster(self, made: object, show: Show | None = None) -> Callable[[Stamp], Any]:
        """The function that makes `made`, which was made of the mold's statement, of another statement.

        `show` is how texts in `made` show constants.
        """
        return Casting(self.name, self.outline.classes, self._layout, self._sources, show).compiled(made)

    def _signs(self) -> frozenset[int]:
        """Constants that stand behind a sign."""
        values = {(type(n.value), n.value) for n in nodes(self.statement) if isinstance(n, ast.Constant)}
        kinds = enumerate(self.outline.classes)
        return frozenset(
            place for place, kind in kinds if kind in "ife" and values & set(_negative_marks(kind, place))
        )


class Molds:
    """The molds of one file. `parse` gives the tree of a text in a source of a given name; None where it is faulty."""

    def __init__(self, parse: Parse) -> None:
        self.parse = parse
        self._places: dict[object, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._molds: dict[object, Mold | None] = {}

    def stamp(self, outline: Outline, span: Span) -> Stamp | None:
        """The statement as a stamp; None where it must be parsed: the first of its kind, and what does not fit."""
        key = self._key(outline)
        if key not in self._molds:
            self._molds[key] = None
            return None
        mold = self._molds[key]
        if mold is None:
            mold = self._molds[key] = Mold(outline, self.parse)
        return Stamp(mold, outline.constants, span) if mold.usable and mold.fits(outline.constants) else None

    def _key(self, outline: Outline) -> object:
        """The outline with what analysis reads of the constants: what messages interpolate, and patterns."""
        places = self._places.get(outline.key)
        if places is None:
            places = self._places[outline.key] = outline.places()
        messages, patterns = places
        read = [tuple(message_parts(outline.constants[place])) for place in messages]
        return outline.key, tuple(read), tuple([outline.constants[place] for place in patterns])


# ------------------------------------------------------------------------------------------------ marks


def _mark(kind: str, constant: str, place: int, number: int) -> str:
    """The text that stands for a constant: no other constant, and nothing computed of it, has its value."""
    if kind == "n":
        return f"mold-{number}-7f3a9c1e"
    if kind == "i":
        return str(_INTEGER + place * 65_536)
    if kind in "fe":
        return f"{place + 1}.5e{'+' if kind == 'e' else ''}200"
    return quote(" ".join([f"A \ue0f0{place}\ue0f1 z", *message_parts(constant)]))


def _negative_marks(kind: str, place: int) -> Iterator[tuple[type, Value]]:
    text = _mark(kind, "", place, 0)
    if kind == "i":
        yield int, -int(text)
    yield float, -float(text)


def _sources(outline: Outline, texts: list[str], fixed: frozenset[int]) -> dict[tuple[type, Value], str]:
    """What a marked value is made of: a constant, as it is, as a float, or negative; see `Casting`."""
    found: dict[tuple[type, Value], str] = {}
    for place, (kind, text) in enumerate(zip(outline.classes, texts, strict=True)):
        if place in fixed:
            continue
        if kind in "ns":
            found[str, unquote(text) if kind == "s" else text] = f"v{place}"
            continue
        if kind == "i":
            found[int, int(text)] = f"v{place}"
            found[int, -int(text)] = f"-v{place}"
        found[float, float(text)] = f"float(v{place})"
        found[float, -float(text)] = f"-float(v{place})"
    return found


# ------------------------------------------------------------------------------------------------ what matters


def nodes(root: object) -> Iterator[object]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting += node
        elif not isinstance(node, ast.Span) and (names := getattr(node, "__match_args__", None)) is not None:
            yield node
            waiting += [getattr(node, name) for name in names]


def _matters(node: object) -> bool:
    """Constants below this node are looked at by analysis: it computes with them, or compares annotations."""
    if isinstance(node, ast.Annotation):
        return any(not isinstance(word, str) or "\ue0f0" in word for word in node.arguments)
    return isinstance(node, ast.Operation | ast.Negative | ast.Apply) and _settled(node)


def _settled(node: ast.Expression) -> bool:
    """The value of an expression is known without facts."""
    if isinstance(node, ast.Operation):
        return _settled(node.left) and _settled(node.right)
    if isinstance(node, ast.Negative):
        return _settled(node.operand)
    if isinstance(node, ast.Apply):
        return all(map(_settled, node.arguments))
    return isinstance(node, ast.Constant | ast.Parameter)


# ------------------------------------------------------------------------------------------------ sequences


class Statements(Sequence["Statement"]):
    """The statements of a file, built when they are first looked at; `parts` are those that are, and stamps."""

    __slots__ = ("_built", "parts")

    def __init__(self, parts: Sequence[Statement | Stamp]) -> None:
        self.parts = tuple(parts)
        self._built: tuple[Statement, ...] | None = None

    def _all(self) -> tuple[Statement, ...]:
        if self._built is None:
            with collector_paused():
                self._built = tuple(
                    [part.build() if isinstance(part, Stamp) else part for part in self.parts]
                )
        return self._built

    @overload
    def __getitem__(self, index: int) -> Statement: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Statement, ...]: ...
    def __getitem__(self, index: int | slice) -> Statement | tuple[Statement, ...]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Statement]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self.parts)

    def __eq__(self, other: object) -> bool:
        return self._all() == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return tuple, (self._all(),)


def parts_of(statements: Sequence[Statement]) -> Sequence[Statement | Stamp]:
    """The statements of a file with those that are not built yet as stamps."""
    return statements.parts if isinstance(statements, Statements) else statements
