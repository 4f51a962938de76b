"""Types of expressions, and what their operands must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.analyse.flat import FAny, FConst, FExpr, FOp, FVar
from tcrules.engine.analyse.lattice import NUMBERS, UNKNOWN, Lattice, describe, entity
from tcrules.engine.values import BASES, BOOL, FLOAT, FUNCTIONS, INT, OPERATIONS, STRING
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from tcrules.engine.analyse.faults import Faults
    from tcrules.engine.ir import Type
    from tcrules.grammar.ast import Span, Value


@dataclass(frozen=True, slots=True)
class Seen:
    """The type of a variable and the place that gave it; `origin` is for messages, such as `call.api`."""

    type: Type
    origin: str
    span: Span


Env: TypeAlias = dict[str, Seen]


def type_of_value(value: Value) -> Type:
    """The base type of a constant."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT
    return FLOAT if isinstance(value, float) else STRING


def type_of(expression: FExpr | FAny, env: Env, lattice: Lattice) -> Type | None:
    """The type of an expression; None where it has a variable of unknown type."""
    if isinstance(expression, FConst):
        return type_of_value(expression.value)
    if isinstance(expression, FVar):
        seen = env.get(expression.name)
        return seen.type if seen else None
    if isinstance(expression, FAny):
        return None
    types = [type_of(argument, env, lattice) for argument in expression.arguments]
    if expression.name in OPERATIONS:
        return _arithmetic(expression.name, types)
    function = FUNCTIONS[expression.name]
    return _same(types, lattice) if function.result == "same" else BASES[function.result]


def _arithmetic(op: str, types: list[Type | None]) -> Type | None:
    if op == "/":
        return FLOAT
    if op in ("//", "%"):
        return INT
    known = [found for found in types if found is not None]
    if len(known) < len(types):
        return None
    if op in ("+", "-") and len(known) == 2:
        left, right = known
        if entity(left) and right == INT:
            return left
        if op == "+" and entity(right) and left == INT:
            return right
    return _number(known)


def _number(types: list[Type]) -> Type:
    if any(found == UNKNOWN for found in types):
        return UNKNOWN
    return FLOAT if any(found.base == "float" for found in types) else INT


def _same(types: list[Type | None], lattice: Lattice) -> Type | None:
    known = [found for found in types if found is not None]
    if len(known) < len(types):
        return None
    met = known[0]
    for found in known[1:]:
        met = lattice.meet(met, found) or _number(known)
    return met


# ------------------------------------------------------------------------------------------------ checks


class ExpressionChecker:
    """Reports operands whose types do not fit."""

    def __init__(self, env: Env, lattice: Lattice, faults: Faults) -> None:
        self.env = env
        self.lattice = lattice
        self.faults = faults

    def check(self, expression: FExpr) -> Type | None:
        """The type of the expression; None where it is not known."""
        if isinstance(expression, FOp):
            types = [self.check(argument) for argument in expression.arguments]
            if None not in types and UNKNOWN not in types:
                known = [found for found in types if found is not None]
                if expression.name in OPERATIONS:
                    self._operands(expression, known)
                else:
                    self._arguments(expression, known)
        return type_of(expression, self.env, self.lattice)

    def origin(self, expression: FExpr) -> tuple[list[tuple[Span, str]], str]:
        """Where the type of a variable comes from: further labels, and a text."""
        if isinstance(expression, FVar):
            seen = self.env.get(expression.name)
            if seen is not None:
                return [(seen.span, f"{seen.origin}: {describe(seen.type)}")], f" ({seen.origin})"
        return [], ""

    def _operands(self, operation: FOp, types: list[Type]) -> None:
        op = operation.name
        for operand, found in zip(operation.arguments, types, strict=True):
            if found.base not in NUMBERS:
                mend = "join texts with `concat(a, b)`" if found.base == "string" and op == "+" else None
                message = f"`{op.replace('neg', '-')}` needs numbers, not {describe(found)}"
                self.faults.error("TCR205", message, operand.span, describe(found), mend=mend)
                return
        if op in ("//", "%") and any(found.base == "float" for found in types):
            message = f"`{op}` divides integers"
            mend = "write `floor(a / b)`" if op == "//" else None
            self.faults.error("TCR205", message, operation.span, "an operand is a float", mend=mend)
        elif op in ("+", "-") and len(types) == 2:
            self._entities(operation, types[0], types[1])

    def _entities(self, operation: FOp, left: Type, right: Type) -> None:
        """`step + int`, `step - int` and `step - step` have a meaning; other sums of entities have none."""
        named = [found for found in (left, right) if entity(found)]
        if not named:
            return
        if len(named) == 2:
            fits = operation.name == "-" and self.lattice.meet(left, right) is not None
        else:
            other = right if named[0] == left else left
            fits = other == INT and (operation.name == "+" or entity(left))
        if not fits:
            message = f"`{operation.name}` has no meaning for {describe(left)} and {describe(right)}"
            self.faults.error("TCR205", message, operation.span)

    def _arguments(self, call: FOp, types: list[Type]) -> None:
        function = FUNCTIONS[call.name]
        for argument, found, wanted in zip(call.arguments, types, function.parameters, strict=True):
            allowed = NUMBERS if wanted in ("number", "float") else frozenset(wanted.split("|"))
            if found.base not in allowed:
                more, origin = self.origin(argument)
                names = " or ".join(sorted(allowed))
                message = f"`{call.name}` needs {names} here, not {describe(found)}{origin}"
                self.faults.error("TCR205", message, argument.span, describe(found), more=more)
