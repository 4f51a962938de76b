"""Third pass: one operation per literal, and every variable with a name of its own.

Expressions within atoms and aggregates within expressions move to literals of their own. Scopes are a
rule or `each`, every alternative of `expect`, every negation and every aggregate. A variable belongs to
the outermost scope around it that mentions it directly, so two negations side by side that use the same
name use two variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.analyse.flat import (
    Clause,
    FAny,
    FAtom,
    FBody,
    FCompare,
    FConst,
    FEither,
    FExpr,
    FGroup,
    FLiteral,
    FNot,
    FOp,
    FTerm,
    FVar,
)
from tcrules.engine.analyse.interface import mentioned
from tcrules.grammar import ast
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_Invariant: TypeAlias = ast.Invariant | ast.Template


def normalise_rule(rule: ast.Rule) -> Clause:
    """The clause of a resolved rule."""
    names = _Names()
    head_names = list(_in_atom(rule.head))
    direct = [*_direct(rule.body, head_names), *head_names]
    scope = names.scope(None, direct)
    literals: list[FLiteral] = []
    head = _Flattener(names, scope, literals).atom(rule.head)
    return Clause(head, (*_body(rule.body, names, scope), *literals), span=rule.span)


def normalise_invariant(statement: _Invariant) -> Clause:
    """The clause of a resolved invariant or template. `expect false` leaves no alternative."""
    names = _Names()
    metas = statement.metavariables if isinstance(statement, ast.Template) else ()
    given = tuple((f"?{meta.name}", meta.type) for meta in metas)
    elsewhere: list[str] = []
    if any(isinstance(literal, ast.Disjunction) for literal in statement.each):
        # What is said beside `each` about a variable of one alternative would be about nothing in the others.
        elsewhere = [*mentioned(statement), *_mentioned(statement.expect)]
    scope = names.scope(None, [*(name for name, _ in given), *_direct(statement.each, elsewhere)])
    each = _body(statement.each, names, scope)
    expect = []
    for alternative in statement.expect:
        if not _never(alternative):
            inner = names.scope(scope, _direct(alternative))
            expect.append(_body(alternative, names, inner))
    return Clause(None, each, tuple(expect), given, statement.span)


def _never(alternative: Sequence[ast.Literal]) -> bool:
    """The alternative is the literal `false`."""
    if len(alternative) != 1 or not isinstance(alternative[0], ast.Test):
        return False
    expression = alternative[0].expression
    return isinstance(expression, ast.Constant) and expression.value is False


# ------------------------------------------------------------------------------------------------ names


@dataclass(frozen=True, slots=True)
class _Scope:
    names: dict[str, str]
    outer: _Scope | None

    def find(self, name: str) -> str | None:
        if name in self.names:
            return self.names[name]
        return self.outer.find(name) if self.outer else None

    def visible(self) -> list[str]:
        """All names that can be found."""
        return [*self.names, *(self.outer.visible() if self.outer else ())]


class _Names:
    """Hands out names that are unique in a clause."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.made = 0

    def fresh(self) -> str:
        self.made += 1
        return f"#{self.made}"

    def scope(self, outer: _Scope | None, mentioned: Sequence[str]) -> _Scope:
        """A scope that has those of the mentioned names that no outer scope has."""
        own: dict[str, str] = {}
        for name in mentioned:
            if name not in own and (outer is None or outer.find(name) is None):
                own[name] = self._unique(name)
        return _Scope(own, outer)

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self.used:
            unique = f"{name}#{count}"
            count += 1
        self.used.add(unique)
        return unique


def _direct(body: Sequence[ast.Literal], elsewhere: Iterable[str] = ()) -> list[str]:
    """Names that the literals mention, without the bodies of negations and aggregates.

    A name that a disjunction mentions is local to an alternative, unless all alternatives mention it, or something
    outside: another literal, or one of the names `elsewhere`.
    """
    found: list[str] = []
    for at, literal in enumerate(body):
        if isinstance(literal, ast.Disjunction):
            outside = {*elsewhere, *_mentioned([[*body[:at], *body[at + 1 :]]])}
            ways = [_direct(alternative, outside) for alternative in literal.alternatives]
            shared = outside | set(ways[0]).intersection(*ways[1:])
            found += [name for way in ways for name in way if name in shared]
        else:
            found += _in_literal(literal)
    return found


def _mentioned(bodies: Iterable[Sequence[ast.Literal]]) -> Iterator[str]:
    """All names that bodies mention at any depth."""
    waiting: list[object] = list(bodies)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Variable):
            yield node.name
        elif isinstance(node, tuple | list):
            waiting += node
        elif not isinstance(node, ast.Span):
            waiting += [getattr(node, name) for name in getattr(node, "__slots__", ())]


def _in_literal(literal: ast.Literal) -> Iterator[str]:
    if isinstance(literal, ast.Atom):
        yield from _in_atom(literal)
    elif isinstance(literal, ast.Comparison):
        yield from _in_expression(literal.left)
        yield from _in_expression(literal.right)
    elif isinstance(literal, ast.Test):
        yield from _in_expression(literal.expression)


def _in_atom(atom: ast.Atom) -> Iterator[str]:
    for argument in atom.arguments:
        yield from _in_expression(argument.value)


def _in_expression(expression: ast.Expression) -> Iterator[str]:
    if isinstance(expression, ast.Variable):
        yield expression.name
    elif isinstance(expression, ast.Operation):
        yield from _in_expression(expression.left)
        yield from _in_expression(expression.right)
    elif isinstance(expression, ast.Negative):
        yield from _in_expression(expression.operand)
    elif isinstance(expression, ast.Apply):
        for argument in expression.arguments:
            yield from _in_expression(argument)


# ------------------------------------------------------------------------------------------------ literals


def _body(body: Sequence[ast.Literal], names: _Names, scope: _Scope) -> FBody:
    literals: list[FLiteral] = []
    flattener = _Flattener(names, scope, literals)
    for literal in body:
        flattener.add(literal)
    return tuple(literals)


class _Flattener:
    """Appends the literals of one scope to `out`; what an expression needs comes before its use."""

    def __init__(self, names: _Names, scope: _Scope, out: list[FLiteral]) -> None:
        self.names = names
        self.scope = scope
        self.out = out

    def add(self, literal: ast.Literal) -> None:
        if isinstance(literal, ast.Atom):
            self.out.append(self.atom(literal))
        elif isinstance(literal, ast.Negation):
            inner = self.names.scope(self.scope, _direct(literal.body))
            self.out.append(FNot(_body(literal.body, self.names, inner), literal.span))
        elif isinstance(literal, ast.Disjunction):
            self.out.append(self._either(literal))
        elif isinstance(literal, ast.Comparison):
            left, right = self.expression(literal.left), self.expression(literal.right)
            self.out.append(FCompare(literal.op, left, right, literal.span))
        else:
            test = self.expression(literal.expression)
            self.out.append(FCompare("=", test, FConst(True, literal.span), literal.span))

    def _either(self, either: ast.Disjunction) -> FEither:
        outer: dict[str, FVar] = {}
        ways = []
        for alternative in either.alternatives:
            direct = _direct(alternative, self.scope.visible())
            inner = self.names.scope(self.scope, direct)
            ways.append(_body(alternative, self.names, inner))
            known = (self.scope.find(name) for name in direct)
            outer |= {name: FVar(name, either.span) for name in known if name is not None}
        return FEither(tuple(ways), tuple(outer.values()), either.span)

    def atom(self, atom: ast.Atom) -> FAtom:
        terms = tuple(self._term(argument.value) for argument in atom.arguments)
        return FAtom(atom.relation, terms, atom.span)

    def _term(self, value: ast.Expression) -> FTerm:
        if isinstance(value, ast.Wildcard):
            return FAny(value.span)
        expression = self.expression(value)
        if not isinstance(expression, FOp):
            return expression
        variable = FVar(self.names.fresh(), expression.span)
        self.out.append(FCompare("=", variable, expression, expression.span))
        return variable

    def expression(self, expression: ast.Expression) -> FExpr:
        if isinstance(expression, ast.Variable):
            return FVar(self.scope.find(expression.name) or expression.name, expression.span)
        if isinstance(expression, ast.Constant):
            return FConst(expression.value, expression.span)
        if isinstance(expression, ast.Operation):
            arguments = (self.expression(expression.left), self.expression(expression.right))
            return FOp(expression.op, arguments, expression.span)
        if isinstance(expression, ast.Negative):
            return self._negative(expression)
        if isinstance(expression, ast.Apply):
            values = tuple(self.expression(argument) for argument in expression.arguments)
            return FOp(expression.function, values, expression.span)
        if isinstance(expression, ast.Aggregate):
            return self._aggregate(expression)
        raise TypeError(f"{expression} was not resolved")

    def _negative(self, negative: ast.Negative) -> FExpr:
        operand = self.expression(negative.operand)
        if isinstance(operand, FConst) and type(operand.value) in (int, float):
            return FConst(
                -float(operand.value) if isinstance(operand.value, float) else -int(operand.value),
                negative.span,
            )
        return FOp("neg", (operand,), negative.span)

    def _aggregate(self, aggregate: ast.Aggregate) -> FVar:
        given = [value for value in (aggregate.value, aggregate.key) if value is not None]
        in_values = [name for value in given for name in _in_expression(value)]
        inner = self.names.scope(self.scope, [*_direct(aggregate.body, in_values), *in_values])
        literals: list[FLiteral] = []
        flattener = _Flattener(self.names, inner, literals)
        for literal in aggregate.body:
            flattener.add(literal)
        value, key = (
            None if value is None else flattener.expression(value)
            for value in (aggregate.value, aggregate.key)
        )
        result = FVar(self.names.fresh(), aggregate.span)
        over = tuple(inner.names.values())
        kind = "distinct" if aggregate.kind == "count" and value is not None else aggregate.kind
        self.out.append(FGroup(result, kind, value, over, tuple(literals), aggregate.span, key))
        return result
