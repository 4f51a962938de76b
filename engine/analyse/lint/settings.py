"""Where rule files read parameters: what is said there depends on values that a project may change."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from tcrules.grammar import ast
from tcrules.grammar.molds import Stamp, nodes, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.analyse.symbols import SourceProgram


class Settings:
    """The places of parameters in files."""

    def __init__(self, programs: Iterable[SourceProgram]) -> None:
        self._places: dict[str, list[tuple[int, str]]] = {}
        reading: dict[str, bool] = {}
        for source in programs:
            found: list[tuple[int, str]] = []
            for part in parts_of(source.program.statements):
                if isinstance(part, Stamp):
                    if part.mold.name not in reading:
                        reading[part.mold.name] = any(_parameters(part.mold.made))
                    if reading[part.mold.name]:
                        found += _parameters(part.build())
                else:
                    found += _parameters(part)
            self._places[source.name] = sorted(found)

    def within(self, span: ast.Span) -> tuple[str, ...]:
        """Names of the parameters that are read within a span."""
        places = self._places.get(span.source)
        if not places:
            return ()
        first, last = bisect_left(places, (span.start, "")), bisect_left(places, (span.end, ""))
        return tuple(name for _, name in places[first:last])


def _parameters(statement: ast.Statement) -> list[tuple[int, str]]:
    found = (node for node in nodes(statement) if isinstance(node, ast.Parameter))
    return [(node.span.start, node.name) for node in found]
