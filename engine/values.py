"""What values mean: order, arithmetic and the built-in functions, the same for every executor.

- Integers have 64 bits; a result that does not fit is undefined.
- Floats are IEEE doubles, except that NaN equals NaN and is greater than everything else, and -0.0 is 0.0.
- Division by zero is undefined; `/` divides floats, `//` and `%` round down and take integers.
- Text is ordered by code points; `lower` and the classes of patterns know ASCII only.
- An undefined term (here: None) makes the literal that it stands in fail.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from tcrules.engine import patterns
from tcrules.engine.ir import Const, Expr, Type, Value, Var
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SMALLEST = -(2**63)
LARGEST = 2**63 - 1
NAN = float("nan")
#: What `to_float` and `to_int` read; other text is undefined.
FLOAT_TEXT = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
INT_TEXT = r"[+-]?[0-9]{1,19}"
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = str.maketrans(_UPPER, _UPPER.lower())

INT = Type("int", "int")
FLOAT = Type("float", "float")
BOOL = Type("bool", "bool")
STRING = Type("string", "string")
BASES: dict[str, Type] = {"int": INT, "float": FLOAT, "bool": BOOL, "string": STRING}


def normalise(value: Value, base: str = "") -> Value:
    """One representative for equal values, so that Python's equality and hashing mean ours.

    `base` is the base type of the column that the value stands in, where that is known.
    """
    if base == "float" and not isinstance(value, float):
        value = float(value)
    if isinstance(value, float):
        return NAN if math.isnan(value) else value + 0.0
    return value


def order_key(value: Value) -> tuple[bool, Value]:
    """A key that sorts values of one base type."""
    if isinstance(value, float) and math.isnan(value):
        return (True, 0.0)
    return (False, value)


def equal(left: Value, right: Value) -> bool:
    """Equality of two values of one base type."""
    return order_key(left) == order_key(right)


def compare(op: str, left: Value, right: Value) -> bool:
    """`left op right` for two values of one base type, in the total order."""
    first, second = order_key(left), order_key(right)
    if op == "=":
        return first == second
    if op == "!=":
        return first != second
    if op == "<":
        return first < second
    if op == "<=":
        return first <= second
    if op == ">":
        return first > second
    if op == ">=":
        return first >= second
    raise ValueError(f"unknown comparison {op}")


# ------------------------------------------------------------------------------------------------ operations


def _whole(value: int) -> int | None:
    return value if SMALLEST <= value <= LARGEST else None


def _number(value: float) -> Value | None:
    return normalise(value) if isinstance(value, float) else _whole(value)


def _add(left: float, right: float) -> Value | None:
    return _number(left + right)


def _subtract(left: float, right: float) -> Value | None:
    return _number(left - right)


def _multiply(left: float, right: float) -> Value | None:
    return _number(left * right)


def _divide(left: float, right: float) -> Value | None:
    return None if right == 0 else normalise(float(left) / float(right))


def _floor_divide(left: int, right: int) -> Value | None:
    return None if right == 0 else _whole(left // right)


def _modulo(left: int, right: int) -> Value | None:
    return None if right == 0 else left % right


def _rounded(how: Callable[[float], int]) -> Callable[[float], Value | None]:
    def apply(value: float) -> Value | None:
        return _whole(how(value)) if math.isfinite(value) else None

    return apply


def _square_root(value: float) -> Value | None:
    return None if value < 0 else normalise(math.sqrt(value))


def _logarithm(value: float) -> Value | None:
    return None if value <= 0 else normalise(math.log(value))


def _exponential(value: float) -> Value | None:
    try:
        return normalise(math.exp(value))
    except OverflowError:
        return math.inf


def _smaller(left: Value, right: Value) -> Value:
    return min(left, right, key=order_key)


def _larger(left: Value, right: Value) -> Value:
    return max(left, right, key=order_key)


def _lower_case(text: str) -> str:
    return text.translate(_LOWER)


def _is_infinite(value: float) -> bool:
    return math.isinf(value)


def _approx(left: float, right: float, relative: float, absolute: float) -> Value | None:
    if equal(left, right):
        return True
    if not (math.isfinite(left) and math.isfinite(right)):
        return False
    return compare("<=", abs(left - right), absolute + relative * abs(right))


def _matches(pattern: str, text: str) -> Value | None:
    return patterns.regex(pattern).matches(text)


def _replace(text: str, old: str, new: str) -> Value | None:
    return text.replace(old, new) if old else text


def _split_part(text: str, separator: str, index: int) -> Value | None:
    parts = text.split(separator) if separator else []
    return parts[index] if -len(parts) <= index < len(parts) else None


def _count_parts(text: str, separator: str) -> Value | None:
    return len(text.split(separator)) if separator else 0


def _slice(text: str, start: int, end: int) -> Value | None:
    return text[start:end]


def _index_of(text: str, part: str) -> Value | None:
    found = text.find(part)
    return None if found < 0 else found


def _to_string(value: Value) -> Value | None:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _to_float(value: Value) -> Value | None:
    if isinstance(value, str) and not re.fullmatch(FLOAT_TEXT, value):
        return None
    return normalise(float(value))


def _to_int(value: Value) -> Value | None:
    if isinstance(value, str):
        return _whole(int(value)) if re.fullmatch(INT_TEXT, value) else None
    return _whole(int(value)) if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Function:
    """A built-in function of values.

    `parameters` are base types, or "number" (int or float), or alternatives written `int|bool`; an int is
    converted where only a float fits. `result` is a base type, or "same": the type of the arguments.
    """

    name: str
    parameters: tuple[str, ...]
    result: str
    evaluate: Callable[..., Value | None]
    doc: str


def _table(*functions: Function) -> dict[str, Function]:
    return {function.name: function for function in functions}


_TEXT = ("string", "string")
FUNCTIONS: dict[str, Function] = _table(
    Function("abs", ("number",), "same", lambda x: _number(abs(x)), "absolute value"),
    Function("floor", ("number",), "int", _rounded(math.floor), "largest integer not above x"),
    Function("ceil", ("number",), "int", _rounded(math.ceil), "smallest integer not below x"),
    Function("sqrt", ("float",), "float", _square_root, "square root; undefined below zero"),
    Function("log", ("float",), "float", _logarithm, "natural logarithm; undefined at zero and below"),
    Function("exp", ("float",), "float", _exponential, "e to the power of x"),
    Function("min_of", ("number", "number"), "same", _smaller, "the smaller one"),
    Function("max_of", ("number", "number"), "same", _larger, "the larger one"),
    Function("is_nan", ("float",), "bool", math.isnan, "x is not a number"),
    Function("is_inf", ("float",), "bool", _is_infinite, "x is infinite"),
    Function("is_finite", ("float",), "bool", math.isfinite, "x is neither NaN nor infinite"),
    Function("approx", ("float",) * 4, "bool", _approx, "a = b, or both finite and |a-b| <= atol + rtol*|b|"),
    Function("glob", _TEXT, "bool", patterns.glob, "the whole text matches; `*` and `?` are special"),
    Function("matches", _TEXT, "bool", _matches, "the whole text matches a constant pattern"),
    Function("starts_with", _TEXT, "bool", str.startswith, "the text starts with the second text"),
    Function("ends_with", _TEXT, "bool", str.endswith, "the text ends with the second text"),
    Function("contains", _TEXT, "bool", str.__contains__, "the text contains the second text"),
    Function("length", ("string",), "int", len, "number of code points"),
    Function("lower", ("string",), "string", _lower_case, "ASCII letters in lower case"),
    Function("replace", ("string",) * 3, "string", _replace, "each `old` becomes `new`, unless it is empty"),
    Function("split_part", (*_TEXT, "int"), "string", _split_part, "0-based part; negative from the end"),
    Function(
        "count_parts", _TEXT, "int", _count_parts, "number of parts between separators; 0 if that is empty"
    ),
    Function(
        "slice",
        ("string", "int", "int"),
        "string",
        _slice,
        "from 0-based place up to another; negative from the end",
    ),
    Function(
        "index_of", _TEXT, "int", _index_of, "0-based place of the second text; undefined if it is not there"
    ),
    Function("concat", _TEXT, "string", lambda left, right: left + right, "both texts joined"),
    Function("to_string", ("int|bool|string",), "string", _to_string, "decimal digits, true or false"),
    Function("to_float", ("int|float|string",), "float", _to_float, "nearest float; undefined if no number"),
    Function("to_int", ("int|float|bool|string",), "int", _to_int, "rounded to zero; undefined if no number"),
)

#: Arithmetic; both operands have the same base type (analysis inserts `to_float`).
OPERATIONS: dict[str, Callable[..., Value | None]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "//": _floor_divide,
    "%": _modulo,
    "neg": lambda x: _number(-x),
}


def apply(name: str, arguments: Iterable[Value | None]) -> Value | None:
    """The value of an operation or function, None where it is undefined."""
    values = list(arguments)
    if any(value is None for value in values):
        return None
    function = OPERATIONS.get(name) or FUNCTIONS[name].evaluate
    return function(*values)


def evaluate(expression: Expr, binding: Mapping[str, Value]) -> Value | None:
    """The value of an expression whose variables are bound by name; None where it is undefined."""
    if isinstance(expression, Const):
        return normalise(expression.value)
    if isinstance(expression, Var):
        return binding[expression.name]
    return apply(expression.name, (evaluate(argument, binding) for argument in expression.arguments))


# ------------------------------------------------------------------------------------------------ aggregates


def _sum(values: list[float]) -> Value | None:
    if not any(isinstance(value, float) for value in values):
        return _whole(int(sum(values)))
    if any(not math.isfinite(value) for value in values):
        return normalise(sum(value for value in values if not math.isfinite(value)))
    from fractions import Fraction

    exact = sum(map(Fraction, values), Fraction(0))
    try:
        return float(exact) + 0.0
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def aggregate(kind: str, values: list[Value], base: str, keys: Sequence[Value] = ()) -> Value | None:
    """The aggregate of the values of distinct bindings; `base` is the base type of the values.

    The sum of floats is the exact sum, rounded once, so it does not depend on an order. `keys` are what arg_min and
    arg_max compare, one for each value; of several best ones the smallest value counts.
    """
    if kind == "count":
        return len(values)
    if kind == "distinct":
        return len({normalise(value) for value in values})
    if not values:
        return None if kind != "sum" else (0.0 if base == "float" else 0)
    if kind == "min":
        return min(values, key=order_key)
    if kind == "max":
        return max(values, key=order_key)
    if kind in ("arg_min", "arg_max"):
        best = (min if kind == "arg_min" else max)(keys, key=order_key)
        return min((v for v, k in zip(values, keys, strict=True) if equal(k, best)), key=order_key)
    numbers = [value for value in values if not isinstance(value, str)]
    total = _sum([float(value) for value in numbers] if base == "float" else list(numbers))
    if kind == "sum":
        return total
    exact = total if base == "float" else sum(numbers)
    return None if exact is None else normalise(float(exact) / len(values))
