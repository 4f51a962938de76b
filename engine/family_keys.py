"""Keys by which invariants are put together before families look closer: all but their constants, names included.

Reading a rule into its shape takes a tenth of a millisecond, too long for ten thousand rules. Rules that analysis made
of one shape hold the same objects wherever no constant is, so here each object is read once.
"""

from __future__ import annotations

from typing import Final

from tcrules.engine import ir

#: Arguments that stay constants: executors compile these patterns.
FIXED_ARGUMENTS: Final = {"matches": frozenset({0})}

#: Fields that matter, in the order in which families lift constants.
_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    ir.Type: ("name", "base"),
    ir.Column: ("name", "type"),
    ir.Predicate: ("name", "columns", "observed", "best"),
    ir.Var: ("name", "type"),
    ir.Any_: (),
    ir.Op: ("name", "arguments", "type"),
    ir.Atom: ("predicate", "arguments"),
    ir.Compare: ("op", "left", "right"),
    ir.Bind: ("variable", "value"),
    ir.Not: ("body", "shared"),
    ir.Group: ("body", "value", "key", "result", "kind", "over", "shared"),
    ir.Either: ("alternatives", "binds", "shared"),
    ir.Window: ("kind",),
}
#: Fields of an invariant that hold no constants.
_PLAIN: Final = ("variables", "step", "rank", "needs", "watched", "monotone", "window", "reach")


class Keys:
    """Keys of the invariants of one program, which must live as long as this does."""

    def __init__(self) -> None:
        self._plain: dict[int, int] = {}
        self._types: dict[int, int] = {}
        self._numbers: dict[object, int] = {}
        self._constants: list[ir.Const] = []

    def read(self, invariant: ir.Invariant) -> tuple[object, tuple[ir.Const, ...]]:
        """The key, and the constants in the order in which families lift them."""
        self._constants = []
        bodies = [self._body(body) for body in (invariant.each, *invariant.expect)]
        return (*bodies, *[self._key(getattr(invariant, name)) for name in _PLAIN]), tuple(self._constants)

    def _body(self, body: ir.Body) -> tuple[object, ...]:
        """As `_key`, with fewer calls for the literals that nearly all constants stand in."""
        plain, keys = self._plain, []
        for literal in body:
            key: object = plain.get(id(literal))
            if key is None:
                key = self._atom(literal) if literal.__class__ is ir.Atom else self._key(literal)
            keys.append(key)
        return tuple(keys)

    def _atom(self, atom: ir.Atom) -> object:
        plain, before = self._plain, len(self._constants)
        terms = [
            self._constant(term) if term.__class__ is ir.Const else plain.get(id(term)) or self._key(term)
            for term in atom.arguments
        ]
        key = (plain.get(id(atom.predicate)) or self._key(atom.predicate), *terms)
        if len(self._constants) > before:
            return key
        plain[id(atom)] = number = self._number(key)
        return number

    def _constant(self, constant: ir.Const) -> int:
        self._constants.append(constant)
        key = self._types.get(id(constant.type))
        if key is None:
            key = self._types[id(constant.type)] = -1 - self._number(constant.type.name)
        return key

    def _key(self, node: object) -> object:
        """A number for what has no constant, the same for equal nodes; -1 - number of its type for a constant."""
        known = self._plain.get(id(node))
        if known is not None:
            return known
        if isinstance(node, ir.Const):
            return self._constant(node)
        before = len(self._constants)
        key = self._parts(node)
        if len(self._constants) > before:
            return key
        self._plain[id(node)] = number = self._number(key)
        return number

    def _parts(self, node: object) -> object:
        if isinstance(node, tuple):
            return (tuple, *map(self._key, node))
        if isinstance(node, ir.Op) and node.name in FIXED_ARGUMENTS:
            return self._patterned(node)
        kind = node.__class__
        fields = _FIELDS.get(kind)
        if fields is None:
            return kind, node
        return (kind, *[self._key(getattr(node, name)) for name in fields])

    def _patterned(self, node: ir.Op) -> object:
        fixed = FIXED_ARGUMENTS[node.name]
        arguments = [
            ("fixed", argument) if place in fixed else self._key(argument)
            for place, argument in enumerate(node.arguments)
        ]
        return (ir.Op, node.name, *arguments, self._key(node.type))

    def _number(self, key: object) -> int:
        return self._numbers.setdefault(key, len(self._numbers))
