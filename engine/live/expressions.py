"""Expressions and comparisons as Python text: conditions that must hold, then the name of the value.

An undefined term makes its literal fail, so each operation is a condition that gives its value a name:
`(x1 := k0(v2)) is not None`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.values import FUNCTIONS, LARGEST, OPERATIONS, SMALLEST, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.engine.live.source import Function

#: Comparisons of values that Python orders as we do.
_DIRECT: Mapping[str, str] = {
    "=": "{0} == {1}",
    "!=": "{0} != {1}",
    "<": "{0} < {1}",
    "<=": "{0} <= {1}",
    ">": "{0} > {1}",
    ">=": "{0} >= {1}",
}
#: Comparisons of floats: NaN, which is not equal to itself in Python, equals NaN and is greater than everything else.
_TOTAL: Mapping[str, str] = {
    "=": "({0} == {1} or {0} != {0} and {1} != {1})",
    "!=": "({0} != {1} and ({0} == {0} or {1} == {1}))",
    "<": "({0} < {1} or {1} != {1} and {0} == {0})",
    "<=": "({0} <= {1} or {1} != {1})",
    ">": "({0} > {1} or {0} != {0} and {1} == {1})",
    ">=": "({0} >= {1} or {0} != {0})",
}


def expression(function: Function, value: ir.Expr) -> tuple[list[str], str]:
    """Conditions under which an expression is defined, to be tested in this order, and the name of its value."""
    if isinstance(value, ir.Const):
        return [], function.constant(normalise(value.value))
    if isinstance(value, ir.Var):
        return [], function.variable(value.name)
    conditions: list[str] = []
    names = []
    for argument in value.arguments:
        more, name = expression(function, argument)
        conditions += more
        names.append(name)
    result = function.module.fresh()
    if value.name in ("+", "-") and value.type.base == "int":
        computed = f"({result} := {names[0]} {value.name} {names[1]})"
        return [*conditions, f"{SMALLEST} <= {computed} <= {LARGEST}"], result
    apply = function.constant(OPERATIONS.get(value.name) or FUNCTIONS[value.name].evaluate)
    return [*conditions, f"({result} := {apply}({', '.join(names)})) is not None"], result


def comparison(function: Function, literal: ir.Compare) -> list[str]:
    """Conditions, all of which are true where the comparison holds."""
    left, one = expression(function, literal.left)
    right, other = expression(function, literal.right)
    floats = "float" in (literal.left.type.base, literal.right.type.base)
    return [*left, *right, (_TOTAL if floats else _DIRECT)[literal.op].format(one, other)]


def same(one: str, other: str) -> str:
    """The condition that two values of facts are equal; equal floats that are not numbers are identical."""
    return f"({one} is {other} or {one} == {other})"
