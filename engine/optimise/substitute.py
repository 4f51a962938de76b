"""Bodies with variables replaced, everywhere they occur."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.ir import (
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
    Term,
    Var,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    #: What a variable becomes.
    Replace: TypeAlias = Callable[[Var], Var | Const]


def substitute(body: Body, replace: Replace) -> Body:
    """The body with each variable replaced; one that an expression or aggregate binds must become a variable."""
    return tuple(_literal(literal, replace) for literal in body)


def substitute_atom(atom: Atom, replace: Replace) -> Atom:
    """The atom with each variable replaced."""
    return Atom(atom.predicate, tuple(_term(term, replace) for term in atom.arguments), atom.span)


def _literal(literal: Literal, replace: Replace) -> Literal:
    match literal:
        case Atom():
            return substitute_atom(literal, replace)
        case Compare(op, left, right, span):
            return Compare(op, _expression(left, replace), _expression(right, replace), span)
        case Bind(variable, value, span):
            return Bind(_variable(variable, replace), _expression(value, replace), span)
        case Not(body, shared, span):
            return Not(substitute(body, replace), _variables(shared, replace), span)
        case Either(alternatives, binds, shared, span):
            bodies = tuple(substitute(alternative, replace) for alternative in alternatives)
            return Either(bodies, _variables(binds, replace), _variables(shared, replace), span)
        case Group(result, kind, value, over, body, shared, span, key):
            return Group(
                _variable(result, replace),
                kind,
                None if value is None else _expression(value, replace),
                _variables(over, replace),
                substitute(body, replace),
                _variables(shared, replace),
                span,
                None if key is None else _expression(key, replace),
            )


def _term(term: Term, replace: Replace) -> Term:
    return replace(term) if isinstance(term, Var) else term


def _expression(value: Expr, replace: Replace) -> Expr:
    match value:
        case Var():
            return replace(value)
        case Op(name, arguments, kind):
            return Op(name, tuple(_expression(argument, replace) for argument in arguments), kind)
        case _:
            return value


def _variable(variable: Var, replace: Replace) -> Var:
    found = replace(variable)
    if not isinstance(found, Var):
        raise ValueError(f"{variable.name} is bound by an expression and cannot become a constant")
    return found


def _variables(variables: Iterable[Var], replace: Replace) -> tuple[Var, ...]:
    """Variables that became constants are left out: nobody needs to be told their values."""
    found = (replace(variable) for variable in variables)
    return tuple(dict.fromkeys(variable for variable in found if isinstance(variable, Var)))
