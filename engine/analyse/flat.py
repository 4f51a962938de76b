"""Clauses between names and types: positional, scopes renamed apart, one operation of the IR per literal.

Produced by `normalise`, read by `types`, `safety` and `lower`. Variables are unique in a clause by name;
a name with `#` was made by analysis (`X#1` is a second `X`, `#1` the value of an expression).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar.ast import NOWHERE, Span, Value
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class FVar:
    name: str
    span: Span = NOWHERE

    @property
    def made(self) -> bool:
        """It stands for an expression; the user did not write it."""
        return self.name.startswith("#")

    @property
    def shown(self) -> str:
        """The name as the user wrote it."""
        return self.name.split("#")[0]


@dataclass(frozen=True, slots=True)
class FConst:
    value: Value
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FAny:
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FOp:
    """Arithmetic (`neg` is the sign) or a built-in function."""

    name: str
    arguments: tuple[FExpr, ...]
    span: Span = NOWHERE


FTerm: TypeAlias = FVar | FConst | FAny
FExpr: TypeAlias = FVar | FConst | FOp


@dataclass(frozen=True, slots=True)
class FAtom:
    predicate: str
    terms: tuple[FTerm, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FCompare:
    op: str
    left: FExpr
    right: FExpr
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FBind:
    """An equation that `safety` found to bind its variable."""

    variable: FVar
    value: FExpr
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FNot:
    body: FBody
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FGroup:
    """`over` are the variables of its own that the user wrote at the first level of its body."""

    result: FVar
    kind: str
    value: FExpr | None
    over: tuple[str, ...]
    body: FBody
    span: Span = NOWHERE
    key: FExpr | None = None

    def values(self) -> tuple[FExpr, ...]:
        """The value and the key, as far as there are."""
        return tuple(given for given in (self.value, self.key) if given is not None)


@dataclass(frozen=True, slots=True)
class FEither:
    """`outer` are the variables of scopes around it that its alternatives mention directly.

    `binds` are those of them that it binds, found by `safety`.
    """

    alternatives: tuple[FBody, ...]
    outer: tuple[FVar, ...]
    span: Span = NOWHERE
    binds: tuple[str, ...] = ()


FLiteral: TypeAlias = FAtom | FCompare | FBind | FNot | FGroup | FEither
FBody: TypeAlias = tuple[FLiteral, ...]


@dataclass(frozen=True, slots=True)
class Clause:
    """A rule (with `head`), or an invariant or template; `given` are metavariables: name -> type."""

    head: FAtom | None
    body: FBody
    expect: tuple[FBody, ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    span: Span = NOWHERE


def expression_variables(expression: FExpr | FAny) -> Iterator[FVar]:
    """Occurrences of variables, left to right."""
    if isinstance(expression, FVar):
        yield expression
    elif isinstance(expression, FOp):
        for argument in expression.arguments:
            yield from expression_variables(argument)


def own_variables(literal: FLiteral) -> Iterator[FVar]:
    """Occurrences in the literal itself, without the bodies of negations and aggregates.

    Of a disjunction those that belong to a scope around it, each once.
    """
    if isinstance(literal, FAtom):
        for term in literal.terms:
            yield from expression_variables(term)
    elif isinstance(literal, FCompare):
        yield from expression_variables(literal.left)
        yield from expression_variables(literal.right)
    elif isinstance(literal, FBind):
        yield literal.variable
        yield from expression_variables(literal.value)
    elif isinstance(literal, FGroup):
        yield literal.result
    elif isinstance(literal, FEither):
        yield from literal.outer


def bodies(literal: FLiteral) -> tuple[FBody, ...]:
    """The bodies within a literal."""
    if isinstance(literal, FNot | FGroup):
        return (literal.body,)
    return literal.alternatives if isinstance(literal, FEither) else ()


def inner_variables(literal: FLiteral) -> Iterator[FVar]:
    """Occurrences in the bodies (and values) of a negation, aggregate or disjunction, at any depth."""
    for body in bodies(literal):
        for inner in body:
            yield from own_variables(inner)
            yield from inner_variables(inner)
    if isinstance(literal, FGroup):
        for value in literal.values():
            yield from expression_variables(value)


def deep(body: FBody) -> Iterator[FLiteral]:
    """All literals at all depths, outer before inner."""
    for literal in body:
        yield literal
        for inner in bodies(literal):
            yield from deep(inner)


def clause_literals(clause: Clause) -> Iterator[FLiteral]:
    """All literals of a clause at all depths; the head is not among them."""
    for body in (clause.body, *clause.expect):
        yield from deep(body)
