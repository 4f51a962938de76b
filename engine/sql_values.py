"""Expressions, comparisons and aggregates as SQL, with the meaning that `engine/values.py` gives them.

Undefined is NULL. Facts hold no NULL and every expression is strict, so a comparison with something
undefined is NULL and its binding is dropped. What an engine would raise an error for is written so that
it gives NULL.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING, TypeAlias

from sqlglot import exp
from tcrules.engine.ir import Compare, Const, Expr, Op, Value, Var
from tcrules.engine.run_files import SQL_TYPES
from tcrules.engine.values import FLOAT_TEXT, INT_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Sql: TypeAlias = exp.Expression

#: Name of the exact sum of a list of finite doubles, which the store registers: SQL sums depend on the order.
EXACT_SUM = "TCRULES_EXACT_SUM"

_COMPARISONS: dict[str, type[exp.Binary]] = {
    "=": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


# ------------------------------------------------------------------------------------------------ small builders


def own(node: Sql) -> Sql:
    """The node for use in a new tree: itself, or a copy if it stands in one already."""
    return node if node.parent is None else node.copy()


def call(name: str, *arguments: Sql) -> Sql:
    """A function call, its name taken as it is."""
    return exp.Anonymous(this=name, expressions=[own(argument) for argument in arguments])


def number(value: int) -> Sql:
    return exp.Literal.number(value)


def binary(kind: type[exp.Binary], left: Sql, right: Sql) -> Sql:
    """`left kind right`, in parentheses so that it can stand anywhere."""
    return exp.Paren(this=kind(this=own(left), expression=own(right)))


def both(*conditions: Sql) -> Sql:
    """All of the conditions; true if there are none."""
    if not conditions:
        return exp.true()
    return reduce(lambda left, right: binary(exp.And, left, right), conditions)


def either(*conditions: Sql) -> Sql:
    return reduce(lambda left, right: binary(exp.Or, left, right), conditions)


def negated(condition: Sql) -> Sql:
    return exp.Not(this=exp.Paren(this=own(condition)))


def defined(value: Sql) -> Sql:
    return negated(exp.Is(this=own(value), expression=exp.Null()))


def case(*branches: tuple[Sql, Sql], default: Sql | None = None) -> Sql:
    ifs = [exp.If(this=own(test), true=own(value)) for test, value in branches]
    return exp.Case(ifs=ifs, default=own(default) if default is not None else None)


def cast(value: Sql, base: str, *, lenient: bool = False) -> Sql:
    """The value as base type `base`; NULL where that is impossible, if `lenient`."""
    kind = exp.TryCast if lenient else exp.Cast
    return kind(this=own(value), to=data_type(base))


def data_type(base: str) -> Sql:
    """The SQL type of values of a base type."""
    return exp.DataType(this=exp.DataType.Type[SQL_TYPES[base]])


def attempt(value: Sql) -> Sql:
    """NULL where the engine would raise an error (overflow)."""
    return call("TRY", value)


# ------------------------------------------------------------------------------------------------ terms


def literal(value: Value, base: str) -> Sql:
    """A constant with its type spelt out, so that no engine guesses."""
    if base == "bool":
        return exp.true() if value else exp.false()
    if base == "string":
        return exp.Literal.string(str(value))
    if base == "float":
        # Text keeps NaN, infinities and every bit; -0.0 is 0.0 in this language.
        return cast(exp.Literal.string(repr(float(value) + 0.0)), "float")
    return cast(exp.Literal.string(str(int(value))), "int")


def expression(value: Expr, columns: Mapping[Var, Sql]) -> Sql:
    """An expression over the columns that hold its variables."""
    if isinstance(value, Var):
        return columns[value].copy()
    if isinstance(value, Const):
        return literal(value.value, value.type.base)
    arguments = [expression(argument, columns) for argument in value.arguments]
    if value.name in _ARITHMETIC:
        base = value.arguments[0].type.base
        return _ARITHMETIC[value.name](base, *arguments)
    result = _FUNCTIONS[value.name](*arguments)
    if value.name in _NOT_STRICT and any(isinstance(argument, Op) for argument in value.arguments):
        return case((both(*map(defined, arguments)), result))
    return result


def comparison(test: Compare, columns: Mapping[Var, Sql]) -> Sql:
    """A comparison; floats are in the total order that DuckDB has too (NaN equals itself and is greatest)."""
    return binary(_COMPARISONS[test.op], expression(test.left, columns), expression(test.right, columns))


def failing(tests: Sequence[Compare], columns: Mapping[Var, Sql]) -> Sql:
    """That not all of the comparisons hold; an undefined one does not."""
    holds = both(*(comparison(test, columns) for test in tests))
    return negated(exp.Is(this=own(holds), expression=exp.true()))


# ------------------------------------------------------------------------------------------------ arithmetic


def _checked(kind: type[exp.Binary], base: str, left: Sql, right: Sql) -> Sql:
    result = binary(kind, left, right)
    return attempt(result) if base == "int" else result


def _divide(_base: str, left: Sql, right: Sql) -> Sql:
    divisor = exp.Nullif(this=cast(right, "float"), expression=cast(number(0), "float"))
    return exp.Paren(this=exp.Div(this=cast(left, "float"), expression=divisor, typed=True, safe=True))


def _rest(left: Sql, right: Sql) -> Sql:
    """The remainder with the sign of the dividend; by -1 it is 0, which engines may take for an overflow."""
    divisor = exp.Nullif(this=own(right), expression=number(0))
    return case(
        (binary(exp.EQ, right, number(-1)), cast(number(0), "int")), default=binary(exp.Mod, left, divisor)
    )


def _crosses_zero(left: Sql, right: Sql) -> Sql:
    signs = binary(exp.NEQ, binary(exp.LT, left, number(0)), binary(exp.LT, right, number(0)))
    return both(binary(exp.NEQ, _rest(left, right), number(0)), signs)


def _modulo(_base: str, left: Sql, right: Sql) -> Sql:
    rest = _rest(left, right)
    return case((_crosses_zero(left, right), binary(exp.Add, rest, right)), default=rest)


def _floor_divide(_base: str, left: Sql, right: Sql) -> Sql:
    divisor = exp.Nullif(this=own(right), expression=number(0))
    quotient = attempt(binary(exp.IntDiv, left, divisor))
    return case((_crosses_zero(left, right), binary(exp.Sub, quotient, number(1))), default=quotient)


def _negative(base: str, value: Sql) -> Sql:
    result = exp.Paren(this=exp.Neg(this=own(value)))
    return attempt(result) if base == "int" else result


def _absolute(base: str, value: Sql) -> Sql:
    return attempt(call("ABS", value)) if base == "int" else call("ABS", value)


def _floor(base: str, value: Sql) -> Sql:
    return value if base == "int" else cast(call("FLOOR", value), "int", lenient=True)


def _ceil(base: str, value: Sql) -> Sql:
    return value if base == "int" else cast(call("CEIL", value), "int", lenient=True)


def _to_float(base: str, value: Sql) -> Sql:
    return _read(value, FLOAT_TEXT, "float") if base == "string" else cast(value, "float")


def _to_int(base: str, value: Sql) -> Sql:
    if base == "string":
        return _read(value, INT_TEXT, "int")
    return cast(call("TRUNC", value), "int", lenient=True) if base == "float" else cast(value, "int")


def _read(value: Sql, pattern: str, base: str) -> Sql:
    looks_right = call("REGEXP_FULL_MATCH", value, exp.Literal.string(pattern))
    return case((looks_right, cast(value, base, lenient=True)))


#: Operations whose SQL depends on the base type of the (first) argument.
_ARITHMETIC: dict[str, Callable[..., Sql]] = {
    "+": partial(_checked, exp.Add),
    "-": partial(_checked, exp.Sub),
    "*": partial(_checked, exp.Mul),
    "/": _divide,
    "//": _floor_divide,
    "%": _modulo,
    "neg": _negative,
    "abs": _absolute,
    "floor": _floor,
    "ceil": _ceil,
    "to_float": _to_float,
    "to_int": _to_int,
}

# ------------------------------------------------------------------------------------------------ functions


def _square_root(value: Sql) -> Sql:
    return case((binary(exp.GTE, value, cast(number(0), "float")), call("SQRT", value)))


def _logarithm(value: Sql) -> Sql:
    return case((binary(exp.GT, value, cast(number(0), "float")), call("LN", value)))


def _smaller(left: Sql, right: Sql) -> Sql:
    return case((binary(exp.LTE, left, right), left), (binary(exp.GT, left, right), right))


def _larger(left: Sql, right: Sql) -> Sql:
    return case((binary(exp.GTE, left, right), left), (binary(exp.LT, left, right), right))


def _approx(left: Sql, right: Sql, relative: Sql, absolute: Sql) -> Sql:
    finite = both(call("ISFINITE", left), call("ISFINITE", right))
    allowed = binary(exp.Add, absolute, binary(exp.Mul, relative, call("ABS", right)))
    close = binary(exp.LTE, call("ABS", binary(exp.Sub, left, right)), allowed)
    return case((binary(exp.EQ, left, right), exp.true()), (finite, close), default=exp.false())


def _glob(pattern: Sql, text: Sql) -> Sql:
    """LIKE with its own marks escaped: GLOB of engines knows brackets, ours does not."""
    if isinstance(pattern, exp.Literal):
        like: Sql = exp.Literal.string(_like(pattern.this))
    else:
        like = pattern
        for old, new in _LIKE_MARKS:
            like = call("REPLACE", like, exp.Literal.string(old), exp.Literal.string(new))
    matches = exp.Like(this=own(text), expression=like)
    return exp.Paren(this=exp.Escape(this=matches, expression=exp.Literal.string("!")))


_LIKE_MARKS = (("!", "!!"), ("%", "!%"), ("_", "!_"), ("*", "%"), ("?", "_"))


def _like(pattern: str) -> str:
    for old, new in _LIKE_MARKS:
        pattern = pattern.replace(old, new)
    return pattern


def _replace(text: Sql, old: Sql, new: Sql) -> Sql:
    empty = binary(exp.EQ, old, exp.Literal.string(""))
    return case((empty, text), default=call("REPLACE", text, old, new))


def _split_part(text: Sql, separator: Sql, index: Sql) -> Sql:
    parts = call("STRING_SPLIT", text, separator)
    known = binary(exp.NEQ, separator, exp.Literal.string(""))
    from_start = binary(exp.GTE, index, number(0))
    # Lists count from 1, and a negative index counts from the end as ours does; outside is NULL.
    position = case((from_start, attempt(binary(exp.Add, index, number(1)))), default=index)
    return case((known, call("LIST_EXTRACT", parts, position)))


def _count_parts(text: Sql, separator: Sql) -> Sql:
    known = binary(exp.NEQ, separator, exp.Literal.string(""))
    return case((known, call("LEN", call("STRING_SPLIT", text, separator))), default=cast(number(0), "int"))


def _slice(text: Sql, start: Sql, end: Sql) -> Sql:
    """Positions are cut to the text first, so that nothing overflows; SUBSTRING counts from 1."""
    length = call("LENGTH", text)

    def place(given: Sql) -> Sql:
        from_end = call("GREATEST", binary(exp.Add, given, length), number(0))
        from_start = call("LEAST", given, length)
        return case((binary(exp.LT, given, number(0)), from_end), default=from_start)

    first = place(start)
    count = call("GREATEST", binary(exp.Sub, place(end), first), number(0))
    return call("SUBSTRING", text, binary(exp.Add, first, number(1)), count)


def _index_of(text: Sql, part: Sql) -> Sql:
    found = exp.Nullif(this=call("INSTR", text, part), expression=number(0))
    empty = binary(exp.EQ, part, exp.Literal.string(""))
    return case((empty, cast(number(0), "int")), default=binary(exp.Sub, found, number(1)))


def _lower(text: Sql) -> Sql:
    return call("TRANSLATE", text, exp.Literal.string(_UPPER), exp.Literal.string(_UPPER.lower()))


def _plain(name: str) -> Callable[..., Sql]:
    return partial(call, name)


_FUNCTIONS: dict[str, Callable[..., Sql]] = {
    "sqrt": _square_root,
    "log": _logarithm,
    "exp": _plain("EXP"),
    "min_of": _smaller,
    "max_of": _larger,
    "is_nan": _plain("ISNAN"),
    "is_inf": _plain("ISINF"),
    "is_finite": _plain("ISFINITE"),
    "approx": _approx,
    "glob": _glob,
    "matches": lambda pattern, text: call("REGEXP_FULL_MATCH", text, pattern),
    "starts_with": _plain("STARTS_WITH"),
    "ends_with": _plain("ENDS_WITH"),
    "contains": _plain("CONTAINS"),
    "length": _plain("LENGTH"),
    "lower": _lower,
    "replace": _replace,
    "split_part": _split_part,
    "count_parts": _count_parts,
    "slice": _slice,
    "index_of": _index_of,
    "concat": lambda left, right: binary(exp.DPipe, left, right),
    "to_string": lambda value: cast(value, "string"),
}
#: Functions whose SQL may be defined although an argument is not.
_NOT_STRICT = frozenset({"approx", "replace", "count_parts", "slice", "index_of"})

# ------------------------------------------------------------------------------------------------ aggregates


def aggregate(kind: str, value: Sql, base: str, key: Sql) -> Sql:
    """An aggregate over rows in which `value` (and `key`, if used) is not NULL; NULL where the total is undefined."""
    if kind == "count":
        return exp.Count(this=exp.Star())
    if kind == "distinct":
        return exp.Count(this=exp.Distinct(expressions=[own(value)]))
    if kind in ("min", "max"):
        return call(kind.upper(), value)
    if kind in ("arg_min", "arg_max"):
        order = [exp.Ordered(this=own(key), desc=kind == "arg_max"), exp.Ordered(this=own(value))]
        return exp.Anonymous(this="FIRST", expressions=[exp.Order(this=own(value), expressions=order)])
    total = _float_sum(value) if base == "float" else call("SUM", value)
    if kind == "mean":
        rows = cast(exp.Count(this=exp.Star()), "float")
        return exp.Div(this=cast(total, "float"), expression=rows, typed=True, safe=True)
    return cast(total, base, lenient=True)


def _float_sum(value: Sql) -> Sql:
    finite = call("ISFINITE", value)
    infinite = exp.Filter(this=call("SUM", value), expression=exp.Where(this=negated(finite)))
    collected = exp.Filter(this=call("LIST", value), expression=exp.Where(this=finite))
    return case((call("BOOL_AND", finite), call(EXACT_SUM, collected)), default=infinite)


def normal(value: Sql, base: str) -> Sql:
    """A float with 0.0 for -0.0; other values as they are."""
    if base != "float":
        return value
    zero = cast(number(0), "float")
    return case((binary(exp.EQ, value, zero), zero), default=value)
