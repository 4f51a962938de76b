"""Bodies that no facts satisfy, as far as comparisons, relations without facts and negations show it.

Sound and not complete: a conflict is one whatever the facts are, by the order of values that `values.py` defines. What
depends on a parameter is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from typing import TypeAlias

from tcrules.engine.alternatives import conjunctions
from tcrules.engine.ir import (
    Any_,
    Atom,
    Bind,
    Body,
    Compare,
    Const,
    Either,
    Expr,
    Group,
    Literal,
    Not,
    Op,
    Value,
    Var,
)
from tcrules.engine.values import NAN, compare, order_key
from tcrules.grammar.ast import Span
from tcrules.grammar.records import dataclass
from tcrules.grammar.words import INT_MAX, INT_MIN

#: Whether what stands there depends on a parameter.
Loose: TypeAlias = Callable[[Span], object]
#: How two values may be ordered where a comparison holds.
SIGNS = {op: frozenset(op) for op in ("<", "<=", ">", ">=", "=")} | {"!=": frozenset("<>")}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "!=", "!=": "="}
#: Aggregates that have a value also of nothing.
COUNTS = frozenset({"count", "sum", "distinct"})
_ENDS: dict[str, tuple[Value | None, Value | None]] = {
    "int": (INT_MIN, INT_MAX),
    "float": (float("-inf"), NAN),
    "string": ("", None),
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """Literals that cannot hold together, and why."""

    literals: tuple[Literal, ...]
    why: str


def conflict(body: Body, empty: Set[str], loose: Loose) -> Conflict | None:
    """Why no facts satisfy a body without disjunctions; None where some may. `empty` relations never have facts."""
    known = Known()
    for literal in body:
        if isinstance(literal, Atom) and literal.predicate.name in empty:
            return Conflict((literal,), f"`{literal.predicate.name}` never has a fact")
        found = known.add(literal) if not loose(literal.span) else None
        if found is None and isinstance(literal, Group) and literal.kind not in COUNTS:
            found = _empty_group(literal, empty, loose)
        if found is not None:
            return found
    for literal in body:
        if isinstance(literal, Not) and not loose(literal.span):
            shared = {variable.name for variable in literal.shared}
            because = follows(literal.body, body, shared, loose)
            if because is not None:
                why = "asked for and negated" if because else "what is negated always holds here"
                return Conflict((literal, *because), why)
    return None


def impossible(body: Body, empty: Set[str], loose: Loose) -> Conflict | None:
    """Why no facts satisfy a body that may have disjunctions: the conflict of its first conjunction."""
    first = None
    for way in conjunctions(body):
        found = conflict(way, empty, loose)
        if found is None:
            return None
        first = first or found
    return first


def always(literal: Compare) -> bool:
    """Whether a comparison holds for all values; `true` alone, which says so, is not meant."""
    if literal.left == literal.right and isinstance(literal.left, Const) and literal.left.value is True:
        return False
    return bool(Known().holds(literal))


def _empty_group(group: Group, empty: Set[str], loose: Loose) -> Conflict | None:
    found = impossible(group.body, empty, loose)
    return (
        None if found is None else Conflict((group,), f"`{group.kind}` of nothing has no value: {found.why}")
    )


# ------------------------------------------------------------------------------------------------ what is known


@dataclass(frozen=True, slots=True)
class _End:
    """The smallest or largest value left, whether it is left itself, and the literal that says so."""

    value: Value | None
    strict: bool
    literal: Literal | None


class _Range:
    """What comparisons with constants leave of the values of an expression."""

    def __init__(self, base: str) -> None:
        low, high = _ENDS.get(base, (None, None))
        self.base = base
        self.low, self.high = _End(low, False, None), _End(high, False, None)
        self.without: dict[object, Literal] = {}

    def copy(self) -> _Range:
        made = _Range(self.base)
        made.low, made.high, made.without = self.low, self.high, dict(self.without)
        return made

    def add(self, op: str, value: Value, literal: Literal) -> Conflict | None:
        if op == "!=":
            self.without.setdefault(order_key(value), literal)
        if op in (">", ">=", "="):
            self._raise(*self._closed(op, value, 1), literal)
        if op in ("<", "<=", "="):
            self._lower(*self._closed(op, value, -1), literal)
        return self._nothing_left()

    def _closed(self, op: str, value: Value, next_: int) -> tuple[Value, bool]:
        if self.base == "int" and op in "<>":
            return int(value) + next_, False
        return value, op in "<>"

    def _raise(self, value: Value, strict: bool, literal: Literal) -> None:
        low = self.low
        if low.value is None or compare(">", value, low.value) or (strict and compare("=", value, low.value)):
            self.low = _End(value, strict, literal)

    def _lower(self, value: Value, strict: bool, literal: Literal) -> None:
        high = self.high
        if (
            high.value is None
            or compare("<", value, high.value)
            or (strict and compare("=", value, high.value))
        ):
            self.high = _End(value, strict, literal)

    def _nothing_left(self) -> Conflict | None:
        low, high = self.low, self.high
        if low.value is None or high.value is None or compare("<", low.value, high.value):
            return None
        ends = [low.literal, high.literal]
        if compare("=", low.value, high.value) and not (low.strict or high.strict):
            other = self.without.get(order_key(low.value))
            if other is None:
                return None
            ends.append(other)
        return _together(ends)


class Known:
    """What the comparisons of a body say of its expressions, literal by literal."""

    def __init__(self) -> None:
        self._values: dict[Expr, Expr] = {}
        self._ranges: dict[Expr, _Range] = {}
        self._signs: dict[tuple[Expr, Expr], tuple[frozenset[str], tuple[Literal, ...]]] = {}

    def add(self, literal: Literal) -> Conflict | None:
        """Take a literal in; a conflict with what is known already."""
        if isinstance(literal, Group) and literal.kind in ("count", "distinct"):
            return self._range(literal.result).add(">=", 0, literal)
        if isinstance(literal, Compare):
            return self._add(literal.op, literal.left, literal.right, literal)
        if isinstance(literal, Bind):
            found = self._add("=", literal.variable, literal.value, literal)
            if not isinstance(literal.value, Const):
                self._values[literal.variable] = self._value(literal.value)
            return found
        return None

    def _value(self, of: Expr) -> Expr:
        """What a variable was bound to, which has its value."""
        return self._values.get(of, of)

    def _add(self, op: str, left: Expr, right: Expr, literal: Literal) -> Conflict | None:
        if _undefined(left) or _undefined(right):
            return Conflict((literal,), "an expression in it has no value")
        left, right = self._value(left), self._value(right)
        if isinstance(left, Const):
            if isinstance(right, Const):
                true = compare(op, left.value, right.value)
                return None if true else Conflict((literal,), "it is false")
            op, left, right = _TURNED[op], right, left
        if isinstance(right, Const):
            return self._range(left).add(op, right.value, literal)
        if (right, left) in self._signs:
            op, left, right = _TURNED[op], right, left
        signs, said = self._signs.get((left, right), (frozenset("=" if left == right else "<=>"), ()))
        signs, said = signs & SIGNS[op], (*said, literal)
        self._signs[left, right] = signs, said
        return None if signs else _together(said)

    def _range(self, of: Expr) -> _Range:
        return self._ranges.setdefault(of, _Range(of.type.base))

    def holds(self, literal: Compare) -> bool:
        """Whether a comparison follows from what is known; its sides have a value then."""
        op, left, right = literal.op, self._value(literal.left), self._value(literal.right)
        if isinstance(left, Const):
            if isinstance(right, Const):
                return compare(op, left.value, right.value)
            op, left, right = _TURNED[op], right, left
        if isinstance(right, Const):
            if left not in self._ranges and not isinstance(left, Var):
                return False
            left_over = self._ranges.get(left) or _Range(left.type.base)
            return left_over.copy().add(_OPPOSITE[op], right.value, literal) is not None
        if left == right and isinstance(literal.left, Var) and isinstance(literal.right, Var):
            return "=" in SIGNS[op]
        if (right, left) in self._signs:
            op, left, right = _TURNED[op], right, left
        signs, _ = self._signs.get((left, right), (None, ()))
        return signs is not None and signs <= SIGNS[op]


def _together(literals: Iterable[Literal | None]) -> Conflict:
    said = tuple(dict.fromkeys(literal for literal in literals if literal is not None))
    why = "these exclude each other" if len(said) > 1 else "no value is like this"
    return Conflict(said, why)


def _undefined(value: Expr) -> bool:
    """Analysis computes expressions of constants; one that is left has no value."""
    if not isinstance(value, Op):
        return False
    return all(isinstance(a, Const) for a in value.arguments) or any(map(_undefined, value.arguments))


# ------------------------------------------------------------------------------------------------ negations


def follows(asked: Body, given: Body, shared: Set[str], loose: Loose) -> tuple[Literal, ...] | None:
    """The atoms of `given` because of which `asked` holds wherever `given` does; None where that is not to be seen.

    `shared` are the variables that both know; `given` has no conflict.
    """
    known, atoms = Known(), []
    for literal in given:
        if not loose(literal.span):
            known.add(literal)
            atoms += [literal] if isinstance(literal, Atom) else []
    single = {name for name, number in Counter(_names(asked)).items() if number == 1} - shared
    because: list[Literal] = []
    for literal in asked:
        if loose(literal.span):
            return None
        if isinstance(literal, Atom):
            same = next((atom for atom in atoms if _covers(literal, atom, single)), None)
            if same is None:
                return None
            because.append(same)
        elif not isinstance(literal, Compare) or not known.holds(literal):
            return None
    return tuple(because)


def _covers(asked: Atom, given: Atom, free: Set[str]) -> bool:
    """Whether a fact for `given` is one for `asked`, where `free` variables may be anything."""
    return asked.predicate.name == given.predicate.name and all(
        isinstance(want, Any_) or (isinstance(want, Var) and want.name in free) or want == have
        for want, have in zip(asked.arguments, given.arguments, strict=True)
    )


def _names(body: Body) -> Iterator[str]:
    """Names of variables, as often as they occur; nested bodies included."""
    for literal in body:
        match literal:
            case Atom(arguments=terms):
                yield from (term.name for term in terms if isinstance(term, Var))
            case Compare(left=left, right=right):
                yield from _read(left)
                yield from _read(right)
            case Bind(variable, value):
                yield variable.name
                yield from _read(value)
            case Not(body=inner) | Group(body=inner):
                yield from _names(inner)
            case Either(alternatives):
                for alternative in alternatives:
                    yield from _names(alternative)


def _read(value: Expr) -> Iterator[str]:
    if isinstance(value, Var):
        yield value.name
    elif isinstance(value, Op):
        for argument in value.arguments:
            yield from _read(argument)
