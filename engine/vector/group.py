"""Aggregates: one word for each group of rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.values import aggregate
from tcrules.engine.vector.batch import first_of_each
from tcrules.engine.vector.expressions import Result
from tcrules.engine.vector.index import sorting
from tcrules.engine.vector.words import Mask, Texts, Words, decode, encode, floats_of

if TYPE_CHECKING:
    from tcrules.engine.ir import Value


def aggregates(
    kind: str,
    groups: Words,
    count: int,
    value: Result | None,
    key: Result | None,
    bases: tuple[str, str],
    texts: Texts,
) -> Result:
    """The aggregate of the rows of each group 0..count-1; rows of which something is undefined do not count.

    `bases` are the base types of value and key. A group without a result is undefined.
    """
    groups, value, key = _defined(groups, value, key)
    sizes = np.bincount(groups, minlength=count)
    if kind == "count":
        return Result(sizes)
    assert value is not None
    words = value.words
    if kind == "distinct":
        kept = first_of_each([groups, words], len(groups))
        return Result(np.bincount(groups.take(kept), minlength=count))
    if kind in ("arg_min", "arg_max"):
        assert key is not None
        order = _ordered(key.words, bases[1], texts)
        best = _extreme(groups, order, count, kind == "arg_min")
        kept = np.flatnonzero(order == best.take(groups))
        groups, words, kind = groups.take(kept), words.take(kept), "min"
    if kind in ("min", "max"):
        found = _extreme(groups, _ordered(words, bases[0], texts), count, kind == "min")
        return Result(_unordered(found, sizes > 0, bases[0], texts), _all_or(sizes > 0))
    return _total(kind, groups, sizes, words, bases[0], texts)


def _defined(
    groups: Words, value: Result | None, key: Result | None
) -> tuple[Words, Result | None, Result | None]:
    for masked in (value, key):
        if masked is not None and masked.defined is not None:
            kept = np.flatnonzero(masked.defined)
            return _defined(groups.take(kept), _taken(value, kept, masked), _taken(key, kept, masked))
    return groups, value, key


def _taken(result: Result | None, kept: Words, masked: Result) -> Result | None:
    if result is None:
        return None
    defined = None if result is masked or result.defined is None else result.defined.take(kept)
    return Result(result.words.take(kept), defined)


def _ordered(words: Words, base: str, texts: Texts) -> Words:
    return texts.ranks().take(words) if base == "string" else words


def _unordered(words: Words, exists: Mask, base: str, texts: Texts) -> Words:
    words = np.where(exists, words, 0)
    if base != "string" or not len(texts.texts):
        return words
    return np.argsort(texts.ranks()).take(words)


def _all_or(mask: Mask) -> Mask | None:
    return None if mask.all() else mask


def _extreme(groups: Words, order: Words, count: int, smallest: bool) -> Words:
    limits = np.iinfo(np.int64)
    found = np.full(count, limits.max if smallest else limits.min, np.int64)
    (np.minimum if smallest else np.maximum).at(found, groups, order)
    return found


def _total(kind: str, groups: Words, sizes: Words, words: Words, base: str, texts: Texts) -> Result:
    """Sums and means; exact."""
    result_base = "float" if kind == "mean" else base
    small = base != "float" and (
        not len(words) or len(words) * max(-int(words.min()), int(words.max())) < 2**53
    )
    if small:
        totals = np.zeros(len(sizes), np.int64)
        np.add.at(totals, groups, words)
        if kind == "sum":
            return Result(totals)
        found: list[Value | None] = [
            total / size if size else None
            for total, size in zip(totals.tolist(), sizes.tolist(), strict=True)
        ]
    else:
        ordered = words.take(sorting(groups, len(sizes)))
        ends = np.cumsum(sizes).tolist()
        values = floats_of(ordered).tolist() if base == "float" else decode(ordered, base, texts)
        found = [
            _exact(kind, values[end - size : end], base)
            for end, size in zip(ends, sizes.tolist(), strict=True)
        ]
    good = np.array([value is not None for value in found], np.bool_)
    return Result(encode([0 if v is None else v for v in found], result_base, texts), _all_or(good))


def _exact(kind: str, values: list[Value], base: str) -> Value | None:
    if base == "float" and values:
        try:
            total = math.fsum(float(value) for value in values)
        except (OverflowError, ValueError):  # too large on the way, or infinities of both signs
            return aggregate(kind, values, base)
        if math.isfinite(total):
            return total if kind == "sum" else total / len(values)
    return aggregate(kind, values, base)
