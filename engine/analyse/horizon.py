"""How many steps, or ordinals, back a rule looks: what live checking must remember, and what leaves it unbounded.

A fact of an event relation belongs to one step: the value of its column of type `step`. Facts about one call (columns
`call`, and `forward` where its value is the id of a call of the body) belong to one step. An invariant is bounded if
the step of every event that it reads, at any depth and through derived relations, is the step of an event of its body
plus a constant. Settled relations have no step; they are remembered as a whole.

Else the same is tried with the ordinals of one object (`clocks.py`): all events that the invariant reads must name the
same object, and ordinals that differ by constants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.clocks import Reach, Span, observed_reach, ordinal_columns
from tcrules.engine.analyse.links import Links, Unbounded
from tcrules.engine.show import show_literal
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tcrules.engine.analyse.clocks import Clock

#: A rule that looks back further than this is treated as unbounded.
MOST_STEPS_BACK = 1000


@dataclass(frozen=True, slots=True)
class Horizon:
    """What an invariant reads, relative to the step with whose end it is decided.

    `back`: for each event relation how many steps before that one are read. `settled`: relations that are remembered
    as a whole. `first_steps`: how many steps before the decision the event may be that an instance needs.
    `because`: the literal that leaves the memory unbounded; then nothing else is given.
    An atom's step is `Links.offset(atom, root) - last` steps after that of the decision. With a `clock` read "ordinal"
    for "step".
    """

    back: Mapping[str, int] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()
    because: str = ""
    root: str = ""
    last: int = 0
    first_steps: tuple[int, ...] = ()
    clock: Clock | None = None

    @property
    def bounded(self) -> bool:
        """Whether the invariant can be checked live."""
        return not self.because


class Horizons:
    """Reaches of the relations of one program, and horizons of invariants over them, by the step or another clock.

    Linear in the rules' size.
    """

    def __init__(self, strata: Sequence[ir.Stratum], clock: Clock | None = None) -> None:
        self.clock = clock
        self._derived: dict[str, Reach | None] = {}
        for stratum in strata:
            self._place(stratum)

    def reach(self, predicate: ir.Predicate) -> Reach | None:
        """None: its facts may depend on any step."""
        if predicate.observed:
            return observed_reach(predicate, self.clock)
        if predicate.name.startswith("$"):
            return Reach()  # the constants of a rule family
        return self._derived.get(predicate.name)

    def horizon(self, each: ir.Body, expect: Sequence[ir.Body]) -> Horizon:
        """What the invariant with these bodies must remember."""
        links = Links(self).within(each)
        first = next((atom for atom in each if isinstance(atom, ir.Atom) and self._is_event(atom)), None)
        try:
            root = links.root(first) if first is not None else ""
            reads, settled = self._reads(links, each, root)
            for alternative in expect:
                more, others = self._reads(links.within(alternative), alternative, root)
                reads, settled = _merge(reads, more), settled | others
        except Unbounded as fault:
            return Horizon(because=str(fault))
        last = max((high for _, high in reads.values()), default=0)
        back = {name: last - low for name, (low, _) in reads.items()}
        if max(back.values(), default=0) > MOST_STEPS_BACK:
            return Horizon(because=show_literal(each[0]))
        ahead = self._ahead(first, last) if first is not None else ()
        return Horizon(back, settled, "", root, last, ahead, self.clock)

    def _ahead(self, first: ir.Atom, last: int) -> tuple[int, ...]:
        """How many steps before the decision the events are that the atom at the root reads."""
        reach = self.reach(first.predicate)
        assert reach is not None, "an atom without reach has no place"
        spans = list(reach.reads.values())
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        return tuple(range(last - high, last - low + 1))

    def head(self, rule: ir.Rule) -> str:
        """The name of the moment of a rule's head, "" if that is settled. Its relation must have a reach."""
        reach = self.reach(rule.head.predicate)
        assert reach is not None, "the caller leaves out what has no reach"
        links = Links(self).within(rule.body)
        return (links.head(rule.head, reach.moments[0], reach) or "") if reach.moments else ""

    def _is_event(self, atom: ir.Atom) -> bool:
        reach = self.reach(atom.predicate)
        return reach is None or not reach.settled

    def _reads(self, links: Links, body: ir.Body, root: str) -> tuple[dict[str, Span], frozenset[str]]:
        """Steps that the events of a body and of its nested bodies are read from, relative to the root."""
        reads: dict[str, Span] = {}
        settled: frozenset[str] = frozenset()
        for literal in body:
            more: Mapping[str, Span] = {}
            if isinstance(literal, ir.Atom):
                reach = self.reach(literal.predicate)
                if reach is None:
                    raise Unbounded(show_literal(literal))
                if reach.settled:
                    settled |= {literal.predicate.name}
                    continue
                offset = links.offset(literal, root)
                if offset is None:
                    raise Unbounded(show_literal(literal))
                more = {name: (low + offset, high + offset) for name, (low, high) in reach.reads.items()}
                reads = _merge(reads, more)
            for inner in nested(literal):
                more, others = self._reads(links.within(inner), inner, root)
                reads, settled = _merge(reads, more), settled | others
        return reads, settled

    # -------------------------------------------------------------------------------------------- derived relations

    def _place(self, stratum: ir.Stratum) -> None:
        """Find the reaches of a stratum's relations; in a recursive one they are assumed first, then verified."""
        guesses = [self._guess(predicate, stratum) for predicate in stratum.predicates]
        for predicate, guess in zip(stratum.predicates, guesses, strict=True):
            self._derived[predicate.name] = guess
        if all(guess is None for guess in guesses):
            return
        found = {predicate.name: self._verified(predicate, stratum) for predicate in stratum.predicates}
        if any(reach is None for reach in found.values()):
            found = dict.fromkeys(found)
        elif stratum.recursive:
            found = _closed(found, {p.name: p for p in stratum.predicates})
        self._derived.update(found)

    def _guess(self, predicate: ir.Predicate, stratum: ir.Stratum) -> Reach | None:
        if predicate.best:
            return None
        own = {p.name for p in stratum.predicates}
        outside = [
            self.reach(atom.predicate)
            for rule in stratum.rules
            for atom in atoms(rule.body)
            if atom.predicate.name not in own
        ]
        if any(reach is None for reach in outside):
            return None
        if all(reach is not None and reach.settled for reach in outside):
            return Reach()
        if self.clock is not None:
            counted = ordinal_columns(predicate, self.clock)
            return Reach(counted[:1], {predicate.name: (0, 0)}, counted[1]) if counted is not None else None
        columns = [
            at for kind in ("step", "call") for at, c in enumerate(predicate.columns) if c.type.name == kind
        ]
        return Reach(tuple(columns[:1]), {predicate.name: (0, 0)}) if columns else None

    def _verified(self, predicate: ir.Predicate, stratum: ir.Stratum) -> Reach | None:
        """The reach by the rules of a relation, None where one of them does not bear out the guess."""
        guess = self._derived[predicate.name]
        rules = [rule for rule in stratum.rules if rule.head.predicate.name == predicate.name]
        if guess is None or guess.settled:
            return guess
        moments = list(guess.moments)
        if self.clock is None:
            moments = [at for at, c in enumerate(predicate.columns) if c.type.name in ("step", "call")]
        reads: dict[str, Span] = {}
        for rule in rules:
            links = Links(self).within(rule.body)
            names = {at: links.head(rule.head, at, guess) for at in moments}
            places = {at: links.find(name) for at, name in names.items() if name is not None}
            base = names[guess.moments[0]]
            if base is None:
                return None
            moments = [at for at in moments if places.get(at) == places[guess.moments[0]]]
            if not any(isinstance(literal, ir.Atom) and self._is_event(literal) for literal in rule.body):
                return None  # no event binds the step of its head
            try:
                more, _ = self._reads(links, rule.body, base)
            except Unbounded:
                return None
            reads = _merge(reads, more)
        inner = [span for name, span in reads.items() if name in {p.name for p in stratum.predicates}]
        if any(span != (0, 0) for span in inner) or not reads:
            return None
        return Reach(tuple(moments), reads, guess.keys)


def _closed(found: Mapping[str, Reach | None], own: Mapping[str, ir.Predicate]) -> dict[str, Reach | None]:
    """The reaches of mutually recursive relations, each with what all of them read outside of the stratum."""
    outside: dict[str, Span] = {}
    for reach in found.values():
        assert reach is not None, "all relations of the stratum have a reach"
        outside = _merge(outside, {name: span for name, span in reach.reads.items() if name not in own})
    return {
        name: Reach(reach.moments, outside, reach.keys) for name, reach in found.items() if reach is not None
    }


def _merge(one: Mapping[str, Span], other: Mapping[str, Span]) -> dict[str, Span]:
    found = dict(one)
    for name, (low, high) in other.items():
        first, last = found.get(name, (low, high))
        found[name] = (min(first, low), max(last, high))
    return found


def nested(literal: ir.Literal) -> tuple[ir.Body, ...]:
    """The bodies within a literal."""
    if isinstance(literal, ir.Not | ir.Group):
        return (literal.body,)
    return literal.alternatives if isinstance(literal, ir.Either) else ()


def atoms(body: ir.Body) -> Iterator[ir.Atom]:
    """All atoms of a body at all depths."""
    for literal in body:
        if isinstance(literal, ir.Atom):
            yield literal
        for inner in nested(literal):
            yield from atoms(inner)
