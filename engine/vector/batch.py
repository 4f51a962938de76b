"""Bindings as columns, and what joins and sets need of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.vector.keys import Packer, key_table, ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.engine.ir import Var
    from tcrules.engine.vector.words import Mask, Words


@dataclass(frozen=True, slots=True)
class Batch:
    """`size` bindings; each variable has a column of words."""

    columns: Mapping[Var, Words]
    size: int

    def take(self, rows: Words | slice) -> Batch:
        """The bindings at some places, in their order."""
        if isinstance(rows, slice):
            return self
        return Batch({name: column.take(rows) for name, column in self.columns.items()}, len(rows))

    def where(self, mask: Mask) -> Batch:
        """The bindings for which the mask is true."""
        kept = int(np.count_nonzero(mask))
        if kept == self.size:
            return self
        return Batch({name: column.compress(mask) for name, column in self.columns.items()}, kept)

    def only(self, wanted: Iterable[Var]) -> Batch:
        """Some of the variables; bindings may then be equal."""
        return Batch({name: self.columns[name] for name in wanted}, self.size)

    def list(self, wanted: Sequence[Var]) -> list[Words]:
        """Columns in a given order."""
        return [self.columns[name] for name in wanted]


def joined(batches: Sequence[Batch], wanted: Sequence[Var]) -> Batch:
    """All bindings of several batches."""
    if len(batches) == 1:
        return batches[0].only(wanted)
    columns = {
        name: np.concatenate([batch.columns[name] for batch in batches]) if batches else np.empty(0, np.int64)
        for name in wanted
    }
    return Batch(columns, sum(batch.size for batch in batches))


def numbered(columns: Sequence[Words], size: int) -> tuple[Words, int]:
    """Numbers from 0 on that are equal where rows are equal, and how many there are."""
    keys = Packer.for_ranges(ranges_of(list(columns)))
    packed = keys.pack(list(columns), size)
    table = key_table(keys.bits, size)
    table.add(packed)
    return table.find(packed).astype(np.int64), table.count


def first_of_each(columns: Sequence[Words], size: int) -> Words:
    """Places of rows such that each different row is met once."""
    numbers, count = numbered(columns, size)
    places = np.empty(count, np.int64)
    places[numbers[::-1]] = np.arange(size - 1, -1, -1)
    return places


def first_within(groups: Words, most: int) -> Words:
    """Places of the first `most` rows of each group."""
    order = np.argsort(groups, kind="stable")
    ordered = groups.take(order)
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(groups) else order
    sizes = np.diff(np.append(begins, len(groups)))
    place = np.arange(len(groups)) - np.repeat(begins, sizes)
    return np.sort(order.compress(place < most))


class Seen:
    """Bindings that have come by: lets each pass once."""

    def __init__(self, variables: Sequence[Var]) -> None:
        from tcrules.engine.vector.relation import Derived

        self._variables = list(variables)
        self._facts = Derived(len(self._variables))

    def new(self, batch: Batch) -> Batch:
        """The bindings of the batch that have not been seen, each once."""
        self._facts.add(batch.list(self._variables), batch.size)
        size = self._facts.advance(0)
        delta = self._facts.delta()
        return Batch(dict(zip(self._variables, delta, strict=True)), size)
