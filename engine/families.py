"""Rule families: invariants that differ only by constants become one invariant joined with a table of
constants.

The constants of a shape are lifted to variables, its slots. The members' constants are facts of a
relation `$family<n>(member, slots…)`, and an atom over it opens the body. To executors a family is an
ordinary invariant, and a thousand learned rules of one shape cost about as much as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tcrules.engine.family_keys import FIXED_ARGUMENTS, Keys
from tcrules.engine.ir import (
    Any_,
    Atom,
    Bind,
    Body,
    Column,
    Compare,
    Const,
    Either,
    Expr,
    Fact,
    Group,
    Invariant,
    Literal,
    Not,
    Op,
    Predicate,
    Term,
    Type,
    Var,
    Window,
)
from tcrules.engine.plan.build import body_variables
from tcrules.grammar.records import collector_paused, dataclass, field, replace

_MEMBER = Type("int", "int")
_Lift: TypeAlias = Callable[[Const], Var | Const]


@dataclass(frozen=True, slots=True)
class Family:
    """Invariants of one shape.

    `invariant` stands for all of them; its variables are those of each member in the member's order. With more than
    one member they are preceded by `member`, an index into `members`, and its body and its alternatives read the
    slots, which the atom `constants` binds; `facts` are the facts of that atom's relation, one for each member.
    """

    members: tuple[Invariant, ...]
    invariant: Invariant
    constants: Atom | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def member(self) -> Var | None:
        """The variable that tells which member a binding belongs to."""
        return self.invariant.variables[0] if self.constants is not None else None


def families(invariants: Iterable[Invariant]) -> tuple[Family, ...]:
    """Group invariants by shape, in the order of the first member of each."""
    with collector_paused():
        return _grouped(list(invariants))


def _grouped(invariants: Sequence[Invariant]) -> tuple[Family, ...]:
    keys = Keys()
    kinds: dict[object, list[_Member]] = {}
    for place, invariant in enumerate(invariants):
        key, constants = keys.read(invariant)
        kinds.setdefault(key, []).append(_Member(place, invariant, constants))
    groups: dict[Invariant, tuple[_Shape, list[_Member]]] = {}
    for members in kinds.values():
        shape = _Shape()
        groups.setdefault(shape.read(members[0].invariant), (shape, []))[1].extend(members)
    return tuple(
        _family(number, general, shape.slots, sorted(members, key=lambda member: member.place))
        for number, (general, (shape, members)) in enumerate(groups.items(), start=1)
    )


def singles(invariants: Iterable[Invariant]) -> tuple[Family, ...]:
    """Each invariant as a family of its own: rule by rule evaluation, to compare with."""
    return tuple(Family((invariant,), invariant) for invariant in invariants)


@dataclass(frozen=True, slots=True)
class _Member:
    """An invariant, its place among all, and its constants as a shape lifts them."""

    place: int
    invariant: Invariant
    constants: tuple[Const, ...]


def _family(number: int, general: Invariant, slots: Sequence[Var], group: Sequence[_Member]) -> Family:
    members = tuple(member.invariant for member in group)
    if len(members) == 1:
        return Family(members, members[0])
    values = [tuple([constant.value for constant in member.constants]) for member in group]
    same = {
        slot: Const(column[0], slot.type)
        for slot, column in zip(slots, zip(*values, strict=True), strict=True)
        if len(set(map(_key, column))) == 1
    }
    kept = [place for place, slot in enumerate(slots) if slot not in same]
    member = Var("$member", _MEMBER)
    terms = (member, *(slots[place] for place in kept))
    predicate = Predicate(
        f"$family{number}",
        tuple(Column(f"c{place}", term.type) for place, term in enumerate(terms)),
        observed=False,
    )
    facts = tuple((index, *(row[place] for place in kept)) for index, row in enumerate(values))
    constants = Atom(predicate, terms)
    return Family(members, _joined(general, constants, same), constants, facts)


def _joined(general: Invariant, atom: Atom, same: dict[Var, Const]) -> Invariant:
    """The general invariant on top of the table of constants; slots that do not vary become constants again."""
    settle = _Rewriter(lambda variable: same.get(variable, variable), lambda constant: constant)
    member = atom.arguments[0]
    assert isinstance(member, Var), "the table of constants starts with the member"
    return replace(
        general,
        each=(atom, *settle.body(general.each)),
        variables=(member, *general.variables),
        expect=tuple(map(settle.body, general.expect)),
    )


def _key(value: object) -> object:
    """Equal only for the same value of the same type, NaN included: 1, 1.0 and True are different constants."""
    return type(value), repr(value)


@dataclass(slots=True)
class _Shape:
    """Reads an invariant into its shape: variables numbered, constants lifted, everything that only names left out."""

    slots: list[Var] = field(default_factory=list)
    _names: dict[Var, Var] = field(default_factory=dict)

    def read(self, invariant: Invariant) -> Invariant:
        general = _Rewriter(self._rename, self._lift)
        each, expect = general.body(invariant.each), tuple(map(general.body, invariant.expect))
        return Invariant(
            id="",
            severity="",
            tags=(),
            doc="",
            each=each,
            variables=tuple(map(self._rename, invariant.variables)),
            expect=expect,
            about=(),
            message="",
            step=self._rename(invariant.step) if invariant.step is not None else None,
            rank=self._rename(invariant.rank) if invariant.rank is not None else None,
            needs=invariant.needs,
            watched=invariant.watched,
            saves=invariant.saves,
            spoils=invariant.spoils,
            monotone=invariant.monotone,
            window=Window(invariant.window.kind),
            reach=invariant.reach,
        )

    def _rename(self, variable: Var) -> Var:
        if variable not in self._names:
            self._names[variable] = Var(f"V{len(self._names)}", variable.type)
        return self._names[variable]

    def _lift(self, constant: Const) -> Var:
        slot = Var(f"$slot{len(self.slots)}", constant.type)
        self.slots.append(slot)
        return slot


@dataclass(frozen=True, slots=True)
class _Rewriter:
    """Rebuilds bodies without spans, replacing variables and constants.

    What replaces a variable or constant within a nested body becomes shared with the outer one if it is a slot.
    """

    variable: Callable[[Var], Var | Const]
    constant: _Lift

    def body(self, body: Body) -> Body:
        return tuple(self._literal(literal) for literal in body)

    def _literal(self, literal: Literal) -> Literal:
        match literal:
            case Atom(predicate, arguments):
                return Atom(predicate, tuple(map(self._term, arguments)))
            case Compare(op, left, right):
                return Compare(op, self._expression(left), self._expression(right))
            case Bind(variable, value):
                return Bind(self._named(variable), self._expression(value))
            case Not(body, shared):
                inner = self.body(body)
                return Not(inner, self._shared(shared, inner))
            case Group():
                return self._group(literal)
            case Either(alternatives, binds, shared):
                return self._either(alternatives, binds, shared)

    def _group(self, group: Group) -> Group:
        inner = self.body(group.body)
        value, key = (
            self._expression(given) if given is not None else None for given in (group.value, group.key)
        )
        read = (*inner, *(Compare("=", given, given) for given in (value, key) if given is not None))
        return Group(
            self._named(group.result),
            group.kind,
            value,
            tuple(map(self._named, group.over)),
            inner,
            self._shared(group.shared, read),
            key=key,
        )

    def _either(self, bodies: tuple[Body, ...], binds: tuple[Var, ...], shared: tuple[Var, ...]) -> Either:
        inner = tuple(map(self.body, bodies))
        read = tuple(literal for body in inner for literal in body)
        return Either(inner, tuple(map(self._named, binds)), self._shared(shared, read))

    def _shared(self, shared: tuple[Var, ...], inner: Body) -> tuple[Var, ...]:
        kept = [found for found in map(self.variable, shared) if isinstance(found, Var)]
        return tuple(dict.fromkeys((*kept, *_slots(inner))))

    def _named(self, variable: Var) -> Var:
        found = self.variable(variable)
        assert isinstance(found, Var), "only slots become constants, and no body binds a slot"
        return found

    def _term(self, term: Term) -> Term:
        return term if isinstance(term, Any_) else self._atomic(term)

    def _atomic(self, term: Var | Const) -> Var | Const:
        return self.variable(term) if isinstance(term, Var) else self.constant(term)

    def _expression(self, value: Expr) -> Expr:
        if not isinstance(value, Op):
            return self._atomic(value)
        fixed = FIXED_ARGUMENTS.get(value.name, frozenset())
        arguments = [
            argument if place in fixed else self._expression(argument)
            for place, argument in enumerate(value.arguments)
        ]
        return Op(value.name, tuple(arguments), value.type)


def _slots(body: Body) -> Iterable[Var]:
    return sorted((v for v in body_variables(body) if v.name.startswith("$slot")), key=lambda slot: slot.name)
