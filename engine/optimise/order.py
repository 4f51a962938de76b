"""Join order: the literals of a body in an order in which bindings stay few.

Greedy: of the atoms that can come next, the one with the fewest estimated facts for each binding so far. Tests come as
soon as they can. Executors that order joins themselves (SQL) do not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tcrules.engine.ir import Atom, Bind, Body, Compare, Const, Either, Group, Literal, Not, Var
from tcrules.engine.plan.build import expression_variables

if TYPE_CHECKING:
    from collections.abc import Iterable


class Statistics(Protocol):
    """Estimates about relations."""

    def rows(self, name: str) -> float:
        """Number of facts."""
        ...

    def distinct(self, name: str, column: int) -> float:
        """Number of different values of a column, at least 1."""
        ...


def order(
    body: Body, statistics: Statistics, first: int | None = None, bound: Iterable[Var] = ()
) -> list[int]:
    """Places of the body's literals in the order in which to evaluate them, given bound variables.

    The literal at `first` comes first if it can. A literal that binds a variable by an expression or aggregate stays
    before the atoms that the text has after it and that contain the variable.
    """
    known = set(bound)
    waiting = list(range(len(body)))
    result: list[int] = []
    while waiting:
        made = {variable for place in waiting for variable in makes(body[place])}
        ready = [place for place in waiting if _ready(body[place], known, made)]
        # What the text has first can always come first, so something is ready.
        chosen = _choose(body, ready or waiting[:1], known, statistics, first)
        first = None
        result.append(chosen)
        waiting.remove(chosen)
        known |= binds(body[chosen])
    return result


def _choose(body: Body, ready: list[int], known: set[Var], statistics: Statistics, first: int | None) -> int:
    if first in ready:
        return first
    tests = [place for place in ready if not isinstance(body[place], Atom)]
    cheap = [place for place in tests if isinstance(body[place], Compare | Bind)]
    if cheap:
        return cheap[0]
    atoms = {place: literal for place in ready if isinstance(literal := body[place], Atom)}
    full = [place for place, atom in atoms.items() if _variables(atom) <= known]
    if full and known:
        return full[0]
    negations = [place for place in tests if isinstance(body[place], Not)]
    if negations:
        return negations[0]
    if len(atoms) == 1:
        return next(iter(atoms))
    if not atoms:
        return tests[0]
    return min(
        atoms, key=lambda place: (_apart(atoms[place], known), _fanout(atoms[place], known, statistics))
    )


def _apart(atom: Atom, known: set[Var]) -> bool:
    """Whether an atom shares nothing with the bindings so far, so that it would multiply them."""
    return bool(known) and not _variables(atom) & known


def _fanout(atom: Atom, known: set[Var], statistics: Statistics) -> float:
    """Estimated facts of an atom for one binding, as if columns were independent."""
    name = atom.predicate.name
    rows = statistics.rows(name)
    for place, term in enumerate(atom.arguments):
        if isinstance(term, Const) or (isinstance(term, Var) and term in known):
            rows /= statistics.distinct(name, place)
    return rows


def _ready(literal: Literal, known: set[Var], made: set[Var]) -> bool:
    match literal:
        case Atom():
            return not (_variables(literal) - known) & made
        case Compare(left=left, right=right):
            return expression_variables(left) | expression_variables(right) <= known
        case Bind(value=value):
            return expression_variables(value) <= known
        case Not(shared=shared) | Group(shared=shared) | Either(shared=shared):
            return set(shared) <= known


def _variables(atom: Atom) -> set[Var]:
    return {term for term in atom.arguments if isinstance(term, Var)}


def makes(literal: Literal) -> set[Var]:
    """Variables that a literal binds in a way that only works while they are unbound."""
    match literal:
        case Bind(variable=variable):
            return {variable}
        case Group(result=result):
            return {result}
        case Either(binds=binds):
            return set(binds)
        case _:
            return set()


def binds(literal: Literal) -> set[Var]:
    """Variables that have a value once the literal holds."""
    return _variables(literal) if isinstance(literal, Atom) else makes(literal)
