"""Goal-directed solving: with some variables bound, look up the most restricted atoms first.

Same solutions as `naive.solve`, in another order of literals. Proofs need it: with the head of a rule
bound, the first atom in the text is often the worst one to begin with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.alternatives import direct
from tcrules.engine.naive import Solution, solve
from tcrules.grammar.records import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from tcrules.engine.facts import FactSource
    from tcrules.engine.ir import Value


def solutions(body: ir.Body, source: FactSource, binding: Mapping[str, Value]) -> Iterator[Solution]:
    """All ways to satisfy a body that extend `binding`; matched facts are in the order of the body's atoms."""
    places = {id(literal): at for at, literal in enumerate(direct(body))}
    for solution in solve(directed(body, binding.keys()), source, binding):
        facts = sorted(solution.facts, key=lambda pair: places[id(pair[0])])
        yield Solution(solution.binding, tuple(facts))


def satisfiable(body: ir.Body, source: FactSource, binding: Mapping[str, Value]) -> bool:
    """Whether a body can be satisfied."""
    return next(solutions(body, source, binding), None) is not None


def directed(body: ir.Body, bound: Set[str]) -> ir.Body:
    """The literals in an order that finds few facts early, given variables that are bound.

    Tests come as soon as they can, then the atom with the fewest open columns for each bound one. Atoms are the
    same objects; bodies of negations and aggregates are put in order, too.
    """
    known = set(bound)
    waiting = list(body)
    ordered: list[ir.Literal] = []
    while waiting:
        literal = min((x for x in waiting if _ready(x, known)), key=lambda x: _cost(x, known))
        waiting.remove(literal)
        if isinstance(literal, ir.Not | ir.Group):
            ordered.append(replace(literal, body=directed(literal.body, known)))
        elif isinstance(literal, ir.Either):
            bodies = tuple(directed(body, known) for body in literal.alternatives)
            ordered.append(replace(literal, alternatives=bodies))
        else:
            ordered.append(literal)
        known |= _bound_by(literal)
    return tuple(ordered)


def _ready(literal: ir.Literal, known: Set[str]) -> bool:
    if isinstance(literal, ir.Compare):
        return _variables(literal.left) | _variables(literal.right) <= known
    if isinstance(literal, ir.Bind):
        return _variables(literal.value) <= known
    if isinstance(literal, ir.Not | ir.Group | ir.Either):
        return {variable.name for variable in literal.shared} <= known
    return True


def _cost(literal: ir.Literal, known: Set[str]) -> tuple[int, int, int]:
    if isinstance(literal, ir.Compare | ir.Bind):
        return (0, 0, 0)
    if isinstance(literal, ir.Atom):
        variables = {term.name for term in literal.arguments if isinstance(term, ir.Var)}
        constants = sum(isinstance(term, ir.Const) for term in literal.arguments)
        fixed = len(variables & known) + constants
        if not variables - known:
            return (1, 0, 0)
        return (3, -fixed, len(variables - known)) if fixed else (4, 0, len(variables - known))
    if isinstance(literal, ir.Either) and not _bound_by(literal) <= known:
        return (3, 0, len(literal.binds))
    return (2, 0, 0)


def _variables(expression: ir.Expr) -> set[str]:
    if isinstance(expression, ir.Var):
        return {expression.name}
    if isinstance(expression, ir.Op):
        return set().union(*(_variables(argument) for argument in expression.arguments))
    return set()


def _bound_by(literal: ir.Literal) -> set[str]:
    if isinstance(literal, ir.Atom):
        return {term.name for term in literal.arguments if isinstance(term, ir.Var)}
    if isinstance(literal, ir.Bind):
        return {literal.variable.name}
    if isinstance(literal, ir.Either):
        return {variable.name for variable in literal.binds}
    return {literal.result.name} if isinstance(literal, ir.Group) else set()
