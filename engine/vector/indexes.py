"""Indexes of relations to which facts are added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.ir import Const, Term, Var
from tcrules.engine.vector.index import Index, index_rows
from tcrules.engine.vector.stream import matching

if TYPE_CHECKING:
    from tcrules.engine.vector.relation import Relation
    from tcrules.engine.vector.words import Texts, Words


def pattern(terms: tuple[Term, ...]) -> tuple[object, ...]:
    """What an atom asks for, whatever its variables are called."""
    numbers: dict[Var, int] = {}
    return tuple(
        (type(term.value), repr(term.value))
        if isinstance(term, Const)
        else (numbers.setdefault(term, len(numbers)) if isinstance(term, Var) else None)
        for term in terms
    )


@dataclass(slots=True)
class Indexes:
    """Indexes over a relation to which facts are added: a few, each about twice as large as the next."""

    relation: Relation
    terms: tuple[Term, ...]
    keys: tuple[int, ...]
    texts: Texts
    version: int = -1
    _covered: int = 0
    _parts: list[Index] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.version = self.relation.version

    def current(self) -> list[Index]:
        """Indexes that hold all facts."""
        size = self.relation.size
        if size > self._covered or not self._parts:
            found = self.relation.columns(self._covered)
            _, columns, rows = matching(self.terms, found, size - self._covered, self.texts)
            self._covered = size
            if rows or not self._parts:
                self._append(columns, rows)
        return self._parts

    def _append(self, columns: list[Words], rows: int) -> None:
        while self._parts and (last := _rows(self._parts[-1])) <= 2 * rows:
            gone = self._parts.pop()
            columns = [np.concatenate(pair) for pair in zip(gone.columns, columns, strict=True)]
            rows += last
        self._parts.append(index_rows(columns, list(self.keys), rows))


def _rows(index: Index) -> int:
    return int(index.starts[-1])
