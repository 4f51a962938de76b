"""The syntax tree of `.tcr` and `.tcr-test` files: frozen data, with the span of every node.

Spans do not take part in equality, so `parse(print(tree)) == tree` can be stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Sequence

Value: TypeAlias = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters in a source; `line` and `column` are 1-based and belong to `start`."""

    source: str
    start: int
    end: int
    line: int
    column: int


NOWHERE = Span("<built>", 0, 0, 1, 1)


def _span() -> Span:
    return field(default=NOWHERE, compare=False, repr=False)


# ------------------------------------------------------------------------------------------------ terms


@dataclass(frozen=True, slots=True)
class Variable:
    """`S`, `Param`: starts with a capital letter."""

    name: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class MetaVariable:
    """`?A`: stands for a constant that inference fills in; only in templates. `name` is without the mark."""

    name: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`_`"""

    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$warmup`: a setting declared with `param`. `name` is without the mark."""

    name: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Constant:
    """`3`, `0.5`, `true`, `"text"`. The Python type of `value` is its type."""

    value: Value
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Operation:
    """`left op right`, op one of `+ - * / // %`."""

    op: str
    left: Expression
    right: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Negative:
    """`-operand`"""

    operand: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Apply:
    """`function(arguments)`: a built-in function of values, such as `abs(X)` or `glob("*.weight", P)`."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`count { body }`, `count(V) { body }`, `sum(V) { body }`, also min, max and mean; `arg_min(V, K) { body }`.

    Ranges over the set of distinct bindings of the body's named variables that do not occur outside of it. `key` is
    what arg_min and arg_max compare.
    """

    kind: str
    value: Expression | None
    body: tuple[Literal, ...]
    span: Span = _span()
    key: Expression | None = None


Expression: TypeAlias = (
    Variable | MetaVariable | Wildcard | Parameter | Constant | Operation | Negative | Apply | Aggregate
)

# ------------------------------------------------------------------------------------------------ literals


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an atom; `name` is None where it is positional."""

    name: str | None
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Atom:
    """`relation(column: Term, …)` or `relation(Term, …)`. Columns that are not named are wildcards."""

    relation: str
    arguments: tuple[Argument, ...]
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Negation:
    """`not atom` (a body of one literal) or `not { body }`: no binding of the body's own variables satisfies it."""

    body: tuple[Literal, ...]
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left op right`, op one of `= != < <= > >=`. `Variable = expression` may bind the variable."""

    op: str
    left: Expression
    right: Expression
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Test:
    """A boolean expression used as a literal: `glob("*.bias", P)`, `true`, `false`."""

    expression: Expression
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disjunction:
    """`{ a or b, c }`: one of at least two conjunctions holds.

    Where it is all of a body, the braces may be left out.
    """

    alternatives: tuple[tuple[Literal, ...], ...]
    span: Span = _span()
    comments: tuple[str, ...] = ()


Literal: TypeAlias = Atom | Negation | Comparison | Test | Disjunction

# ------------------------------------------------------------------------------------------------ statements


@dataclass(frozen=True, slots=True)
class Annotation:
    """`@error`, `@tags(optimizer, ddp)`. Arguments are words or constants; a word is kept as text."""

    name: str
    arguments: tuple[Value, ...] = ()
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Import:
    """`import "file.tcr"`, relative to the importing file."""

    path: str
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeDeclaration:
    """`type user <: string`"""

    name: str
    base: str
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnDeclaration:
    """`name: type`; with `best`, `name: min type` or `name: max type`: of facts that differ in it, one is kept."""

    name: str
    type: str
    span: Span = _span()
    best: str = ""


@dataclass(frozen=True, slots=True)
class RelationDeclaration:
    """`relation name(column: type, …)`; only the last column may have a `best`."""

    name: str
    columns: tuple[ColumnDeclaration, ...]
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParameterDeclaration:
    """`param name: type = constant`"""

    name: str
    type: str
    default: Value
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """`head :- body.`, or a fact `head.` where the body is empty."""

    head: Atom
    body: tuple[Literal, ...] = ()
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetaDeclaration:
    """`?A: api`, in the head of a template."""

    name: str
    type: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Invariant:
    """`invariant id @severity { each … expect … or … about … message "…" }`

    `expect` holds the alternatives; `about` the variables that name what is wrong (empty: taken from the message).
    `forbid body` is read as `each body expect false`.
    """

    id: str
    each: tuple[Literal, ...]
    expect: tuple[tuple[Literal, ...], ...]
    about: tuple[Variable, ...] = ()
    message: str | None = None
    annotations: tuple[Annotation, ...] = ()
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """`template id(?A: api, ?B: api) @… { each … guard X, Y expect … about … message "…" }`

    `guard` lists the variables of `each` that a learned guard may restrict.
    """

    id: str
    metavariables: tuple[MetaDeclaration, ...]
    each: tuple[Literal, ...]
    expect: tuple[tuple[Literal, ...], ...]
    guard: tuple[Variable, ...] = ()
    about: tuple[Variable, ...] = ()
    message: str | None = None
    annotations: tuple[Annotation, ...] = ()
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """`P: "fc.weight"`: a value for a variable of a rule."""

    variable: str
    value: Value
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Suppression:
    """`suppress rule-id (P: "embed.*") because "…" until "2027-01-31"`

    `until` is the last day on which it counts, written YYYY-MM-DD; None: it counts for ever.
    """

    rule: str
    bindings: tuple[Binding, ...]
    reason: str
    until: str | None = None
    doc: tuple[str, ...] = ()
    span: Span = _span()
    comments: tuple[str, ...] = ()


Statement: TypeAlias = (
    Import
    | TypeDeclaration
    | RelationDeclaration
    | ParameterDeclaration
    | Rule
    | Invariant
    | Template
    | Suppression
)


@dataclass(frozen=True, slots=True)
class Program:
    """One `.tcr` file. `trailing` are comments after the last statement."""

    statements: Sequence[Statement]
    span: Span = _span()
    trailing: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------ rule tests


@dataclass(frozen=True, slots=True)
class Expectation:
    """`violated rule-id (P: "fc.weight")`, `held rule-id`, `vacuous rule-id`, `unknown rule-id`.

    `bindings` must be part of at least one violation; only with `violated`.
    """

    verdict: str
    rule: str
    bindings: tuple[tuple[str, Value], ...] = ()
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TestCase:
    """`test "name" { facts { … } unrecorded relation, … expect { … } }`

    Columns that a fact leaves out have the neutral value of their type: 0, 0.0, false, "".
    """

    name: str
    facts: tuple[Atom, ...]
    unrecorded: tuple[str, ...]
    expectations: tuple[Expectation, ...]
    span: Span = _span()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestFile:
    """One `.tcr-test` file; `imports` are the rule files under test (none: the shipped library)."""

    imports: tuple[Import, ...]
    tests: tuple[TestCase, ...]
    span: Span = _span()
    trailing: tuple[str, ...] = ()
