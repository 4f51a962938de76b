"""Expressions and tests as Python closures over an environment: a list with the values of a rule's variables."""

from __future__ import annotations

import operator
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.engine import ir
from tcrules.engine.values import FUNCTIONS, LARGEST, OPERATIONS, SMALLEST, compare, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tcrules.engine.ir import Value

#: Values of variables, then the tables that atoms look into; see `compile.Compiler`.
Environment: TypeAlias = list[Any]
Evaluate: TypeAlias = "Callable[[Environment], Value | None]"
Test: TypeAlias = "Callable[[Environment], bool]"

_DIRECT: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def expression(value: ir.Expr, slots: Mapping[str, int]) -> Evaluate:
    """A function that computes an expression; None where it is undefined."""
    if isinstance(value, ir.Const):
        constant = normalise(value.value)
        return lambda _: constant
    if isinstance(value, ir.Var):
        return itemgetter(slots[value.name])
    shifted = _shifted(value, slots)
    if shifted is not None:
        return shifted
    function = OPERATIONS.get(value.name) or FUNCTIONS[value.name].evaluate
    arguments = [expression(argument, slots) for argument in value.arguments]
    return _unary(function, arguments[0]) if len(arguments) == 1 else _applied(function, arguments)


def _shifted(value: ir.Op, slots: Mapping[str, int]) -> Evaluate | None:
    """A whole number plus a constant, which most computed steps are; None for other expressions."""
    if value.name not in ("+", "-") or value.type.base != "int":
        return None
    left, right = value.arguments
    if not (isinstance(left, ir.Var) and isinstance(right, ir.Const) and isinstance(right.value, int)):
        return None
    slot, change = slots[left.name], right.value if value.name == "+" else -right.value

    def shift(env: Environment) -> Value | None:
        found = env[slot] + change
        return found if SMALLEST <= found <= LARGEST else None

    return shift


def _unary(function: Callable[..., Value | None], argument: Evaluate) -> Evaluate:
    def apply(env: Environment) -> Value | None:
        value = argument(env)
        return None if value is None else function(value)

    return apply


def _applied(function: Callable[..., Value | None], arguments: Sequence[Evaluate]) -> Evaluate:
    def apply(env: Environment) -> Value | None:
        values = [argument(env) for argument in arguments]
        return None if None in values else function(*values)

    return apply


def test(literal: ir.Compare, slots: Mapping[str, int]) -> Test:
    """A function that decides a comparison."""
    left, right = expression(literal.left, slots), expression(literal.right, slots)
    if "float" in (literal.left.type.base, literal.right.type.base):
        return _total(literal.op, left, right)  # NaN has a place in the order
    holds = _DIRECT[literal.op]
    if isinstance(literal.left, ir.Op) or isinstance(literal.right, ir.Op):
        return _defined(holds, left, right)
    if isinstance(literal.right, ir.Const):
        constant = normalise(literal.right.value)
        return lambda env: holds(left(env), constant)
    return lambda env: holds(left(env), right(env))


def _total(op: str, left: Evaluate, right: Evaluate) -> Test:
    holds = _DIRECT[op]

    def decide(env: Environment) -> bool:
        one, other = left(env), right(env)
        if one is None or other is None:
            return False
        if one == one and other == other:  # NaN is not equal to itself
            return holds(one, other)
        return compare(op, one, other)

    return decide


def _defined(holds: Callable[[Any, Any], bool], left: Evaluate, right: Evaluate) -> Test:
    def decide(env: Environment) -> bool:
        one, other = left(env), right(env)
        return one is not None and other is not None and holds(one, other)

    return decide
