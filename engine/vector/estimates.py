"""Estimates of relations' sizes, for join orders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine.ir import Atom
from tcrules.engine.vector.keys import distinct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.engine.ir import Body
    from tcrules.engine.vector.relation import Relation


@dataclass(frozen=True, slots=True)
class Estimates:
    """Numbers of facts, and of different values of a column as far as it costs little to know them."""

    relations: Mapping[str, Relation]
    #: Relations that are being derived; nobody knows how large they get.
    changing: set[str]
    _known: dict[tuple[str, int], float]
    #: Numbers of facts of relations that were not read; those without any are absent. None if they are unknown.
    unread: Mapping[str, int] | None

    def rows(self, name: str) -> float:
        if name in self.changing:
            return 4.0 * max([1, *(relation.size for relation in self.relations.values())])
        relation = self.relations.get(name)
        return float(relation.size if relation is not None else (self.unread or {}).get(name, 0))

    def empty(self, body: Body) -> bool:
        """Whether one of the observed relations that a body asks for is known to have no facts."""
        names = [one.predicate.name for one in body if isinstance(one, Atom) and one.predicate.observed]
        known = [name for name in names if name in self.relations or self.unread is not None]
        return any(not self.rows(name) for name in known)

    def distinct(self, name: str, column: int) -> float:
        if name in self.changing or name not in self.relations:
            return max(1.0, math.sqrt(self.rows(name)))
        key = (name, column)
        if key not in self._known:
            words = self.relations[name].columns()[column]
            self._known[key] = float(max(1, len(distinct(words))))
        return self._known[key]
