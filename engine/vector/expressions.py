"""Expressions and comparisons over columns; undefined values are a mask beside the column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tcrules.engine.ir import Compare, Const, Expr, Op, Value, Var
from tcrules.engine.values import LARGEST, SMALLEST, apply
from tcrules.engine.vector.words import (
    Mask,
    Texts,
    Words,
    decode,
    encode,
    from_native,
    native,
    word,
)

Columns: TypeAlias = Mapping[Var, Words]
_Native: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Result:
    """Words of a value for each row; `defined` is None where all are."""

    words: Words
    defined: Mask | None = None


def evaluate(expression: Expr, columns: Columns, size: int, texts: Texts) -> Result:
    """The value of an expression in each row."""
    if isinstance(expression, Var):
        return Result(columns[expression])
    if isinstance(expression, Const):
        constant = word(expression.value, expression.type.base, texts)
        return Result(np.full(size, constant, np.int64))
    arguments = [evaluate(argument, columns, size, texts) for argument in expression.arguments]
    defined: Mask | None = None
    for argument in arguments:
        defined = _both(defined, argument.defined)
    words = [argument.words for argument in arguments]
    bases = [argument.type.base for argument in expression.arguments]
    fast = _FAST.get((expression.name, *bases))
    if fast is not None:
        found, good = fast(*(native(column, base) for column, base in zip(words, bases, strict=True)))
        return Result(from_native(found, expression.type.base), _both(defined, good))
    result = _by_value(expression, words, bases, defined, texts)
    return Result(result.words, _both(defined, result.defined))


def test(comparison: Compare, columns: Columns, size: int, texts: Texts) -> Mask:
    """In which rows a comparison holds; something undefined makes it fail."""
    left = evaluate(comparison.left, columns, size, texts)
    right = evaluate(comparison.right, columns, size, texts)
    one, other = left.words, right.words
    if comparison.left.type.base == "string" and comparison.op not in ("=", "!="):
        one, other = texts.ranks().take(one), texts.ranks().take(other)
    holds: Mask = _COMPARISONS[comparison.op](one, other)
    defined = _both(left.defined, right.defined)
    return holds if defined is None else holds & defined


_COMPARISONS: dict[str, Callable[[Words, Words], Mask]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _by_value(op: Op, words: list[Words], bases: list[str], defined: Mask | None, texts: Texts) -> Result:
    """Any function through its definition in `values`, once for each different combination of arguments."""
    size = len(words[0]) if words else 0
    wanted = np.flatnonzero(defined) if defined is not None else np.arange(size)
    rows = np.stack([column.take(wanted) for column in words]) if words else np.empty((0, 0), np.int64)
    combinations, where = np.unique(rows, axis=1, return_inverse=True)
    lists = [decode(row, base, texts) for row, base in zip(combinations, bases, strict=True)]
    values: list[Value | None] = [apply(op.name, arguments) for arguments in zip(*lists, strict=True)]
    neutral: Value = "" if op.type.base == "string" else 0
    found = encode([neutral if value is None else value for value in values], op.type.base, texts)
    good = np.array([value is not None for value in values], np.bool_)
    result, holds = np.zeros(size, np.int64), np.zeros(size, np.bool_)
    if len(wanted):
        where = where.reshape(-1)
        result[wanted], holds[wanted] = found.take(where), good.take(where)
    return Result(result, None if holds.all() else holds)


# ------------------------------------------------------------------------------------------------ arithmetic

_Fast: TypeAlias = Callable[..., tuple[_Native, Mask | None]]


def _add(left: Words, right: Words) -> tuple[_Native, Mask | None]:
    total = left + right
    over = ((left ^ total) & (right ^ total)) < 0
    return total, ~over if over.any() else None


def _subtract(left: Words, right: Words) -> tuple[_Native, Mask | None]:
    total = left - right
    over = ((left ^ right) & (left ^ total)) < 0
    return total, ~over if over.any() else None


def _multiply(left: Words, right: Words) -> tuple[_Native, Mask | None]:
    product = left * right
    size = np.abs(left.astype(np.float64)) * np.abs(right.astype(np.float64))
    doubtful = np.flatnonzero(size >= 2.0**62)
    if not len(doubtful):
        return product, None
    good = np.ones(len(product), np.bool_)
    for place in doubtful.tolist():
        good[place] = SMALLEST <= int(left[place]) * int(right[place]) <= LARGEST
    return product, good


def _floor_divide(left: Words, right: Words) -> tuple[_Native, Mask | None]:
    good = (right != 0) & ~((left == SMALLEST) & (right == -1))
    return np.floor_divide(left, np.where(good, right, 1)), None if good.all() else good


def _modulo(left: Words, right: Words) -> tuple[_Native, Mask | None]:
    good = right != 0
    # -2**63 % -1 traps on some processors; the result is 0 for every dividend.
    divisor = np.where(good & (right != -1), right, 1)
    return np.mod(left, divisor), None if good.all() else good


def _negate(value: Words) -> tuple[_Native, Mask | None]:
    good = value != SMALLEST
    return -value, None if good.all() else good


def _divide(left: _Native, right: _Native) -> tuple[_Native, Mask | None]:
    good = right != 0
    with np.errstate(all="ignore"):
        return left.astype(np.float64) / np.where(good, right, 1), None if good.all() else good


def _floats(operation: Callable[..., _Native]) -> _Fast:
    def apply_all(*arguments: _Native) -> tuple[_Native, Mask | None]:
        with np.errstate(all="ignore"):
            return operation(*arguments), None

    return apply_all


def _greatest_nan(smaller: bool) -> _Fast:
    """The smaller or larger float in the order in which NaN is the greatest."""

    def choose(left: _Native, right: _Native) -> tuple[_Native, Mask | None]:
        first = (left <= right) | np.isnan(right)
        return np.where(first == smaller, left, right), None

    return choose


def _absolute(value: Words) -> tuple[_Native, Mask | None]:
    good = value != SMALLEST
    return np.abs(value), None if good.all() else good


_TWO_INTS, _TWO_FLOATS = ("int", "int"), ("float", "float")
_FAST: dict[tuple[str, ...], _Fast] = {
    ("+", *_TWO_INTS): _add,
    ("-", *_TWO_INTS): _subtract,
    ("*", *_TWO_INTS): _multiply,
    ("//", *_TWO_INTS): _floor_divide,
    ("%", *_TWO_INTS): _modulo,
    ("neg", "int"): _negate,
    ("abs", "int"): _absolute,
    ("+", *_TWO_FLOATS): _floats(np.add),
    ("-", *_TWO_FLOATS): _floats(np.subtract),
    ("*", *_TWO_FLOATS): _floats(np.multiply),
    ("/", *_TWO_FLOATS): _divide,
    ("/", *_TWO_INTS): _divide,
    ("neg", "float"): _floats(np.negative),
    ("abs", "float"): _floats(np.abs),
    ("to_float", "int"): _floats(lambda value: value.astype(np.float64)),
    ("to_float", "float"): _floats(lambda value: value),
    ("is_nan", "float"): _floats(np.isnan),
    ("is_inf", "float"): _floats(np.isinf),
    ("is_finite", "float"): _floats(np.isfinite),
    ("min_of", *_TWO_INTS): _floats(np.minimum),
    ("max_of", *_TWO_INTS): _floats(np.maximum),
    ("min_of", *_TWO_FLOATS): _greatest_nan(smaller=True),
    ("max_of", *_TWO_FLOATS): _greatest_nan(smaller=False),
}
