"""Facts that better ones replaced.

Only proofs ask for them. So they are not kept; when one is asked for, its stratum is derived again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.vector.derive import derive
from tcrules.engine.vector.relation import Best, Derived
from tcrules.engine.vector.words import Words, decode

if TYPE_CHECKING:
    from tcrules.engine.ir import Fact, Predicate
    from tcrules.engine.vector.relation import Growing
    from tcrules.engine.vector.store import VectorStore


class Remembering(Best):
    """Keeps what was replaced: row numbers, values and rounds, for each round."""

    def __init__(self, width: int, direction: str) -> None:
        super().__init__(width, direction)
        self.past: list[tuple[Words, Words, Words]] = []

    def advance(self, round_: int) -> int:
        best, rounds = self._best.copy(), self._round.copy()
        found = super().advance(round_)
        old = self._improved.compress(self._improved < len(best))
        self.past.append((old, best.take(old), rounds.take(old)))
        return found

    def rows_of(self, numbers: Words) -> list[Words]:
        """The columns before the last one, for rows by number."""
        return self._rows.rows_of(numbers)


def replaced(store: VectorStore, predicate: Predicate) -> dict[Fact, int]:
    """The facts of a relation that better ones replaced, with the rounds in which they were found."""
    stratum = next(stratum for stratum in store.program.strata if predicate in stratum.predicates)
    again = store.branch(store.program)
    relations: dict[str, Growing] = {
        member.name: Remembering(len(member.columns), member.best)
        if member.best
        else Derived(len(member.columns))
        for member in stratum.predicates
    }
    again.filling = relations
    again.relations.update(relations)
    derive(again, stratum)
    relation = relations[predicate.name]
    assert isinstance(relation, Remembering), "only relations that keep the best fact replace any"
    found: dict[Fact, int] = {}
    for numbers, values, rounds in relation.past:
        words = [*relation.rows_of(numbers), values]
        columns = [
            decode(column, declared.type.base, store.texts)
            for column, declared in zip(words, predicate.columns, strict=True)
        ]
        found |= zip(zip(*columns, strict=True), rounds.tolist(), strict=True)
    return found
