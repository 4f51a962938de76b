"""Compiles whatever was made of a mold to a function that makes the same of any statement with its outline.

The function is straight code, one line for each object in which statements differ: nested calls of one function for
each node took three times as long, and ten thousand rules have half a million nodes.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.grammar.ast import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tcrules.grammar.ast import Value

    Show: TypeAlias = Callable[[Value], str]

#: Stand for the docs and the comments of a statement.
DOC, COMMENT = "\ue0f2doc\ue0f3", "\ue0f2comment\ue0f3"
#: How the text of a constant becomes its value, by its class.
_VALUES = {"s": "{}[1:-1]", "n": "{}", "i": "int({})"}
_BEGIN = """def cast(stamp):
 span = stamp.span
 source, start, line, column = span.source, span.start, span.line, span.column
 [{constants}] = stamp.constants
 w0 = 0"""


class Layout:
    """Where the constants of a mold's text stand: offsets in it become places in any other text of its outline."""

    def __init__(self, pieces: Sequence[str], constants: Sequence[str]) -> None:
        self._widths = (0, *accumulate(map(len, constants)))
        between = accumulate(map(len, pieces))
        #: Of the mold's text.
        self.length = sum(map(len, pieces)) + self._widths[-1]
        self._ends = [width + text for width, text in zip(self._widths[1:], between, strict=False)]

    def moved(self, offset: int) -> tuple[int, int]:
        """An offset as if constants had no width, and the number of constants before it."""
        before = bisect_right(self._ends, offset)
        return offset - self._widths[before], before


class Casting:
    """Writes and compiles one function.

    `name` is the source of the mold's spans, `classes` its constants; `values` says which expression over the values
    `v0, v1, ...` of the constants stands for a marked value. Texts show marked values as `show` does.
    """

    def __init__(
        self,
        name: str,
        classes: str,
        layout: Layout,
        values: Mapping[tuple[type, Value], str],
        show: Show | None = None,
    ) -> None:
        self._name, self._layout, self._values = name, layout, values
        self._scope: dict[str, Any] = {"Span": Span, "show": show}
        self._kept: dict[int, str] = {}
        self._lines: dict[str, str] = {}
        constants = ", ".join(f"c{place}" for place in range(len(classes)))
        self._first = [_BEGIN.format(constants=constants)] + [
            f" v{place} = {_VALUES.get(kind, 'float({})').format(f'c{place}')}; w{place + 1} = w{place} + len(c{place})"
            for place, kind in enumerate(classes)
        ]
        shown = (
            [] if show is None else [(show(value), f"show({code})") for (_, value), code in values.items()]
        )
        self._shown = sorted(shown, key=lambda pair: -len(pair[0]))

    def compiled(self, made: object) -> Callable[[Any], Any]:
        """The function: what `made` is for the mold, for a stamp."""
        result = self._of(made)
        if result is None:
            return lambda _: made
        lines = [f" {name} = {code}" for code, name in self._lines.items()]
        exec("\n".join([*self._first, *lines, f" return {result}"]), self._scope)
        cast: Callable[[Any], Any] = self._scope["cast"]
        return cast

    def _of(self, made: object) -> str | None:
        """The variable that holds what stands for `made`; None where statements do not differ in it."""
        if isinstance(made, Span):
            return self._place(made) if made.source == self._name else None
        if isinstance(made, str | int | float):
            return self._constant(made)
        if isinstance(made, tuple):
            return self._tuple(made)
        names = getattr(made, "__match_args__", None)
        parts = None if names is None else self._parts([getattr(made, name) for name in names])
        return None if parts is None else self._line(f"{self._keep(type(made))}({parts})")

    def _constant(self, made: Value) -> str | None:
        code = self._values.get((type(made), made))
        if code is not None:
            return code if code.isalnum() else self._line(code)
        if made == DOC:
            return self._line('"\\n".join(stamp.doc)')
        if isinstance(made, str) and any(shown in made for shown, _ in self._shown):
            return self._line(self._quoting(made, self._shown))
        return None

    def _quoting(self, text: str, shown: Sequence[tuple[str, str]]) -> str:
        """The expression for a text that shows constants."""
        if not shown:
            return self._keep(text)
        mark, code = shown[0]
        return f" + {code} + ".join(self._quoting(part, shown[1:]) for part in text.split(mark))

    def _tuple(self, made: tuple[object, ...]) -> str | None:
        if made == (DOC,):
            return self._line("stamp.doc")
        if made == (COMMENT,):
            return self._line("stamp.comments")
        parts = self._parts(made)
        return None if parts is None else self._line(f"({parts},)")

    def _parts(self, values: Sequence[object]) -> str | None:
        """The values as arguments; None where none of them differs."""
        found = [self._of(value) for value in values]
        if not any(found):
            return None
        return ", ".join(new or self._keep(old) for new, old in zip(found, values, strict=True))

    def _place(self, span: Span) -> str:
        if (span.start, span.end) == (0, self._layout.length):
            return "span"
        (start, before), (end, within) = map(self._layout.moved, (span.start, span.end))
        begin = self._line(f"start + {start} + w{before}")
        if span.line == 1:
            column = f"column + {start} + w{before}"
        else:
            left, outside = self._layout.moved(span.start - span.column + 1)
            column = f"{start - left + 1} + w{before} - w{outside}"
        line = self._line(f"line + {span.line - 1}")
        return self._line(f"Span(source, {begin}, start + {end} + w{within}, {line}, {column})")

    def _keep(self, value: object) -> str:
        """The name of an object that all share."""
        name = self._kept.setdefault(id(value), f"k{len(self._kept)}")
        self._scope[name] = value
        return name

    def _line(self, code: str) -> str:
        """The variable that holds the value of an expression, which is evaluated once."""
        return self._lines.setdefault(code, f"x{len(self._lines)}")
