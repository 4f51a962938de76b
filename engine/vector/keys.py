"""Sets of 64-bit keys that number their members, and the packing of rows into such keys.

A sorted array would be simpler, but a look-up in a table costs a tenth of a sort, and rounds of semi-naive evaluation
mostly meet what they know already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tcrules.engine.vector.words import Mask, Words

Numbers: TypeAlias = npt.NDArray[np.int32]
#: Universes up to this many bits are tables without hashing (4 bytes a key).
DENSE_BITS = 24
#: Bits that a key may use: keys are not negative.
KEY_BITS = 62
_NUMBER_BITS = 31
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)
_NONE = np.int32(-1)


class KeyTable(Protocol):
    """A set of keys; members are numbered from 0 in the order of their arrival."""

    count: int

    def add(self, keys: Words) -> Words:
        """Add keys; those that are new, each once, in the order of their numbers."""
        ...

    def find(self, keys: Words) -> Numbers:
        """The number of each key, -1 where it is no member."""
        ...

    def fill(self, keys: Words) -> None:
        """Make different keys the members of an empty table, numbered in their order."""
        ...


def key_table(bits: int, expected: int = 0) -> KeyTable:
    """An empty table for keys below 2**bits."""
    return DenseTable(bits) if bits <= DENSE_BITS else HashTable(expected)


class DenseTable:
    """Numbers by key; for small universes."""

    def __init__(self, bits: int) -> None:
        self.numbers: Numbers = np.full(1 << bits, _NONE)
        self.count = 0

    def add(self, keys: Words) -> Words:
        unknown = keys.compress(self.numbers.take(keys) < 0)
        size = len(unknown)
        if not size:
            return unknown
        # The last of equal keys writes its place, so just one of them finds its own again.
        places = np.arange(size, dtype=np.int32)
        self.numbers[unknown] = places
        new = unknown.compress(self.numbers.take(unknown) == places)
        self.numbers[new] = np.arange(self.count, self.count + len(new), dtype=np.int32)
        self.count += len(new)
        return new

    def find(self, keys: Words) -> Numbers:
        return self.numbers.take(keys)

    def fill(self, keys: Words) -> None:
        self.numbers[keys] = np.arange(len(keys), dtype=np.int32)
        self.count = len(keys)


class HashTable:
    """Open addressing with linear probing, at most half full; all keys of a batch probe together."""

    def __init__(self, expected: int = 0) -> None:
        self.count = 0
        self._clear(max(10, (2 * expected).bit_length()))

    def _clear(self, bits: int) -> None:
        self.bits = bits
        self.keys: Words = np.empty(1 << bits, np.int64)
        self.numbers: Numbers = np.full(1 << bits, _NONE)

    def _slots(self, keys: Words) -> Words:
        hashed = keys.view(np.uint64) * _FIBONACCI
        return (hashed >> np.uint64(64 - self.bits)).view(np.int64)

    def find(self, keys: Words) -> Numbers:
        return self.numbers.take(self._locate(keys))

    def _locate(self, keys: Words) -> Words:
        """The slot of each key, or the free one at which the search for it ends."""
        slots = self._slots(keys)
        other = self.keys.take(slots) != keys
        waiting = np.flatnonzero(other & (self.numbers.take(slots) >= 0))
        wanted, at = keys.take(waiting), slots.take(waiting)
        while len(waiting):
            at = (at + 1) & (len(self.keys) - 1)
            slots[waiting] = at
            going = np.flatnonzero((self.keys.take(at) != wanted) & (self.numbers.take(at) >= 0))
            waiting, wanted, at = waiting.take(going), wanted.take(going), at.take(going)
        return slots

    def add(self, keys: Words) -> Words:
        unknown = keys.compress(self.find(keys) < 0)
        if not len(unknown):
            return unknown
        if 2 * (self.count + len(unknown)) > len(self.keys):
            # Equal keys would make the table larger than its members need.
            unknown = distinct(unknown)
            self._grow(self.count + len(unknown))
        slots, new = self._insert(unknown)
        self.numbers[slots] = np.arange(self.count, self.count + len(new), dtype=np.int32)
        self.count += len(new)
        return new

    def fill(self, keys: Words) -> None:
        if 2 * len(keys) > len(self.keys):
            self._clear((2 * len(keys)).bit_length())
        self._insert(keys)
        self.numbers[self._locate(keys)] = np.arange(len(keys), dtype=np.int32)
        self.count = len(keys)

    def _insert(self, unknown: Words) -> tuple[Words, Words]:
        """Place keys, of which none is a member; the slots and keys of the new members."""
        slots = self._slots(unknown)
        placed: list[tuple[Words, Words]] = [(slots[:0], unknown[:0])]
        while len(unknown):
            free = self.numbers.take(slots) < 0
            places = np.arange(len(unknown), dtype=np.int32)
            own_slots, own = slots.compress(free), unknown.compress(free)
            self.keys[own_slots] = own
            self.numbers[own_slots] = places.compress(free)
            same = self.keys.take(slots) == unknown
            winner = same & (self.numbers.take(slots) == places) & free
            placed.append((slots.compress(winner), unknown.compress(winner)))
            other = ~same
            unknown = unknown.compress(other)
            slots = (slots.compress(other) + 1) & (len(self.keys) - 1)
        return np.concatenate([at for at, _ in placed]), np.concatenate([key for _, key in placed])

    def _grow(self, members: int) -> None:
        used = np.flatnonzero(self.numbers >= 0)
        keys, numbers = self.keys.take(used), self.numbers.take(used)
        self._clear((4 * members).bit_length())
        self._insert(keys)
        self.numbers[self._locate(keys)] = numbers


def distinct(keys: Words) -> Words:
    """Keys without repetition, sorted."""
    if len(keys) < 2:
        return keys
    ordered = np.sort(keys)
    kept = np.empty(len(ordered), np.bool_)
    kept[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=kept[1:])
    return ordered.compress(kept)


class Interner:
    """Numbers arbitrary words densely, and finds the word of a number."""

    def __init__(self) -> None:
        self.table = HashTable()
        self._known: list[Words] = []

    def add(self, words: Words) -> Words:
        """The number of each word; unknown ones get the next numbers."""
        new = self.table.add(words)
        if len(new):
            self._known.append(new)
        return self.table.find(words).astype(np.int64)

    def find(self, words: Words) -> Words:
        """The number of each word, -1 where it has none."""
        return self.table.find(words).astype(np.int64)

    def words(self, numbers: Words) -> Words:
        if len(self._known) > 1:
            self._known = [np.concatenate(self._known)]
        return self._known[0].take(numbers) if self._known else numbers


@dataclass(slots=True)
class _Field:
    """One column in a key: words from `low` on take `bits` bits, or interned numbers 31.

    `prefix` interns what stands before the field in the key, where both together would be too long.
    """

    low: int
    bits: int
    interned: Interner | None = None
    prefix: Interner | None = None


@dataclass(slots=True)
class Packer:
    """Rows of words as keys, one to one, for words in ranges that were given beforehand."""

    fields: list[_Field] = field(default_factory=list)
    bits: int = 0

    @classmethod
    def for_ranges(cls, ranges: list[tuple[int, int]]) -> Packer:
        """A packer for columns whose words lie in the ranges, both ends included."""
        packer = cls()
        for low, high in ranges:
            packer._append(_Field(low, (high - low).bit_length()))
        return packer

    def _append(self, field_: _Field) -> None:
        if field_.bits > KEY_BITS - (_NUMBER_BITS if self.fields else 0):
            field_.interned, field_.bits = Interner(), _NUMBER_BITS
        if self.bits + field_.bits > KEY_BITS:
            field_.prefix, self.bits = Interner(), _NUMBER_BITS
        self.bits += field_.bits
        self.fields.append(field_)

    def fits(self, ranges: list[tuple[int, int]]) -> bool:
        """Whether words of these ranges can be packed."""
        return all(
            field_.interned is not None or (low >= field_.low and (high - field_.low) >> field_.bits == 0)
            for field_, (low, high) in zip(self.fields, ranges, strict=True)
        )

    def pack(self, columns: list[Words], size: int) -> Words:
        """Keys of rows; their words lie in the ranges."""
        keys = np.zeros(size, np.int64) if not self.fields else None
        for field_, column in zip(self.fields, columns, strict=True):
            part = field_.interned.add(column) if field_.interned is not None else column - field_.low
            if keys is None:
                keys = part
            else:
                prefix = keys if field_.prefix is None else field_.prefix.add(keys)
                keys = (prefix << field_.bits) | part
        assert keys is not None
        return keys

    def probe(self, columns: list[Words], size: int) -> tuple[Words, Mask | None]:
        """Keys of rows that may lie outside, and which of them are inside (None: all); others have any key."""
        keys = np.zeros(size, np.int64) if not self.fields else None
        inside: Mask | None = None
        for field_, column in zip(self.fields, columns, strict=True):
            if field_.interned is not None:
                part = field_.interned.find(column)
                good = part >= 0
            else:
                part = column - field_.low
                good = part.view(np.uint64) < np.uint64(1 << field_.bits)
            if not good.all():
                inside = good if inside is None else inside & good
                part = np.where(good, part, 0)
            if keys is None:
                keys = part
                continue
            if field_.prefix is not None:
                keys = field_.prefix.find(keys)
                known = keys >= 0
                inside = known if inside is None else inside & known
                keys = np.where(known, keys, 0)
            keys = (keys << field_.bits) | part
        assert keys is not None
        return keys, inside

    def unpack(self, keys: Words) -> list[Words]:
        """The columns of rows by their keys."""
        columns: list[Words] = []
        for place in range(len(self.fields) - 1, -1, -1):
            field_ = self.fields[place]
            part = keys if place == 0 else keys & ((1 << field_.bits) - 1)
            if field_.interned is not None:
                columns.append(field_.interned.words(part))
            else:
                columns.append(part + field_.low if field_.low else part)
            keys = keys >> field_.bits if place else keys
            if field_.prefix is not None:
                keys = field_.prefix.words(keys)
        columns.reverse()
        return columns


def ranges_of(columns: list[Words]) -> list[tuple[int, int]]:
    """The smallest and largest word of each column; (0, 0) for empty ones."""
    return [(int(column.min()), int(column.max())) if len(column) else (0, 0) for column in columns]


def widened(ranges: list[tuple[int, int]], more: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that hold both; a range that had to grow gets room, so that it need not grow again soon."""
    result = []
    for (low, high), (least, most) in zip(ranges, more, strict=True):
        room = 2 * max(high, most) - 2 * min(low, least)
        lower = low if least >= low else least - room
        upper = high if most <= high else most + room
        result.append((max(lower, -(2**63)), min(upper, 2**63 - 1)))
    return result
