"""Which variables of a scope name the same moment: what tells how many steps, or ordinals, lie between two events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.clocks import OWN, OWN_OR_NONE
from tcrules.engine.show import show_expression, show_literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcrules.engine.analyse.clocks import Events, Reach
    from tcrules.engine.analyse.horizon import Horizons


class Unbounded(Exception):
    """The literal in the argument has no place relative to the others."""


class Links:
    """Names of moments in a scope, and which of them are the same up to a constant number of steps or ordinals.

    With `events` given, facts that are about one event by their columns have one moment.
    A variable of type step names itself, one of type call the moment of the facts about that call. An ordinal is
    named together with the object that counts: "K of O".
    """

    def __init__(self, horizons: Horizons, events: Events = ()) -> None:
        self._horizons = horizons
        self._events = events
        self._parent: dict[str, tuple[str, int]] = {}
        self._owned: frozenset[str] = frozenset()
        #: Objects that are named in the scope, and those that calls belong to.
        self._objects: dict[str, None] = {}
        self._object_of: dict[str, str] = {}

    def within(self, body: ir.Body) -> Links:
        """The links of a body in this scope."""
        inner = Links(self._horizons, self._events)
        inner._parent = dict(self._parent)
        inner._owned = self._owned.union(*(self._owns(atom) for atom in body if isinstance(atom, ir.Atom)))
        inner._objects, inner._object_of = dict(self._objects), dict(self._object_of)
        inner._name_objects(body)
        for literal in body:
            if isinstance(literal, ir.Atom):
                names = inner._moments(literal)
                for name in names:
                    inner._join(names[0], name, 0)
            else:
                inner._relate(literal)
        return inner

    def root(self, atom: ir.Atom) -> str:
        """A name of the atom's moment. Raises Unbounded where there is none."""
        names = self._moments(atom)
        if not names:
            raise Unbounded(show_literal(atom))
        return names[0]

    def offset(self, atom: ir.Atom, root: str) -> int | None:
        """The moment of an atom relative to that of a name of this scope or an outer one; None: not linked."""
        names = self._moments(atom)
        if not names:
            return None
        (own, offset), (base, start) = self.find(names[0]), self.find(root)
        return offset - start if own == base else None

    def find(self, name: str) -> tuple[str, int]:
        """The representative of a name, and the offset from it."""
        total = 0
        while name in self._parent:
            name, offset = self._parent[name]
            total += offset
        return name, total

    def head(self, head: ir.Atom, at: int, reach: Reach) -> str | None:
        """What a head's argument names as a moment; None for a constant, and for a call that may be 0 (none)."""
        term = head.arguments[at]
        if not isinstance(term, ir.Var) or (term.type.name == "call" and term.name not in self._owned):
            return None
        return self._named(term, _object(head, reach))

    def _moments(self, atom: ir.Atom) -> list[str]:
        """Names of an atom's moment."""
        reach = self._horizons.reach(atom.predicate)
        if reach is None or not reach.moments:
            return []
        key = _object(atom, reach)
        if key is None:
            key = next((self._object_of[c] for c in _calls(atom, reach, OWN) if c in self._object_of), None)
        found = []
        for at in reach.moments:
            term = atom.arguments[at]
            if isinstance(term, ir.Var) and (
                atom.predicate.columns[at].name != OWN_OR_NONE
                or term.type.name != "call"
                or term.name in self._owned
            ):
                name = self._named(term, key)
                found += [name] if name is not None else []
        return found + self._event(atom)

    def _event(self, atom: ir.Atom) -> list[str]:
        """A name of the event that the atom is about, where its columns tell it."""
        terms = {
            column.name: term
            for column, term in zip(atom.predicate.columns, atom.arguments, strict=True)
            if not isinstance(term, ir.Any_)
        }
        return [
            f"event {[(name, show_expression(terms[name])) for name in columns]}"
            for columns, relations in self._events
            if atom.predicate.name in relations and terms.keys() >= set(columns)
        ]

    def _named(self, term: ir.Var, key: str | None) -> str | None:
        if self._horizons.clock is None or term.type.name == "call":
            return term.name
        return f"{term.name} of {key}" if key is not None else None

    def _name_objects(self, body: ir.Body) -> None:
        """Note the objects that count in a body, and which calls belong to them."""
        for atom in body if self._horizons.clock is not None else ():
            reach = self._horizons.reach(atom.predicate) if isinstance(atom, ir.Atom) else None
            if isinstance(atom, ir.Atom) and reach is not None and reach.moments:
                key = _object(atom, reach)
                if key is not None:
                    self._objects[key] = None
                    for call in _calls(atom, reach, OWN):
                        self._object_of.setdefault(call, key)

    def _owns(self, atom: ir.Atom) -> set[str]:
        """Variables that hold the id of a call and never 0."""
        reach = self._horizons.reach(atom.predicate)
        if reach is None:
            return set()
        return set(_calls(atom, reach, OWN if atom.predicate.observed else ""))

    def _relate(self, literal: ir.Literal) -> None:
        if isinstance(literal, ir.Bind):
            left, right = _linear(literal.variable), _linear(literal.value)
        elif isinstance(literal, ir.Compare) and literal.op == "=":
            left, right = _linear(literal.left), _linear(literal.right)
        else:
            return
        if left is None or right is None or left[0].type.name != right[0].type.name:
            return
        offset, kind = right[1] - left[1], left[0].type
        if kind.name == "call":
            if offset == 0:
                self._join(left[0].name, right[0].name, 0)
        elif self._horizons.clock is None:
            if kind.name == "step":
                self._join(left[0].name, right[0].name, offset)
        elif kind.base == "int":
            for key in self._objects:
                self._join(f"{left[0].name} of {key}", f"{right[0].name} of {key}", offset)

    def _join(self, name: str, other: str, offset: int) -> None:
        """State that the moment `name` is `other` plus `offset`. What contradicts is never satisfied."""
        (root, own), (other_root, others) = self.find(name), self.find(other)
        if root != other_root:
            self._parent[root] = (other_root, others + offset - own)


def _object(atom: ir.Atom, reach: Reach) -> str | None:
    """What the atom says of the object that counts, as text; None where it does not tell it."""
    if not reach.keys:
        return None
    terms = [atom.arguments[at] for at in reach.keys]
    if any(isinstance(term, ir.Any_) for term in terms):
        return None
    return ", ".join(term.name if isinstance(term, ir.Var) else repr(term) for term in terms)


def _calls(atom: ir.Atom, reach: Reach, column: str) -> Iterator[str]:
    """Variables of type call that tell an atom's moment; `column`: only from columns of that name."""
    for at in reach.moments:
        term = atom.arguments[at]
        if (
            isinstance(term, ir.Var)
            and term.type.name == "call"
            and column in ("", atom.predicate.columns[at].name)
        ):
            yield term.name


def _linear(expression: ir.Expr) -> tuple[ir.Var, int] | None:
    """A variable plus a constant."""
    if isinstance(expression, ir.Var):
        return expression, 0
    if isinstance(expression, ir.Op) and expression.name in ("+", "-"):
        left, right = expression.arguments
        if expression.name == "+" and isinstance(left, ir.Const):
            left, right = right, left
        if isinstance(left, ir.Var) and isinstance(right, ir.Const) and isinstance(right.value, int):
            return left, right.value if expression.name == "+" else -right.value
    return None
