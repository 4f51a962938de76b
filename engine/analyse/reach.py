"""Where the facts are whose absence could matter to an instance: at which steps, and on which ranks.

A gap in the recording makes only those instances unknown that could have read what is missing: under a negation, in an
aggregate or in `expect`. Where such an atom is linked to the step of the instance (`links.py`), it is read at a fixed
distance from it. Otherwise, if the invariant is decided with its body, nothing later than the body is read; if not, any
step may matter. Ranks matter alike: a rule in which one variable stands for all ranks reads only its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.clocks import EVENTS, OWN
from tcrules.engine.analyse.horizon import Horizons, atoms, nested
from tcrules.engine.analyse.links import Links, Unbounded
from tcrules.engine.analyse.polarity import outside
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.engine.analyse.decide import Decider
    from tcrules.engine.analyse.polarity import Polarity

_ANYWHERE = ir.Steps(None, None)


@dataclass(slots=True)
class _Found:
    """Steps relative to the variable `step` by relation, and relations that are read at steps unknown."""

    step: str
    spans: dict[str, ir.Steps] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)


class Reaches:
    """The reaches of invariants over one set of derived relations."""

    def __init__(self, strata: Sequence[ir.Stratum], decider: Decider, polarity: Polarity) -> None:
        self._horizons = Horizons(strata)
        self._decider = decider
        self._polarity = polarity
        self._own_rank = {
            predicate.name
            for stratum in strata
            for predicate in stratum.predicates
            if all(
                _one_rank((rule.head, *atoms(rule.body))) is not None
                for rule in stratum.rules
                if rule.head.predicate == predicate
            )
        }

    def reach(
        self, each: ir.Body, expect: Sequence[ir.Body], step: ir.Var | None, rank: ir.Var | None
    ) -> ir.Reach:
        """What instances read, relative to the values of `step` and `rank`, the variables that place them."""
        read = [atom for body in (each, *expect) for atom in atoms(body)]
        own_rank = (
            rank is not None
            and _one_rank(read) == rank
            and all(self._keeps_rank(atom.predicate) for atom in read)
        )
        if step is None:
            return ir.Reach((), _ANYWHERE, own_rank)
        links = Links(self._horizons, EVENTS).within(each)
        found = _Found(step.name)
        for literal in self._polarity.harmful(each, outside(expect, (step, rank))):
            self._watch(found, links, (literal,), turned=False)
        for alternative in expect:
            self._watch(found, links.within(alternative), alternative, turned=True)
        last = self._last(each, links, step)
        decided = self._decider.reading(each, expect).window.kind == "body"
        past = ir.Steps(None, last) if decided and last is not None else _ANYWHERE
        placed = {name: steps for name, steps in found.spans.items() if name not in found.loose}
        return ir.Reach(tuple(sorted(placed.items())), past, own_rank)

    def _watch(self, found: _Found, links: Links, body: ir.Body, *, turned: bool) -> None:
        """Note where a body reads facts whose absence could matter; `turned`: those of all its atoms could."""
        for literal in body:
            if isinstance(literal, ir.Atom) and (turned or not literal.predicate.observed):
                self._place(found, links, literal)
            for inner in nested(literal):
                self._watch(
                    found, links.within(inner), inner, turned=turned or not isinstance(literal, ir.Either)
                )

    def _place(self, found: _Found, links: Links, atom: ir.Atom) -> None:
        reach = self._horizons.reach(atom.predicate)
        offset = None
        if reach is not None and not reach.settled:
            try:
                offset = links.offset(atom, found.step)
            except Unbounded:
                offset = None
        if reach is None or offset is None:
            found.loose |= self._decider.observed_below(atom.predicate)
            return
        for name, (low, high) in reach.reads.items():
            known = found.spans.get(name)
            first, last = low + offset, high + offset
            if known is not None and known.first is not None and known.last is not None:
                first, last = min(first, known.first), max(last, known.last)
            found.spans[name] = ir.Steps(first, last)

    def _keeps_rank(self, predicate: ir.Predicate) -> bool:
        ranked = any(column.type.name == "rank" for column in predicate.columns)
        return predicate.observed or (ranked and predicate.name in self._own_rank)

    def _last(self, each: ir.Body, links: Links, step: ir.Var) -> int | None:
        """The latest step of a body relative to `step`; None where it is not known."""
        last, moments = 0, {step.name}
        for literal in each:
            if isinstance(literal, ir.Atom):
                try:
                    offset = links.offset(literal, step.name)
                except Unbounded:
                    offset = None
                if offset is not None:
                    last = max(last, offset)
                    moments |= self._decider.moments_of(literal)
        return last if self._decider.ends_with(each, moments) else None


def _one_rank(read: Sequence[ir.Atom]) -> ir.Var | None:
    """The variable that stands for the rank of all atoms that have one; a call belongs to one rank."""
    ranks: set[ir.Term] = set()
    calls: set[str] = set()
    loose: list[ir.Atom] = []
    for atom in read:
        terms = [
            t for c, t in zip(atom.predicate.columns, atom.arguments, strict=True) if c.type.name == "rank"
        ]
        if any(isinstance(term, ir.Any_) for term in terms):
            loose.append(atom)
        else:
            ranks.update(terms)
            calls |= _calls(atom) if terms else set()
    only = ranks.pop() if len(ranks) == 1 else None
    return only if isinstance(only, ir.Var) and all(_calls(atom) & calls for atom in loose) else None


def _calls(atom: ir.Atom) -> set[str]:
    """The calls that the facts of an atom are about."""
    pairs = zip(atom.predicate.columns, atom.arguments, strict=True)
    return {t.name for c, t in pairs if c.name == OWN and c.type.name == "call" and isinstance(t, ir.Var)}
