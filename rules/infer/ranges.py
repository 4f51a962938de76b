"""Ranges of numbers: limits that all runs kept, with room to spare, for templates that are tagged `range`.

Such a template has one free metavariable, an int, that counts quarters of e: `?Range = floor(4.0 * log(V))`. So the
statistics of a template, counts for each value of its free metavariables, are a histogram of logarithms: a sketch of
the distribution that is exact to a factor of 1.28 and adds up over runs, like every other count. Learning replaces the
levels by an interval, and the rule that is written compares V itself.

The interval reaches from the smallest to the largest value of all runs, and further on both sides by a factor of at
least two and by the distance of the quartiles of all values: an outlier moves one limit, never the room beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING

from tcrules.grammar import ast
from tcrules.grammar.diagnostics import Diagnostic, Label
from tcrules.rules.infer.candidates import evidence, label, unsupported
from tcrules.rules.infer.model import Dropped, Interval, Learned
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcrules.rules.infer.family import Table
    from tcrules.rules.infer.model import Filling, Values

#: Tag of templates whose free metavariable becomes an interval.
RANGE = "range"
#: Levels in a factor of e; templates write this number.
LEVELS = 4.0


def level(value: float) -> int:
    """The level of a positive number."""
    return math.floor(LEVELS * math.log(value))


def limits(interval: Interval) -> tuple[float, float]:
    """Smallest and largest value of an interval of levels, rounded away from it to two digits."""
    low, high = math.exp(interval.low / LEVELS), math.exp((interval.high + 1) / LEVELS)
    return _rounded(low, ROUND_FLOOR), _rounded(high, ROUND_CEILING)


def bounded(literal: ast.Literal, filling: Mapping[str, Filling]) -> Iterator[ast.Literal]:
    """`?Range = floor(4.0 * log(V))` for an interval becomes `V >= low, V <= high`; other literals stay."""
    measured = measure(literal)
    if measured is None or not isinstance(interval := filling.get(measured[0]), Interval):
        yield literal
        return
    for op, limit in zip((">=", "<="), limits(interval), strict=True):
        yield ast.Comparison(op, measured[1], ast.Constant(limit))


def measure(literal: ast.Literal) -> tuple[str, ast.Expression] | None:
    """The metavariable and the number of a literal `?Range = floor(4.0 * log(V))`."""
    match literal:
        case ast.Comparison(
            "=",
            ast.MetaVariable(name),
            ast.Apply("floor", (ast.Operation("*", ast.Constant(4.0), ast.Apply("log", (number,))),)),
        ):
            return name, number
    return None


def range_fault(template: ast.Template) -> Diagnostic | None:
    """What is wrong with a template that is tagged `range`, but does not measure its one free metavariable."""
    words = [word for one in template.annotations if one.name == "tags" for word in one.arguments]
    measures = [one for body in template.expect for one in body if measure(one) is not None]
    if RANGE not in words or (len(measures), len(template.expect)) == (1, 1):
        return None
    message = f"template {template.id} is tagged {RANGE}, but does not say of which number"
    label = Label(template.span, "no level of a number is expected here")
    return Diagnostic("TCR306", "error", message, (label,), help="write expect ?Range = floor(4.0 * log(V))")


def _rounded(value: float, way: str) -> float:
    return float(Context(prec=2, rounding=way).create_decimal(value))


def learn_ranges(table: Table, options: Options = DEFAULTS) -> tuple[list[Learned], list[Dropped]]:
    """A range for each binding of a template whose free metavariable is a level."""
    found: list[Learned] = []
    dropped: list[Dropped] = []
    for bound in table.bindings():
        rule = _range(table, bound, options)
        if isinstance(rule, Learned):
            found.append(rule)
        else:
            dropped.append(rule)
    return found, dropped


def _range(table: Table, bound: Values, options: Options) -> Learned | Dropped:
    names = [name for name, _ in (*table.shape.bound, *table.shape.free)]
    name = label(table.shape, bound)
    if not table.supported(bound):
        return unsupported(table, bound)
    cells = table.cells(bound, table.frees(bound))
    if not all(cell.pure for cell in cells):
        return Dropped(name, "some of its values are zero, negative or not finite", "failures")
    interval = widened(_histogram(table, bound), options.range_room)
    width = interval.high - interval.low
    if width > options.widest_range:
        reason = f"its values differ too much for a range to say anything: {width} quarters of e"
        return Dropped(name, reason, "failures", f"--widest-range {width}")
    filling: tuple[tuple[str, Filling], ...] = tuple(zip(names, (*bound, interval), strict=True))
    return Learned(table.shape.id, filling, (), evidence(cells))


def _histogram(table: Table, bound: Values) -> Mapping[int, int]:
    """How many values of all runs have each level."""
    found: Counter[int] = Counter()
    for free in table.frees(bound):
        for cell in table.cells(bound, [free]):
            held = sum(cell.triggers.values()) - sum(cell.failures.values())
            found[int(free[0])] += held
    return {where: number for where, number in found.items() if number}


def widened(histogram: Mapping[int, int], least_room: int) -> Interval:
    """All levels of a histogram with room on both sides."""
    room = least_room + _quantile(histogram, 0.75) - _quantile(histogram, 0.25)
    return Interval(min(histogram) - room, max(histogram) + room)


def _quantile(histogram: Mapping[int, int], share: float) -> int:
    left = share * sum(histogram.values())
    for where in sorted(histogram):
        left -= histogram[where]
        if left <= 0:
            return where
    return max(histogram)
