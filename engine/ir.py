"""The typed rule IR: what analysis makes of a syntax tree and what every executor evaluates.

All names are resolved, arguments are positional and complete, every variable has a type, parameters are
replaced by their values, strata are computed. No source text; spans are kept for messages.
"""

from __future__ import annotations

from typing import TypeAlias

from tcrules.grammar.ast import NOWHERE, Span
from tcrules.grammar.ast import Value as Value
from tcrules.grammar.records import dataclass

#: A ground tuple of a relation, columns in declared order.
Fact: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """A type by name; `base` is int, float, bool or string and decides representation and order."""

    name: str
    base: str


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Predicate:
    """Name and columns of a relation. `observed` (EDB) facts come from a run, others (IDB) from rules.

    `best` is "min" or "max" where the relation keeps, for equal values of all columns but the last, only the fact with
    the smallest or largest last one; such a relation may be recursive through it.
    """

    name: str
    columns: tuple[Column, ...]
    observed: bool
    best: str = ""


# ------------------------------------------------------------------------------------------------ terms


@dataclass(frozen=True, slots=True)
class Var:
    """A variable. Names are unique within a rule: inner scopes are renamed by analysis."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Const:
    value: Value
    type: Type


@dataclass(frozen=True, slots=True)
class Any_:
    """A column that does not matter."""


@dataclass(frozen=True, slots=True)
class Op:
    """Arithmetic (`+ - * / // %`, `neg` with one argument) or a built-in function of values."""

    name: str
    arguments: tuple[Expr, ...]
    type: Type


Term: TypeAlias = Var | Const | Any_
Expr: TypeAlias = Var | Const | Op

# ------------------------------------------------------------------------------------------------ literals


@dataclass(frozen=True, slots=True)
class Atom:
    """`arguments` are in the order of the predicate's columns."""

    predicate: Predicate
    arguments: tuple[Term, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`, both bound when it is reached; op one of `= != < <= > >=`."""

    op: str
    left: Expr
    right: Expr
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Bind:
    """`variable = expression`, where analysis found that this binds the variable."""

    variable: Var
    value: Expr
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Not:
    """No binding of the body's own variables satisfies it. `shared` are the outer variables that it reads."""

    body: Body
    shared: tuple[Var, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Group:
    """`result = kind(value) { body }` for each binding of `shared`, over distinct bindings of `over`.

    Kinds: count, sum, min, max, mean; distinct (the number of different values), arg_min and arg_max (the value where
    `key` is smallest or largest, of several the smallest value). count, sum and distinct of nothing are 0; the others
    have no binding.
    """

    result: Var
    kind: str
    value: Expr | None
    over: tuple[Var, ...]
    body: Body
    shared: tuple[Var, ...]
    span: Span = NOWHERE
    key: Expr | None = None


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of the alternatives holds. Each binds all of `binds`; `shared` are outer variables that they read.

    Bodies of rules hold none: analysis makes a rule of each alternative.
    """

    alternatives: tuple[Body, ...]
    binds: tuple[Var, ...]
    shared: tuple[Var, ...]
    span: Span = NOWHERE


Literal: TypeAlias = Atom | Compare | Bind | Not | Group | Either
#: Literals in an order in which each finds bound what it needs.
Body: TypeAlias = tuple[Literal, ...]

# ------------------------------------------------------------------------------------------------ statements


@dataclass(frozen=True, slots=True)
class Rule:
    """`head :- body`. Head terms are variables or constants."""

    head: Atom
    body: Body
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Stratum:
    """Predicates that depend on each other, with their rules. `recursive` strata need a fixpoint."""

    predicates: tuple[Predicate, ...]
    rules: tuple[Rule, ...]
    recursive: bool


@dataclass(frozen=True, slots=True)
class Window:
    """When an instance can be decided.

    kind: "body" (as soon as its body is complete), "run" (only when the run ended). `because` names the literal.
    """

    kind: str
    because: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps `first` to `last` relative to another one; None: without end."""

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """The steps and ranks of the facts that an instance reads, relative to its own step and rank.

    `spans` holds relations, `others` the steps of those that are not in it. `own_rank`: only its own rank is read.
    """

    spans: tuple[tuple[str, Steps], ...] = ()
    others: Steps = Steps(None, None)
    own_rank: bool = False

    def steps(self, relation: str) -> Steps:
        """The steps at which facts of a relation may matter."""
        return dict(self.spans).get(relation, self.others)


@dataclass(frozen=True, slots=True)
class Invariant:
    """For each binding of `variables` by `each`, one of the alternatives of `expect` must hold.

    An empty `expect` is a denial: each binding is a violation.
    `watched` are the observed relations whose missing facts could turn a verdict (they occur under negation, in an
    aggregate or in `expect`, also through derived relations); `needs` those that the body reads positively.
    `saves` are those more facts of which could make a violated instance hold, or no instance; `spoils` those that could
    make one that holds violated: if there are none, it holds whatever else is missing. `monotone`: more facts change
    neither instances nor what holds.
    `step` is the variable that tells when an instance happened, if there is one; `rank` likewise.
    """

    id: str
    severity: str
    tags: tuple[str, ...]
    doc: str
    each: Body
    variables: tuple[Var, ...]
    expect: tuple[Body, ...]
    about: tuple[Var, ...]
    message: str
    step: Var | None
    rank: Var | None
    needs: frozenset[str]
    watched: frozenset[str]
    saves: frozenset[str]
    spoils: frozenset[str]
    monotone: bool
    window: Window
    reach: Reach = Reach()
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Template:
    """An invariant with metavariables. `bound` are bound by `each`, `free` only by `expect`.

    Metavariables appear as ordinary variables in `invariant` (those bound are among its variables). `guard` are the
    variables of `each` that a learned guard may restrict.
    """

    invariant: Invariant
    bound: tuple[Var, ...]
    free: tuple[Var, ...]
    guard: tuple[Var, ...]


@dataclass(frozen=True, slots=True)
class Suppression:
    """Violations of `rule` are meant where each named variable has the value given, a text being a glob pattern.

    `until` is the last day on which it counts, as YYYY-MM-DD; "" means for ever.
    """

    rule: str
    bindings: tuple[tuple[str, Value], ...]
    reason: str
    until: str
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Program:
    """Analysed rule files. `strata` are in evaluation order and hold every derived predicate."""

    predicates: dict[str, Predicate]
    strata: tuple[Stratum, ...]
    invariants: tuple[Invariant, ...]
    templates: tuple[Template, ...]
    suppressions: tuple[Suppression, ...] = ()
