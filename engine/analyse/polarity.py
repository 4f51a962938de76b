"""What more facts can do to a body: make it hold, or stop holding.

More facts of a relation that a body reads positively can only make it hold, of one under a negation only stop it; in an
aggregate both, unless its value is compared in such a way that a larger group keeps the comparison true. Derived
relations are looked through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.plan.build import body_variables, expression_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

#: Comparisons that stay true when a group gets more facts, with its value at the left.
_STAYS_TRUE = {"min": ("<", "<="), "max": (">", ">="), "count": (">", ">="), "distinct": (">", ">=")}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Polarity:
    """Effects of more facts on bodies over one set of rules; `rules` are those of each derived relation."""

    def __init__(self, rules: Mapping[str, Sequence[ir.Rule]]) -> None:
        self._rules = rules

    def saves(
        self, each: ir.Body, expect: Sequence[ir.Body], moment: Iterable[ir.Var | None]
    ) -> frozenset[str]:
        """The relations more facts of which could make a violated instance hold, or no instance.

        `moment` are the variables that tell when and where it happened.
        """
        return self.harms(each, outside(expect, moment)).union(*map(self.helps, expect))

    def spoils(self, expect: Sequence[ir.Body]) -> frozenset[str]:
        """The relations more facts of which could make an instance that holds violated."""
        return frozenset().union(*map(self.harms, expect))

    def helps(self, body: ir.Body) -> frozenset[str]:
        """The observed relations more facts of which can make a body hold."""
        return frozenset(name for name, helps in self._effects(_atoms(body, set())) if helps)

    def harms(self, body: ir.Body, used: Iterable[ir.Var] = ()) -> frozenset[str]:
        """The observed relations more facts of which can take from what a body yields.

        `used` are the variables of which the values matter; those of other variables may be others then.
        """
        return frozenset(name for name, helps in self._effects(_atoms(body, set(used))) if not helps)

    def harmful(self, body: ir.Body, used: AbstractSet[ir.Var]) -> list[ir.Literal]:
        """The literals of a body that read such relations."""
        return [
            literal
            for literal in body
            if not all(helps for _, helps in self._effects(_in_literal(literal, body, used)))
        ]

    def _effects(self, atoms: Iterable[tuple[ir.Atom, bool]]) -> set[tuple[str, bool]]:
        found: set[tuple[str, bool]] = set()
        waiting = list(atoms)
        derived: set[tuple[str, bool]] = set()
        while waiting:
            atom, helps = waiting.pop()
            name = atom.predicate.name
            for effect in (True, False) if atom.predicate.best else (helps,):
                if atom.predicate.observed:
                    found.add((name, effect))
                elif (name, effect) not in derived:
                    derived.add((name, effect))
                    for rule in self._rules.get(name, ()):
                        inner = _atoms(rule.body, body_variables((rule.head,)))
                        waiting += [(part, one is effect) for part, one in inner]
        return found


def outside(expect: Sequence[ir.Body], moment: Iterable[ir.Var | None]) -> set[ir.Var]:
    """The variables of an invariant's `each` of which the values matter."""
    return set().union(*map(body_variables, expect), (one for one in moment if one is not None))


def is_open_ended(group: ir.Group, body: ir.Body, used: AbstractSet[ir.Var]) -> bool:
    """Whether a body asks for no more than "at least so many" (so early, …) of a group: more facts never harm it."""
    stays = _STAYS_TRUE.get(group.kind)
    return stays is not None and _is_only_compared(group.result, group, body, used, stays)


def _is_only_compared(
    value: ir.Var, source: ir.Literal, body: ir.Body, used: AbstractSet[ir.Var], stays: tuple[str, ...]
) -> bool:
    """Whether a value from `source` is used only in comparisons that stay true; it may have other names."""
    if value in used:
        return False
    for literal in body:
        if literal is source or value not in body_variables((literal,)):
            continue
        if isinstance(literal, ir.Bind) and literal.value == value:
            if not _is_only_compared(literal.variable, literal, body, used, stays):
                return False
        elif not isinstance(literal, ir.Compare) or not _keeps(literal, value, stays):
            return False
    return True


def _keeps(literal: ir.Compare, result: ir.Var, stays: tuple[str, ...]) -> bool:
    left, op, right = literal.left, literal.op, literal.right
    if right == result:
        left, op, right = right, _TURNED.get(op, ""), left
    return left == result and op in stays and result not in expression_variables(right)


def _atoms(body: ir.Body, used: AbstractSet[ir.Var]) -> Iterator[tuple[ir.Atom, bool]]:
    """All atoms of a body at all depths, each with whether more facts help; those that may do both come twice."""
    for literal in body:
        yield from _in_literal(literal, body, used)


def _in_literal(
    literal: ir.Literal, body: ir.Body, used: AbstractSet[ir.Var]
) -> Iterator[tuple[ir.Atom, bool]]:
    if isinstance(literal, ir.Atom):
        yield literal, True
    elif isinstance(literal, ir.Not):
        yield from ((atom, not helps) for atom, helps in _atoms(literal.body, used))
    elif isinstance(literal, ir.Group):
        given = (literal.value, literal.key)
        read = set(used).union(*(expression_variables(one) for one in given if one is not None))
        inner = list(_atoms(literal.body, read))
        yield from inner
        if not is_open_ended(literal, body, used):
            yield from ((atom, not helps) for atom, helps in inner)
    elif isinstance(literal, ir.Either):
        others = body_variables(tuple(one for one in body if one is not literal))
        for alternative in literal.alternatives:
            yield from _atoms(alternative, used | others)
