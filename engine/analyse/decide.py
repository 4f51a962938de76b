"""Eighth pass: what an invariant reads, and when an instance of it can be decided.

An instance is decided with its body unless something that is read under a negation, in an aggregate or in
`expect` may still become true later. An atom over events (a relation with a column of type time, step or
call, unless it describes objects: `schema.SETTLED`) is in the past of the body if one of these columns is
a variable of the body, or is bounded from above by one; then all its moments are in the past, too.
Derived relations are looked through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.alternatives import direct
from tcrules.engine.analyse.stratify import reads
from tcrules.engine.show import show_literal
from tcrules.grammar.records import dataclass
from tcrules.instrument.schema import SETTLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

#: Types whose values are moments of a run.
MOMENTS = frozenset({"time", "step", "call"})


@dataclass(frozen=True, slots=True)
class Reading:
    """See `ir.Invariant` for the fields."""

    needs: frozenset[str]
    watched: frozenset[str]
    monotone: bool
    window: ir.Window


class Decider:
    """Decides about invariants over one set of rules; `moments` are the types of moments."""

    def __init__(self, rules: Sequence[ir.Rule], moments: frozenset[str] = MOMENTS) -> None:
        self.moments = moments
        self.rules: dict[str, list[ir.Rule]] = {}
        for rule in rules:
            self.rules.setdefault(rule.head.predicate.name, []).append(rule)
        self._later: dict[tuple[str, frozenset[int]], bool] = {}

    def reading(self, each: ir.Body, expect: Sequence[ir.Body]) -> Reading:
        """What the invariant with these bodies reads, and its window."""
        start = list(reads(each))
        start += [(atom, True) for alternative in expect for atom, _ in reads(alternative)]
        reached = self._reached((atom.predicate, turned) for atom, turned in start)
        needs = frozenset(p.name for p, turned in reached if p.observed and not turned)
        watched = frozenset(p.name for p, turned in reached if p.observed and turned)
        late = self._late(each, expect)
        window = ir.Window("body") if late is None else ir.Window("run", show_literal(late))
        bodies = [each, *expect, *(rule.body for p, _ in reached for rule in self.rules.get(p.name, ()))]
        monotone = not any(p.best for p, _ in reached) and not any(
            isinstance(literal, ir.Not | ir.Group) for body in bodies for literal in direct(body)
        )
        return Reading(needs, watched, monotone, window)

    def _reached(self, start: Iterable[tuple[ir.Predicate, bool]]) -> set[tuple[ir.Predicate, bool]]:
        """Predicates that are read, each with whether more facts of it can take something away.

        So they can under a negation, in an aggregate or in `expect`, and where only the best fact is kept.
        """
        found: set[tuple[ir.Predicate, bool]] = set()
        waiting = list(start)
        while waiting:
            item = waiting.pop()
            if item not in found:
                found.add(item)
                predicate, changing = item[0], item[1] or bool(item[0].best)
                for rule in self.rules.get(predicate.name, ()):
                    waiting += [(atom.predicate, changing or turned) for atom, turned in reads(rule.body)]
        return found

    # -------------------------------------------------------------------------------------------- windows

    def moments_of(self, atom: ir.Atom) -> set[str]:
        """The variables of an atom that are moments."""
        return {
            term.name for term in atom.arguments if isinstance(term, ir.Var) and self._is_moment(term.type)
        }

    def observed_below(self, predicate: ir.Predicate) -> set[str]:
        """The observed relations that a relation is made of, or itself."""
        return {found.name for found, _ in self._reached([(predicate, True)]) if found.observed}

    def ends_with(self, body: ir.Body, moments: Set[str]) -> bool:
        """Whether nothing that a body reads is later than all of these moments."""
        return self._first_late(body, moments) is None

    def _late(self, each: ir.Body, expect: Sequence[ir.Body]) -> ir.Literal | None:
        """A literal whose truth may change after the body is complete."""
        known = self._moments_in(each) | self._bound_moments(each)
        late = self._changing(each, known, set())
        if late is not None:
            return late
        for alternative in expect:
            late = self._first_late(alternative, known)
            if late is not None:
                return late
        return None

    def _changing(self, body: ir.Body, known: Set[str], seen: set[str]) -> ir.Literal | None:
        """A literal of a body that holds now and may stop to hold; `known` are moments in the past."""
        for literal in body:
            if isinstance(literal, ir.Not | ir.Group) and self._first_late(literal.body, known):
                return literal
            if isinstance(literal, ir.Atom) and self._retractable(literal.predicate, seen):
                return literal
            if isinstance(literal, ir.Either):
                for way in literal.alternatives:
                    found = self._changing(way, known | self._moments_in(way), seen)
                    if found is not None:
                        return found
        return None

    def _retractable(self, predicate: ir.Predicate, seen: set[str]) -> bool:
        """A fact of a derived relation may stop to hold, as it negates what comes later or a better one replaces it."""
        if predicate.name in seen:
            return False
        seen.add(predicate.name)
        if predicate.best and self._rules_late(predicate.name, self._key_moments(predicate)):
            return True
        return any(
            self._changing(rule.body, self._moments_in(rule.body), seen)
            for rule in self.rules.get(predicate.name, ())
        )

    def _key_moments(self, predicate: ir.Predicate) -> frozenset[int]:
        keys = predicate.columns[:-1]
        return frozenset(at for at, column in enumerate(keys) if self._is_moment(column.type))

    def _moments_in(self, body: ir.Body) -> set[str]:
        """Moments that the atoms of a body bind; of alternatives those that all of them bind."""
        found: set[str] = set()
        for literal in body:
            if isinstance(literal, ir.Atom):
                found |= self.moments_of(literal)
            elif isinstance(literal, ir.Either):
                found |= set.intersection(*(self._moments_in(way) for way in literal.alternatives))
        return found

    def _first_late(self, body: ir.Body, past: Set[str]) -> ir.Literal | None:
        """The first literal of a body that can become true after the moments in `past`."""
        known = set(past)
        waiting = [literal for literal in body if isinstance(literal, ir.Atom)]
        size = -1
        while size != len(known):
            size = len(known)
            known |= {name for name, bound in _upper_bounds(body) if bound in known}
            for atom in list(waiting):
                if not self._atom_late(atom, known):
                    waiting.remove(atom)
                    known |= self.moments_of(atom)
        if waiting:
            return waiting[0]
        for literal in body:
            if isinstance(literal, ir.Not | ir.Group) and self._first_late(literal.body, known):
                return literal
            if isinstance(literal, ir.Either) and any(
                self._first_late(way, known) for way in literal.alternatives
            ):
                return literal
        return None

    def _atom_late(self, atom: ir.Atom, known: Set[str]) -> bool:
        columns = frozenset(
            at for at, term in enumerate(atom.arguments) if isinstance(term, ir.Var) and term.name in known
        )
        if atom.predicate.name in SETTLED:
            return False
        if atom.predicate.observed:
            return any(self._is_moment(column.type) for column in atom.predicate.columns) and not columns
        if atom.predicate.best:
            columns -= {len(atom.arguments) - 1}  # to know the best value says nothing about when it is known
        return self._rules_late(atom.predicate.name, columns)

    def _rules_late(self, name: str, columns: frozenset[int]) -> bool:
        key = (name, columns)
        if key not in self._later:
            self._later[key] = False  # what holds for the rest of the rules holds for a recursive use
            self._later[key] = any(
                self._first_late(rule.body, self._head_moments(rule, columns))
                for rule in self.rules.get(name, ())
            )
        return self._later[key]

    def _head_moments(self, rule: ir.Rule, columns: frozenset[int]) -> set[str]:
        terms = [rule.head.arguments[at] for at in columns]
        return {term.name for term in terms if isinstance(term, ir.Var)}

    def _is_moment(self, kind: ir.Type) -> bool:
        return kind.name in self.moments

    def _bound_moments(self, body: ir.Body) -> set[str]:
        """Moments that the body computes; its instance is complete only with what it read."""
        return {
            literal.variable.name
            for literal in body
            if isinstance(literal, ir.Bind) and isinstance(literal.value, ir.Var)
        }


def _upper_bounds(body: ir.Body) -> Iterator[tuple[str, str]]:
    """Pairs (variable, other): the first is at most the second."""
    for literal in body:
        if isinstance(literal, ir.Bind):
            yield from _at_most(literal.variable, literal.value)
        elif isinstance(literal, ir.Compare):
            if literal.op in ("<", "<=", "="):
                yield from _at_most(literal.left, literal.right)
            if literal.op in (">", ">=", "="):
                yield from _at_most(literal.right, literal.left)


def _at_most(small: ir.Expr, large: ir.Expr) -> Iterator[tuple[str, str]]:
    if isinstance(large, ir.Op) and large.name == "-":
        offset = large.arguments[1]
        if isinstance(offset, ir.Const) and not isinstance(offset.value, str) and offset.value >= 0:
            large = large.arguments[0]
    if isinstance(small, ir.Var) and isinstance(large, ir.Var):
        yield small.name, large.name


def moment_types(parents: Mapping[str, str]) -> frozenset[str]:
    """The types of moments and everything declared below them."""
    found = set(MOMENTS)
    while more := {name for name, parent in parents.items() if parent in found} - found:
        found |= more
    return frozenset(found)
