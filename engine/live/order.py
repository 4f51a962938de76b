"""The order in which the literals of a body are solved; a conjunction means the same in every order that is safe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.plan.build import expression_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

#: Nothing costs less than a test of values.
_LEAST = (0, 0)


def ordered(body: ir.Body, bound: Set[str], is_event: Callable[[ir.Atom], bool]) -> list[ir.Literal]:
    """The body in a safe order that tests early and looks facts up by what is bound.

    Raises ValueError where no order is safe; analysis lets no such body pass.
    """
    outer = set(bound).union(*(bound_by(literal) for literal in body))
    known = set(bound)
    waiting = {place: (literal, _reads(literal, outer)) for place, literal in enumerate(body)}
    done: list[ir.Literal] = []
    while waiting:
        best = _best(waiting, known, is_event)
        if best is None:
            raise ValueError("no literal of the body finds bound what it reads")
        literal, _ = waiting.pop(best)
        done.append(literal)
        known.update(bound_by(literal))
    return done


def _best(
    waiting: Mapping[int, tuple[ir.Literal, set[str]]], known: Set[str], is_event: Callable[[ir.Atom], bool]
) -> int | None:
    """The place of the cheapest literal that finds bound what it reads, of several the first."""
    best, least = None, (math.inf, 0.0)
    for place, (literal, reads) in waiting.items():
        if reads <= known:
            cost = _cost(literal, known, is_event)
            if cost < least:
                best, least = place, cost
            if cost == _LEAST:
                break
    return best


def _cost(literal: ir.Literal, known: Set[str], is_event: Callable[[ir.Atom], bool]) -> tuple[int, int]:
    """Cheap tests, then existence, then the most selective atom, then nested bodies that bind."""
    if isinstance(literal, ir.Compare | ir.Bind):
        return _LEAST
    if isinstance(literal, ir.Not):
        return 2, 0
    if not isinstance(literal, ir.Atom):
        return 4, 0
    terms = [term for term in literal.arguments if not isinstance(term, ir.Any_)]
    keys = [term for term in terms if isinstance(term, ir.Const) or term.name in known]
    if len(keys) == len(terms):
        return 1, 0
    return 3, (0 if keys else 2) + (not is_event(literal))


def bound_by(literal: ir.Literal) -> dict[str, None]:
    """The variables that have a value behind a literal, in the order of its text."""
    match literal:
        case ir.Atom(arguments=arguments):
            return {term.name: None for term in arguments if isinstance(term, ir.Var)}
        case ir.Bind(variable):
            return {variable.name: None}
        case ir.Group(result=result):
            return {result.name: None}
        case ir.Either(binds=binds):
            return {variable.name: None for variable in binds}
    return {}


def _reads(literal: ir.Literal, outer: Set[str]) -> set[str]:
    """Variables that must be bound before the literal."""
    if isinstance(literal, ir.Atom):
        return set()
    if isinstance(literal, ir.Compare):
        return _names(literal.left) | _names(literal.right)
    if isinstance(literal, ir.Bind):
        return _names(literal.value)
    shared = {variable.name for variable in literal.shared}
    if isinstance(literal, ir.Group):
        given = [value for value in (literal.value, literal.key) if value is not None]
        shared = shared.union(*map(_names, given)) - {literal.result.name}
    return shared & outer


def _names(expression: ir.Expr) -> set[str]:
    return {variable.name for variable in expression_variables(expression)}
