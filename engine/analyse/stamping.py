"""Statements of one mold are analysed once: passes see the mold's statement, and what they make of it is cast for all.

Analysis looks at constants only where `molds.py` keeps them apart, so the result is the same. Where the mold's
statement has a fault or a warning, or stands beside one, its stamps are built and go through the passes one by one:
messages show constants and places.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from tcrules.engine import ir
from tcrules.engine.analyse.symbols import SourceProgram
from tcrules.engine.show import show_value
from tcrules.grammar import ast
from tcrules.grammar.molds import Stamp, parts_of
from tcrules.grammar.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.grammar.diagnostics import Diagnostic

Part: TypeAlias = "ast.Statement | Stamp"
Placed = TypeVar("Placed", ir.Rule, ir.Invariant)


@dataclass(frozen=True, slots=True)
class Stamped:
    """Programs in which the stamps of some molds are represented by the mold's statement.

    `groups` are these stamps, by the name of their mold; the names in `order` are those of the files.
    """

    programs: tuple[SourceProgram, ...]
    groups: dict[str, list[Stamp]]
    order: tuple[str, ...]

    def concerned(self, diagnostics: Iterable[Diagnostic]) -> frozenset[str]:
        """Molds that a diagnostic points at."""
        places = (label.span.source for diagnostic in diagnostics for label in diagnostic.labels)
        return frozenset(place for place in places if place in self.groups)

    def expand(self, program: ir.Program) -> ir.Program:
        """The program with the rules and invariants of all stamps in the place of those of their mold."""
        if not self.groups:
            return program
        strata = tuple(replace(stratum, rules=self._all(stratum.rules)) for stratum in program.strata)
        return replace(program, strata=strata, invariants=self._all(program.invariants))

    def _all(self, made: Sequence[Placed]) -> tuple[Placed, ...]:
        found: list[Placed] = []
        for item in made:
            stamps = self.groups.get(item.span.source)
            if stamps is None:
                found.append(item)
            else:
                cast = stamps[0].mold.caster(item, show_value)
                found += map(cast, stamps)
        if len(found) > len(made):
            files = {name: place for place, name in enumerate(self.order)}
            found.sort(key=lambda item: (files[item.span.source], item.span.start))
        return tuple(found)


def stamped(
    programs: Sequence[SourceProgram], parameters: Mapping[str, ast.Constant], apart: frozenset[str]
) -> Stamped:
    """Programs in which stamps are represented by the statement of their mold, except those of the molds in `apart`."""
    names = tuple(source.name for source in programs)
    parts = [parts_of(source.program.statements) for source in programs]
    stamps = [part for some in parts for part in some if isinstance(part, Stamp)]
    if not stamps or len(set(names)) < len(names):
        return Stamped(tuple(programs), {}, names)
    unfit = apart | _ambiguous(stamps, parts) | _confusable(stamps, parts, parameters)
    groups: dict[str, list[Stamp]] = {}
    reduced = []
    for source, some in zip(programs, parts, strict=True):
        kept: list[ast.Statement] = []
        for part in some:
            if not isinstance(part, Stamp):
                kept.append(part)
            elif part.mold.name in unfit:
                kept.append(part.build())
            else:
                if part.mold.name not in groups:
                    kept.append(part.mold.made)
                groups.setdefault(part.mold.name, []).append(part)
        reduced.append(SourceProgram(source.name, ast.Program(tuple(kept))))
    return Stamped(tuple(reduced), groups, names)


def _ambiguous(stamps: Sequence[Stamp], parts: Sequence[Sequence[Part]]) -> set[str]:
    """Molds of stamps whose id is given twice."""
    plain = (p.id for some in parts for p in some if isinstance(p, ast.Invariant | ast.Template))
    given = Counter(stamp.id for stamp in stamps)
    given.update(plain)
    return {stamp.mold.name for stamp in stamps if stamp.id and given[stamp.id] > 1}


def _confusable(
    stamps: Sequence[Stamp], parts: Sequence[Sequence[Part]], parameters: Mapping[str, ast.Constant]
) -> set[str]:
    """Molds of which a mark is also the value of a parameter."""
    values = [part.default for some in parts for part in some if isinstance(part, ast.ParameterDeclaration)]
    values += (given.value for given in parameters.values())
    marks = {(type(value), value) for value in values}
    return {stamp.mold.name for stamp in stamps if stamp.mold.marks & marks} if marks else set()
