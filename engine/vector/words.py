"""Values as 64-bit words: equal values are equal words, and words of numbers are ordered as their values.

An int is its own word, a bool 0 or 1, a text the number it has in a dictionary of texts. A float is the integer whose
order is that of the floats (NaN, normalised, is the greatest; -0.0 is 0.0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tcrules.engine.values import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.engine.ir import Value

Words: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_ALL_BUT_SIGN = np.int64(2**63 - 1)


class _Numbers(dict[str, int]):
    """Text -> number; one that is not there gets the next. What is there is found without a call into Python."""

    __slots__ = ("texts",)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self.texts)
        self.texts.append(text)
        return number


class Texts:
    """A dictionary of texts; the number of a text is its word. It only grows."""

    __slots__ = ("_numbers", "_ranks", "texts")

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._ranks: Words = np.empty(0, np.int64)
        self.texts = self._numbers.texts

    def numbers(self, texts: Iterable[str]) -> Words:
        """The numbers of texts, new ones where need be."""
        return np.fromiter(map(self._numbers.__getitem__, texts), np.int64)

    def ranks(self) -> Words:
        """The place of each text in the order of all texts, by number."""
        if len(self._ranks) != len(self.texts):
            order = sorted(range(len(self.texts)), key=self.texts.__getitem__)
            self._ranks = np.empty(len(order), np.int64)
            self._ranks[order] = np.arange(len(order))
        return self._ranks


def float_words(values: Floats) -> Words:
    """Words of floats."""
    with np.errstate(invalid="ignore"):
        bits = np.where(np.isnan(values), math.nan, values + 0.0).view(np.int64)
    return _folded(bits)


def floats_of(words: Words) -> Floats:
    """The floats that words stand for."""
    return _folded(words).view(np.float64)


def _folded(bits: Words) -> Words:
    """Turns the order of negative numbers around; its own inverse."""
    return bits ^ ((bits >> np.int64(63)) & _ALL_BUT_SIGN)


def encode(values: Sequence[Value], base: str, texts: Texts) -> Words:
    """Words of Python values of one base type."""
    if base == "string":
        return texts.numbers(map(str, values))
    if base == "float":
        return float_words(np.array([float(value) for value in values], np.float64))
    return np.array([int(value) for value in values], np.int64)


def encode_column(column: npt.NDArray[Any], base: str, texts: Texts) -> Words:
    """Words of an array of ints, floats, bools or texts.

    Raises:
        TypeError: the array does not hold values of the base type.
    """
    kind = column.dtype.kind
    if base == "string" and kind in "OUT":
        return texts.numbers(column.tolist())
    if base == "float" and kind in "fiu":
        return float_words(column.astype(np.float64))
    if (base == "int" and kind in "iu") or (base == "bool" and kind == "b"):
        return column.astype(np.int64, copy=False)
    raise TypeError(f"an array of {column.dtype} cannot be a column of type {base}")


def word(value: Value, base: str, texts: Texts) -> int:
    """The word of one value."""
    return int(encode((value,), base, texts)[0])


def decode(words: Words, base: str, texts: Texts) -> list[Value]:
    """Python values of words."""
    if base == "string":
        return [texts.texts[number] for number in words.tolist()]
    values: list[Value] = native(words, base).tolist()
    # One object for NaN, so that tuples with it compare as equal.
    return [normalise(value) for value in values] if base == "float" else values


def native(words: Words, base: str) -> npt.NDArray[Any]:
    """Words as an array of the type that NumPy calculates with; texts stay numbers."""
    if base == "float":
        return floats_of(words)
    return words.astype(np.bool_) if base == "bool" else words


def from_native(values: npt.NDArray[Any], base: str) -> Words:
    """The reverse of `native`."""
    return float_words(values.astype(np.float64)) if base == "float" else values.astype(np.int64)
