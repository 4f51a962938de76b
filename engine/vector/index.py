"""Rows grouped by the values of some of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.vector.keys import KeyTable, Packer, key_table, ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcrules.engine.vector.words import Mask, Words

#: Pairs that a join makes at once.
CHUNK = 1 << 19
#: A range of keys may be this many times the number of rows to be a plain table of starts.
_SPARSE = 8
_HALF_WORD = 1 << 16


@dataclass(frozen=True, slots=True)
class Index:
    """Rows in the order of a key; those of the key with number `k` are `order[starts[k]:starts[k + 1]]`.

    Without a `table` the number of a key is the key itself. `order` is None where the rows stand in order already,
    `columns` are the rows' columns in that order.
    """

    packer: Packer
    table: KeyTable | None
    starts: Words
    columns: list[Words]
    unique: bool

    def find(self, columns: list[Words], size: int) -> tuple[Words, Words]:
        """First place and number of the rows that have each of these keys."""
        keys, inside = self.packer.probe(columns, size)
        if self.table is not None:
            keys = self.table.find(keys).astype(np.int64)
            known = keys >= 0
            inside = known if inside is None else inside & known
            keys = np.where(known, keys, 0)
        elif self.packer.bits and len(keys):
            # The packer's range is a power of two, that of the starts is not.
            keys = np.minimum(keys, len(self.starts) - 2)
        first = self.starts.take(keys)
        counts = self.starts.take(keys + 1) - first
        if inside is not None:
            counts *= inside
        return first, counts

    def contains(self, columns: list[Words], size: int) -> Mask:
        """For which of these keys there is a row."""
        return self.find(columns, size)[1] > 0


def index_rows(columns: list[Words], keys: list[int], size: int) -> Index:
    """An index of rows by the columns at the places `keys`."""
    chosen = [columns[place] for place in keys]
    packer = Packer.for_ranges(ranges_of(chosen))
    packed = packer.pack(chosen, size)
    universe = int(packed.max()) + 1 if size else 1
    table: KeyTable | None = None
    if universe > _SPARSE * size + 1024:
        table = key_table(packer.bits, size)
        table.add(packed)
        packed = table.find(packed).astype(np.int64)
        universe = table.count
    counts = np.bincount(packed, minlength=universe)
    # One more key, without rows, for probes beyond the last one.
    starts = np.zeros(universe + 2, np.int64)
    np.cumsum(counts, out=starts[1 : universe + 1])
    starts[universe + 1] = starts[universe]
    if size > 1 and not (packed[1:] >= packed[:-1]).all():
        order = sorting(packed, universe)
        columns = [column.take(order) for column in columns]
    return Index(packer, table, starts, columns, bool(size == 0 or counts.max() <= 1))


def sorting(keys: Words, universe: int) -> Words:
    """The stable order of keys in 0..universe-1; NumPy sorts 16 bits by radix, which is faster than comparing."""
    if universe <= _HALF_WORD:
        return np.argsort(keys.astype(np.uint16), kind="stable")
    if universe <= _HALF_WORD * _HALF_WORD:
        low = np.argsort((keys & (_HALF_WORD - 1)).astype(np.uint16), kind="stable")
        high = (keys >> 16).astype(np.uint16).take(low)
        return low.take(np.argsort(high, kind="stable"))
    return np.argsort(keys, kind="stable")


def pairs(first: Words, counts: Words, most: int = CHUNK) -> Iterator[tuple[Words | slice, Words]]:
    """Pairs (left row, place in the index) of a join, in pieces of about `most`.

    The left rows of a piece are a slice where each has one partner.
    """
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    if not total:
        return
    if total == len(counts) and int(counts.max()) == 1:
        yield slice(None), first
        return
    begin = 0
    while begin < len(counts):
        done = int(ends[begin - 1]) if begin else 0
        if total - done <= most:
            end = len(counts)
        else:
            end = max(begin + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield _expanded(first[begin:end], counts[begin:end], ends[begin:end] - done, begin)
        begin = end


def _expanded(first: Words, counts: Words, ends: Words, begin: int) -> tuple[Words, Words]:
    size = int(ends[-1])
    left = np.repeat(np.arange(begin, begin + len(counts)), counts)
    places = np.arange(size)
    places += np.repeat(first - ends + counts, counts)
    return left, places
