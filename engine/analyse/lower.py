"""Sixth pass: ordered, typed clauses become the rule IR; integers that meet floats are converted."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.alternatives import MOST_ALTERNATIVES, conjunctions, count_conjunctions
from tcrules.engine.analyse.expressions import Env, type_of, type_of_value
from tcrules.engine.analyse.flat import (
    FAny,
    FAtom,
    FBind,
    FBody,
    FCompare,
    FConst,
    FEither,
    FExpr,
    FGroup,
    FLiteral,
    FNot,
    FTerm,
    FVar,
    inner_variables,
    own_variables,
)
from tcrules.engine.analyse.lattice import UNKNOWN, Lattice
from tcrules.engine.plan.build import body_variables
from tcrules.engine.values import FLOAT, FUNCTIONS, OPERATIONS, apply, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set

    from tcrules.engine.analyse.faults import Faults
    from tcrules.grammar.ast import Span


class Lowerer:
    """Lowers the bodies of one clause."""

    def __init__(
        self, env: Env, predicates: Mapping[str, ir.Predicate], lattice: Lattice, faults: Faults
    ) -> None:
        self.env = env
        self.faults = faults
        self.predicates = predicates
        self.lattice = lattice

    def variable(self, name: str) -> ir.Var:
        """The typed variable of that name."""
        seen = self.env.get(name)
        return ir.Var(name, seen.type if seen else UNKNOWN)

    def body(self, body: FBody, around: Set[str]) -> ir.Body:
        """The literals of a body; `around` are the variables of the scopes around it."""
        visible = frozenset(around) | {v.name for literal in body for v in own_variables(literal)}
        return tuple(lowered for literal in body for lowered in self._literals(literal, visible))

    def ways(self, body: ir.Body, span: Span) -> tuple[ir.Body, ...]:
        """The conjunctions that a body with disjunctions stands for; too many are reported, and some returned."""
        if count_conjunctions(body) > MOST_ALTERNATIVES:
            message = f"too many alternatives: {count_conjunctions(body)}, more than {MOST_ALTERNATIVES}"
            notes = ("disjunctions side by side multiply",)
            mend = "give a disjunction a name: `one(X) :- a(X) or b(X).`"
            self.faults.error("TCR309", message, span, notes=notes, mend=mend)
        return tuple(islice(conjunctions(body), MOST_ALTERNATIVES))

    def atom(self, atom: FAtom) -> ir.Atom:
        """An atom with typed terms."""
        predicate = self.predicates[atom.predicate]
        pairs = zip(atom.terms, predicate.columns, strict=True)
        return ir.Atom(predicate, tuple(self._term(term, column.type) for term, column in pairs), atom.span)

    def _term(self, term: FTerm, kind: ir.Type) -> ir.Term:
        if isinstance(term, FAny):
            return ir.Any_()
        if isinstance(term, FVar):
            return self.variable(term.name)
        return ir.Const(normalise(term.value, kind.base), kind)

    def _literals(self, literal: FLiteral, visible: frozenset[str]) -> Iterator[ir.Literal]:
        if not isinstance(literal, FNot):
            yield self._literal(literal, visible)
            return
        shared = self._shared(literal, visible)
        for way in self.ways(self.body(literal.body, visible), literal.span):
            read = body_variables(way)
            yield ir.Not(way, tuple(variable for variable in shared if variable in read), literal.span)

    def _literal(
        self, literal: FAtom | FCompare | FBind | FGroup | FEither, visible: frozenset[str]
    ) -> ir.Literal:
        if isinstance(literal, FAtom):
            return self.atom(literal)
        if isinstance(literal, FCompare):
            left, right = self._alike([literal.left, literal.right])
            return ir.Compare(literal.op, left, right, literal.span)
        if isinstance(literal, FBind):
            variable = self.variable(literal.variable.name)
            value = self.expression(literal.value)
            return ir.Bind(
                variable, _as_float(value) if variable.type.base == "float" else value, literal.span
            )
        if isinstance(literal, FEither):
            bodies = tuple(self.body(body, visible) for body in literal.alternatives)
            binds = tuple(self.variable(name) for name in literal.binds)
            return ir.Either(bodies, binds, self._shared(literal, visible - set(literal.binds)), literal.span)
        return self._group(literal, self.body(literal.body, visible), self._shared(literal, visible))

    def _group(self, group: FGroup, inner: ir.Body, shared: tuple[ir.Var, ...]) -> ir.Group:
        value, key = (None if given is None else self.expression(given) for given in (group.value, group.key))
        over = tuple(self.variable(name) for name in group.over)
        result = self.variable(group.result.name)
        return ir.Group(result, group.kind, value, over, inner, shared, group.span, key)

    def _shared(self, literal: FGroup | FEither | FNot, visible: frozenset[str]) -> tuple[ir.Var, ...]:
        names = dict.fromkeys(v.name for v in inner_variables(literal) if v.name in visible)
        return tuple(self.variable(name) for name in names)

    # -------------------------------------------------------------------------------------------- expressions

    def expression(self, expression: FExpr) -> ir.Expr:
        """A typed expression; constant parts are computed."""
        if isinstance(expression, FVar):
            return self.variable(expression.name)
        if isinstance(expression, FConst):
            return ir.Const(normalise(expression.value), type_of_value(expression.value))
        kind = type_of(expression, self.env, self.lattice) or UNKNOWN
        name = expression.name
        if name in OPERATIONS or FUNCTIONS[name].result == "same":
            arguments = self._alike(expression.arguments, floats=name == "/")
        else:
            wanted = FUNCTIONS[name].parameters
            lowered = [self.expression(argument) for argument in expression.arguments]
            arguments = [
                _as_float(value) if want == "float" else value
                for value, want in zip(lowered, wanted, strict=True)
            ]
        return _folded(ir.Op(name, tuple(arguments), kind))

    def _alike(self, expressions: Iterable[FExpr], *, floats: bool = False) -> list[ir.Expr]:
        """Expressions of one base type: floats where one of them is a float."""
        lowered = [self.expression(expression) for expression in expressions]
        if floats or any(value.type.base == "float" for value in lowered):
            return [_as_float(value) for value in lowered]
        return lowered


def _as_float(value: ir.Expr) -> ir.Expr:
    return _folded(ir.Op("to_float", (value,), FLOAT)) if value.type.base == "int" else value


def _folded(operation: ir.Op) -> ir.Expr:
    constants = [argument.value for argument in operation.arguments if isinstance(argument, ir.Const)]
    if len(constants) < len(operation.arguments):
        return operation
    value = apply(operation.name, constants)
    return operation if value is None else ir.Const(value, operation.type)
