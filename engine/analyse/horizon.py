"""How many steps back a rule looks: what live checking must remember, and the literal that leaves it unbounded.

A fact of an event relation belongs to one step: the value of its column of type `step`. Facts about one call (columns
`call`, and `forward` where its value is the id of a call of the body) belong to one step. An invariant is bounded if
the step of every event that it reads, at any depth and through derived relations, is the step of an event of its body
plus a constant. Settled relations have no step; they are remembered as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.show import show_literal
from tcrules.instrument.schema import SETTLED, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: A rule that looks back further than this is treated as unbounded.
MOST_STEPS_BACK = 1000
#: Columns that hold the id of the call that a fact is about; and those that hold it or 0.
_OWN, _OWN_OR_NONE = "call", "forward"
_MOMENTS = frozenset({"time", "step", "call"})
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the facts of a relation at step s depend on.

    `moments` are the columns that tell s (none: the relation is settled). `reads` gives for each event relation the
    first and last step that is read, relative to s.
    """

    moments: tuple[int, ...] = ()
    reads: Mapping[str, _Span] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether its facts belong to no step."""
        return not self.reads


@dataclass(frozen=True, slots=True)
class Horizon:
    """What an invariant reads, relative to the step with whose end it is decided.

    `back`: for each event relation how many steps before that one are read. `settled`: relations that are remembered
    as a whole. `first_steps`: how many steps before the decision the event may be that an instance needs.
    `because`: the literal that leaves the memory unbounded; then nothing else is given.
    An atom's step is `Links.offset(atom, root) - last` steps after that of the decision.
    """

    back: Mapping[str, int] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()
    because: str = ""
    root: str = ""
    last: int = 0
    first_steps: tuple[int, ...] = ()

    @property
    def bounded(self) -> bool:
        """Whether the invariant can be checked live."""
        return not self.because


class _Unbounded(Exception):
    """The literal in the argument has no place relative to the others."""


class Horizons:
    """Reaches of the relations of one program, and horizons of invariants over them. Linear in the rules' size."""

    def __init__(self, strata: Sequence[ir.Stratum]) -> None:
        self._derived: dict[str, Reach | None] = {}
        for stratum in strata:
            self._place(stratum)

    def reach(self, predicate: ir.Predicate) -> Reach | None:
        """None: its facts may depend on any step."""
        if predicate.observed:
            return observed_reach(predicate)
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
        except _Unbounded as fault:
            return Horizon(because=str(fault))
        last = max((high for _, high in reads.values()), default=0)
        back = {name: last - low for name, (low, _) in reads.items()}
        if max(back.values(), default=0) > MOST_STEPS_BACK:
            return Horizon(because=show_literal(each[0]))
        ahead = self._ahead(first, last) if first is not None else ()
        return Horizon(back, settled, "", root, last, ahead)

    def _ahead(self, first: ir.Atom, last: int) -> tuple[int, ...]:
        """How many steps before the decision the events are that the atom at the root reads."""
        reach = self.reach(first.predicate)
        assert reach is not None, "an atom without reach has no place"
        spans = list(reach.reads.values())
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        return tuple(range(last - high, last - low + 1))

    def _is_event(self, atom: ir.Atom) -> bool:
        reach = self.reach(atom.predicate)
        return reach is None or not reach.settled

    def _reads(self, links: Links, body: ir.Body, root: str) -> tuple[dict[str, _Span], frozenset[str]]:
        """Steps that the events of a body and of its nested bodies are read from, relative to the root."""
        reads: dict[str, _Span] = {}
        settled: frozenset[str] = frozenset()
        for literal in body:
            more: Mapping[str, _Span] = {}
            if isinstance(literal, ir.Atom):
                reach = self.reach(literal.predicate)
                if reach is None:
                    raise _Unbounded(show_literal(literal))
                if reach.settled:
                    settled |= {literal.predicate.name}
                    continue
                offset = links.offset(literal, root)
                if offset is None:
                    raise _Unbounded(show_literal(literal))
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
        moments = [at for at, c in enumerate(predicate.columns) if c.type.name in ("step", "call")]
        reads: dict[str, _Span] = {}
        for rule in rules:
            links = Links(self).within(rule.body)
            places = {at: links.find_term(rule.head.arguments[at]) for at in moments}
            base = rule.head.arguments[guess.moments[0]]
            if not isinstance(base, ir.Var) or places[guess.moments[0]] is None:
                return None
            moments = [at for at in moments if places[at] == places[guess.moments[0]]]
            if not any(isinstance(literal, ir.Atom) and self._is_event(literal) for literal in rule.body):
                return None  # no event binds the step of its head
            try:
                more, _ = self._reads(links, rule.body, base.name)
            except _Unbounded:
                return None
            reads = _merge(reads, more)
        inner = [span for name, span in reads.items() if name in {p.name for p in stratum.predicates}]
        if any(span != (0, 0) for span in inner) or not reads:
            return None
        return Reach(tuple(moments), reads)


class Links:
    """Which variables of a scope name the same step, up to a constant number of steps.

    A variable of type step stands for itself, one of type call for the step of the facts about that call.
    """

    def __init__(self, horizons: Horizons) -> None:
        self._horizons = horizons
        self._parent: dict[str, tuple[str, int]] = {}
        self._owned: frozenset[str] = frozenset()

    def within(self, body: ir.Body) -> Links:
        """The links of a body in this scope."""
        inner = Links(self._horizons)
        inner._parent = dict(self._parent)
        inner._owned = self._owned.union(*(self._owns(atom) for atom in body if isinstance(atom, ir.Atom)))
        for literal in body:
            if isinstance(literal, ir.Atom):
                names = inner._moments(literal)
                for name in names:
                    inner._join(names[0], name, 0)
            else:
                inner._relate(literal)
        return inner

    def root(self, atom: ir.Atom) -> str:
        """A variable that names the atom's step. Raises _Unbounded where there is none."""
        names = self._moments(atom)
        if not names:
            raise _Unbounded(show_literal(atom))
        return names[0]

    def offset(self, atom: ir.Atom, root: str) -> int | None:
        """The step of an atom relative to that of a variable of this scope or an outer one; None: not linked."""
        names = self._moments(atom)
        if not names:
            return None
        (own, offset), (base, start) = self.find(names[0]), self.find(root)
        return offset - start if own == base else None

    def find(self, name: str) -> tuple[str, int]:
        """The representative of a variable, and the offset from it."""
        total = 0
        while name in self._parent:
            name, offset = self._parent[name]
            total += offset
        return name, total

    def find_term(self, term: ir.Term) -> tuple[str, int] | None:
        """`find` for a head's argument, None for a constant, and for a call that may be 0 (none)."""
        if not isinstance(term, ir.Var) or (term.type.name == "call" and term.name not in self._owned):
            return None
        return self.find(term.name)

    def _moments(self, atom: ir.Atom) -> list[str]:
        """Variables of an atom that tell its step."""
        reach = self._horizons.reach(atom.predicate)
        found = []
        for at in reach.moments if reach is not None else ():
            term = atom.arguments[at]
            if isinstance(term, ir.Var) and (
                atom.predicate.columns[at].name != _OWN_OR_NONE
                or term.type.name != "call"
                or term.name in self._owned
            ):
                found.append(term.name)
        return found

    def _owns(self, atom: ir.Atom) -> set[str]:
        """Variables that hold the id of a call and never 0."""
        reach = self._horizons.reach(atom.predicate)
        places = reach.moments if reach is not None else ()
        if atom.predicate.observed:
            places = tuple(at for at in places if atom.predicate.columns[at].name == _OWN)
        terms = [atom.arguments[at] for at in places]
        return {term.name for term in terms if isinstance(term, ir.Var) and term.type.name == "call"}

    def _relate(self, literal: ir.Literal) -> None:
        if isinstance(literal, ir.Bind):
            left, right = _linear(literal.variable), _linear(literal.value)
        elif isinstance(literal, ir.Compare) and literal.op == "=":
            left, right = _linear(literal.left), _linear(literal.right)
        else:
            return
        if left is not None and right is not None and left[0].type.name == right[0].type.name:
            offset = right[1] - left[1]
            if left[0].type.name == "step" or (left[0].type.name == "call" and offset == 0):
                self._join(left[0].name, right[0].name, offset)

    def _join(self, name: str, other: str, offset: int) -> None:
        """State that the step of `name` is that of `other` plus `offset`. What contradicts is never satisfied."""
        (root, own), (other_root, others) = self.find(name), self.find(other)
        if root != other_root:
            self._parent[root] = (other_root, others + offset - own)


def _closed(found: Mapping[str, Reach | None], own: Mapping[str, ir.Predicate]) -> dict[str, Reach | None]:
    """The reaches of mutually recursive relations, each with what all of them read outside of the stratum."""
    outside: dict[str, _Span] = {}
    for reach in found.values():
        assert reach is not None, "all relations of the stratum have a reach"
        outside = _merge(outside, {name: span for name, span in reach.reads.items() if name not in own})
    return {name: Reach(reach.moments, outside) for name, reach in found.items() if reach is not None}


def observed_reach(predicate: ir.Predicate) -> Reach | None:
    """How facts of an observed relation belong to steps; None: not to one that its columns tell."""
    kinds = [column.type.name for column in predicate.columns]
    if predicate.name in SETTLED or not any(map(_may_be_moment, predicate.columns)):
        return Reach()
    if kinds.count("step") != 1:
        return None
    own = [
        at
        for at, column in enumerate(predicate.columns)
        if column.type.name == "call" and column.name in (_OWN, _OWN_OR_NONE)
    ]
    return Reach((kinds.index("step"), *own), {predicate.name: (0, 0)})


def _may_be_moment(column: ir.Column) -> bool:
    """Types that a file declares may stand below a moment's."""
    return column.type.name in _MOMENTS or (column.type.base == "int" and column.type.name not in TYPES)


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


def _merge(one: Mapping[str, _Span], other: Mapping[str, _Span]) -> dict[str, _Span]:
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
