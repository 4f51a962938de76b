"""Nodes of the relational plan.

A plan yields bindings: rows whose columns are variables of the IR. Nodes are frozen and may be shared: a node that two
parents hold is the same relation, and executors evaluate it once. Bindings may repeat unless a node says "distinct";
where multiplicity would matter (projection, grouping, set operations) the node removes duplicates itself.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.ir import Compare, Const, Expr, Fact, Predicate, Term, Var
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence


class Version(Enum):
    """Which facts of a derived relation a scan reads during semi-naive evaluation."""

    TOTAL = "total"
    DELTA = "delta"  # found in the last round
    OLD = "old"  # found before the last round


@dataclass(frozen=True, slots=True)
class Unit:
    """One binding of no variables: where every body starts."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Facts of a relation that match the terms: constants and repeated variables filter, variables are columns."""

    predicate: Predicate
    terms: tuple[Term, ...]
    version: Version = Version.TOTAL


@dataclass(frozen=True, slots=True)
class Values:
    """Given bindings, in the order of `columns`."""

    columns: tuple[Var, ...]
    rows: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Pairs that agree on the variables that both sides have."""

    left: Plan
    right: Plan


@dataclass(frozen=True, slots=True)
class Select:
    """Bindings for which the comparison holds; an undefined side makes it fail."""

    source: Plan
    test: Compare


@dataclass(frozen=True, slots=True)
class Extend:
    """Bindings with one variable more; those for which the value is undefined are dropped."""

    source: Plan
    variable: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class SemiJoin:
    """Bindings of `left` that have a partner in `right`, which brings no new variables."""

    left: Plan
    right: Plan


@dataclass(frozen=True, slots=True)
class AntiJoin:
    """Bindings of `left` without a partner in `right` that agrees on shared variables and passes `tests`."""

    left: Plan
    right: Plan
    tests: tuple[Compare, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupBy:
    """`keys` extended by `result`: an aggregate over the distinct bindings of `over` in `inner` that agree on `by`.

    For count, sum and distinct each binding of `keys` has a result (0 where nothing agrees), for the others only
    where something does. An undefined `value` or `key` does not take part; an undefined total drops the binding.
    `key` is what arg_min and arg_max compare.
    """

    keys: Plan
    inner: Plan
    by: tuple[Var, ...]
    kind: str
    value: Expr | None
    over: tuple[Var, ...]
    result: Var
    key: Expr | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """Some variables of the source; without repetition if `distinct`."""

    source: Plan
    columns: tuple[Var, ...]
    distinct: bool = True


@dataclass(frozen=True, slots=True)
class Union:
    """Bindings of any part, without repetition; the parts have the same variables."""

    parts: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Bindings of `left` that are not in `right`, without repetition; both have the same variables."""

    left: Plan
    right: Plan


Plan: TypeAlias = (
    Unit
    | Scan
    | Values
    | Join
    | SemiJoin
    | Select
    | Extend
    | AntiJoin
    | GroupBy
    | Project
    | Union
    | Difference
)


def children(plan: Plan) -> tuple[Plan, ...]:
    """The plans that a node reads."""
    match plan:
        case Unit() | Scan() | Values():
            return ()
        case Join(left, right) | SemiJoin(left, right) | AntiJoin(left, right) | Difference(left, right):
            return (left, right)
        case Select(source) | Extend(source) | Project(source):
            return (source,)
        case GroupBy(keys, inner):
            return (keys, inner)
        case Union(parts):
            return parts


def columns(plan: Plan) -> tuple[Var, ...]:
    """The variables that a plan binds, each once, in the order in which they are bound."""
    match plan:
        case Unit():
            return ()
        case Scan(terms=terms):
            return tuple(dict.fromkeys(term for term in terms if isinstance(term, Var)))
        case Values(columns=names) | Project(columns=names):
            return names
        case Join(left, right):
            return tuple(dict.fromkeys((*columns(left), *columns(right))))
        case Extend(source, variable):
            return (*columns(source), variable)
        case GroupBy(keys=keys, result=result):
            return (*columns(keys), result)
        case Select(source):
            return columns(source)
        case SemiJoin(left) | AntiJoin(left) | Difference(left):
            return columns(left)
        case Union(parts):
            return columns(parts[0])


def is_distinct(plan: Plan, wanted: Sequence[Var]) -> bool:
    """Whether the plan has no two equal rows in the wanted variables, so that DISTINCT would only cost."""
    if set(wanted) != set(columns(plan)):
        return False
    match plan:
        case Scan(predicate, terms):
            return not predicate.observed and all(isinstance(term, Var | Const) for term in terms)
        case (
            Select(source)
            | Extend(source)
            | SemiJoin(left=source)
            | AntiJoin(left=source)
            | GroupBy(keys=source)
        ):
            return is_distinct(source, columns(source))
        case Project(distinct=distinct):
            return distinct
        case Union() | Difference() | Unit():
            return True
        case Values(rows=rows):
            return len(set(rows)) == len(rows)
        case Join(left, right):
            return is_distinct(left, columns(left)) and is_distinct(right, columns(right))
