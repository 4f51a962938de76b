"""Facts of a relation as columns of words: observed ones, derived sets, and relations that keep the best fact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from tcrules.engine.vector.keys import KeyTable, Packer, distinct, key_table, ranges_of, widened

if TYPE_CHECKING:
    from tcrules.engine.vector.words import Words


class Relation(Protocol):
    """Facts in the order of their arrival. Facts found in one round arrive together."""

    size: int
    #: Changes whenever facts that were there have changed; facts that come after them do not count.
    version: int

    def columns(self, start: int = 0) -> list[Words]:
        """The facts from place `start` on."""
        ...

    def numbers(self) -> Words:
        """The round in which each fact was found; the ids of observed ones."""
        ...


class Growing(Relation, Protocol):
    """A relation that rules fill."""

    def add(self, columns: list[Words], size: int) -> None:
        """Take in facts; they are seen after the next `advance`."""
        ...

    def advance(self, round_: int) -> int:
        """Show the facts that were added; how many are new or better."""
        ...

    def held(self) -> int:
        """Number of facts, those included that are not shown yet."""
        ...

    def delta(self) -> list[Words]:
        """The facts that the last `advance` showed or changed."""
        ...


class Observed:
    """Given facts; they may repeat."""

    def __init__(self, columns: list[Words], size: int, ids: Words | None = None) -> None:
        self.size = size
        self.version = 0
        self._columns = columns
        self._ids = ids

    def columns(self, start: int = 0) -> list[Words]:
        return [column[start:] for column in self._columns] if start else self._columns

    def numbers(self) -> Words:
        return np.arange(1, self.size + 1) if self._ids is None else self._ids


class _Keys:
    """Distinct rows, numbered; the packing grows with the ranges of the words."""

    def __init__(self, width: int) -> None:
        self.packer = Packer()
        self.table: KeyTable = key_table(0)
        self.parts: list[Words] = []
        self._ranges: list[tuple[int, int]] | None = None if width else []

    def keys(self, columns: list[Words], size: int) -> Words:
        """Keys of rows; before they are made, the packing is changed if it must be."""
        ranges = ranges_of(columns)
        if self._ranges is None:
            self._pack_anew(ranges)
        elif not self.packer.fits(ranges):
            self._pack_anew(widened(self._ranges, ranges))
        return self.packer.pack(columns, size)

    def _pack_anew(self, ranges: list[tuple[int, int]]) -> None:
        old, parts = self.packer, self.parts
        self._ranges, self.packer = ranges, Packer.for_ranges(ranges)
        self.table = key_table(self.packer.bits, self.table.count)
        self.parts = []
        if parts:
            rows = np.concatenate(parts)
            self.parts = [self.packer.pack(old.unpack(rows), len(rows))]
            self.table.fill(self.parts[0])

    def add(self, columns: list[Words], size: int) -> int:
        """The number of rows that are new."""
        keys = self.keys(columns, size)  # may change the table
        new = self.table.add(keys)
        if len(new):
            self.parts.append(new)
        return len(new)

    def rows(self, start: int) -> list[Words]:
        """Columns of the rows with numbers from `start` on."""
        kept: list[Words] = []
        missing = self.table.count - start
        for part in reversed(self.parts):
            if missing <= 0:
                break
            kept.append(part[-missing:] if missing < len(part) else part)
            missing -= len(part)
        kept.reverse()
        if not kept:
            return [np.empty(0, np.int64) for _ in self.packer.fields]
        return self.packer.unpack(np.concatenate(kept) if len(kept) > 1 else kept[0])

    def rows_of(self, numbers: Words) -> list[Words]:
        """Columns of the rows with these numbers."""
        if len(self.parts) > 1:
            self.parts = [np.concatenate(self.parts)]
        return self.packer.unpack(self.parts[0].take(numbers)) if self.parts else self.rows(0)


class Derived:
    """A set of facts; a fact that is added again is dropped at once."""

    def __init__(self, width: int) -> None:
        self.size = 0
        self.version = 0
        self._width = width
        self._rows = _Keys(width)
        #: Sizes after each round that found something, with the round.
        self._history: list[tuple[int, int]] = []
        self._before = 0

    def add(self, columns: list[Words], size: int) -> None:
        if size:
            self._rows.add(columns, size)

    def held(self) -> int:
        return self._rows.table.count

    def advance(self, round_: int) -> int:
        self._before = self.size
        new = self._rows.table.count - self.size
        self.size += new
        if new:
            self._history.append((self.size, round_))
        return new

    def columns(self, start: int = 0) -> list[Words]:
        if not self._rows.parts:
            return [np.empty(0, np.int64) for _ in range(self._width)]
        pending = self._rows.table.count - self.size
        found = self._rows.rows(start)
        return [column[: len(column) - pending] for column in found] if pending else found

    def delta(self) -> list[Words]:
        return self.columns(self._before)

    def numbers(self) -> Words:
        sizes = np.diff([0, *(size for size, _ in self._history)])
        return np.repeat(np.array([round_ for _, round_ in self._history], np.int64), sizes)


class Best:
    """For each row of the columns before it the smallest or largest word of the last column."""

    def __init__(self, width: int, direction: str) -> None:
        self.size = 0
        self.version = 0
        self._width = width
        self._rows = _Keys(width - 1)
        self._better = np.minimum if direction == "min" else np.maximum
        self._smaller = direction == "min"
        self._best: Words = np.empty(0, np.int64)
        self._round: Words = np.empty(0, np.int64)
        self._pending: list[tuple[Words, Words]] = []
        self._improved: Words = np.empty(0, np.int64)

    def add(self, columns: list[Words], size: int) -> None:
        if not size:
            return
        *rows, values = columns
        keys = self._rows.keys(rows, size)
        new = self._rows.table.add(keys)
        if len(new):
            self._rows.parts.append(new)
        numbers = self._rows.table.find(keys).astype(np.int64)
        known = numbers < len(self._best)
        improves = ~known
        at = np.flatnonzero(known)
        old, offered = self._best.take(numbers.take(at)), values.take(at)
        improves[at] = offered < old if self._smaller else offered > old
        self._pending.append((numbers.compress(improves), values.compress(improves)))

    def held(self) -> int:
        return self._rows.table.count

    def advance(self, round_: int) -> int:
        numbers = np.concatenate([part for part, _ in self._pending]) if self._pending else self._improved[:0]
        values = np.concatenate([part for _, part in self._pending]) if self._pending else self._improved[:0]
        self._pending = []
        worst = np.iinfo(np.int64).max if self._smaller else np.iinfo(np.int64).min
        grown = self._rows.table.count - len(self._best)
        if grown:
            self._best = np.concatenate([self._best, np.full(grown, worst)])
            self._round = np.concatenate([self._round, np.zeros(grown, np.int64)])
        self._better.at(self._best, numbers, values)
        self._improved = self._distinct(numbers)
        self._round[self._improved] = round_
        self.size = self._rows.table.count
        # The order of facts changes with every round, so nothing that was made of them stays.
        self.version += 1
        return len(self._improved)

    def _distinct(self, numbers: Words) -> Words:
        if len(numbers) * 8 < len(self._best):
            return distinct(numbers)
        seen = np.zeros(len(self._best), np.bool_)
        seen[numbers] = True
        return np.flatnonzero(seen)

    def columns(self, start: int = 0) -> list[Words]:
        if not self.size:
            return [np.empty(0, np.int64) for _ in range(self._width)]
        return [column[start:] for column in (*self._settled(), self._best)]

    def _settled(self) -> list[Words]:
        return [column[: len(self._best)] for column in self._rows.rows(0)]

    def delta(self) -> list[Words]:
        if not len(self._improved):
            return [np.empty(0, np.int64) for _ in range(self._width)]
        return [*self._rows.rows_of(self._improved), self._best.take(self._improved)]

    def numbers(self) -> Words:
        return self._round
