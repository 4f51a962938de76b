"""What is bound where a literal is reached, and which table of facts an atom reads, by which columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcrules.engine import ir
from tcrules.engine.live.order import bound_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.analyse.links import Links


class Source(NamedTuple):
    """What an atom looks into: a relation, the step (relative; None: settled), the key columns.

    `exists`: only whether there is a row matters.
    """

    predicate: ir.Predicate
    offset: int | None
    columns: tuple[int, ...]
    exists: bool


class Scope(NamedTuple):
    """What is bound where a literal is reached. `placed`: variables whose value is the step of an event's table.

    Two atoms that share a placed variable need not compare it: their tables hold facts of the right steps only.
    """

    links: Links
    bound: frozenset[str] = frozenset()
    placed: frozenset[str] = frozenset()

    def within(self, body: ir.Body) -> Scope:
        """The same inside of a nested body."""
        return self._replace(links=self.links.within(body))


class Places:
    """Where the events of one body are, relative to the step with whose end it is decided."""

    def __init__(self, horizons: Horizons, root: str, last: int) -> None:
        self.horizons, self._root, self._last = horizons, root, last

    def is_event(self, atom: ir.Atom) -> bool:
        """Whether the atom's facts belong to steps."""
        reach = self.horizons.reach(atom.predicate)
        return reach is None or not reach.settled

    def source(self, atom: ir.Atom, columns: Iterable[int], links: Links, *, exists: bool = False) -> Source:
        """What an atom looks into, by some columns."""
        offset = None
        if self.is_event(atom):
            found = links.offset(atom, self._root)
            assert found is not None, "the horizon has a place for each event"
            offset = found - self._last
        return Source(atom.predicate, offset, tuple(columns), exists)

    def behind(self, literal: ir.Literal, scope: Scope) -> Scope:
        """What is bound behind a literal."""
        names = frozenset(bound_by(literal))
        placed = self._steps(literal) - scope.bound if isinstance(literal, ir.Atom) else frozenset()
        return Scope(scope.links, scope.bound | names, scope.placed | placed)

    def known(self, atom: ir.Atom, scope: Scope) -> dict[int, ir.Var | ir.Const]:
        """Columns whose values are known: bound variables, steps that the table has anyhow left out, then constants."""
        placed = self._steps(atom) & scope.placed
        columns = self._step_columns(atom)
        variables: dict[int, ir.Var | ir.Const] = {}
        constants: dict[int, ir.Var | ir.Const] = {}
        for at, term in enumerate(atom.arguments):
            if isinstance(term, ir.Const):
                constants[at] = term
            elif (
                isinstance(term, ir.Var)
                and term.name in scope.bound
                and not (term.name in placed and at in columns)
            ):
                variables[at] = term
        return variables | constants

    def _step_columns(self, atom: ir.Atom) -> list[int]:
        """Columns of an event that hold its step."""
        reach = self.horizons.reach(atom.predicate)
        moments = reach.moments if reach is not None else ()
        return [at for at in moments if atom.predicate.columns[at].type.name == "step"]

    def _steps(self, atom: ir.Atom) -> frozenset[str]:
        """Variables of an event that are its step."""
        terms = [atom.arguments[at] for at in self._step_columns(atom)]
        return frozenset(term.name for term in terms if isinstance(term, ir.Var))


class Fresh(NamedTuple):
    """The variables that an atom binds, each with its first column; and pairs of columns that must agree."""

    columns: dict[str, int]
    agree: Sequence[tuple[int, int]]


def fresh(atom: ir.Atom, bound: frozenset[str]) -> Fresh:
    """What an atom binds, beyond what is bound."""
    first: dict[str, int] = {}
    repeated = []
    for at, term in enumerate(atom.arguments):
        if isinstance(term, ir.Var) and term.name not in bound and first.setdefault(term.name, at) != at:
            repeated.append((first[term.name], at))
    return Fresh(first, repeated)
