"""Breaches of a rule become violations: one for each thing that is wrong, however often and wherever it was seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from tcrules.engine.ir import Atom, Const, Invariant, Predicate, Term, Value, Var
from tcrules.instrument.schema import BY_NAME, UNLEARNABLE
from tcrules.report.model import Location, Violation

if TYPE_CHECKING:
    from tcrules.engine.facts import FactSource

Binding: TypeAlias = Mapping[str, Value]

_FIELD = re.compile(r"\{([A-Za-z?_]\w*)(?::([^{}]*))?\}")
#: Type of the first subject -> the word for it. Others are called subjects.
_NOUNS = {
    "param": "parameter",
    "buffer": "buffer",
    "module": "module",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
    "loader": "loader",
    "scaler": "scaler",
    "api": "function",
}
#: Positions in `location(rank, call, file, line, function)`.
_RANK, _CALL, _FILE, _LINE = 0, 1, 2, 3


@dataclass(slots=True)
class _Case:
    """All breaches that speak about the same subjects; `first` is the earliest."""

    subjects: tuple[Value, ...]
    first: int
    first_key: tuple[int, int]
    last_step: int
    count: int = 0
    ranks: set[int] = field(default_factory=set)


def fold(
    invariant: Invariant, bindings: Sequence[Binding], facts: FactSource, location: Predicate | None
) -> list[Violation]:
    """Violations of one rule, in order of their first step; ids and clusters are set later (`roots.mark_roots`)."""
    about = [var for var in invariant.about if var.type.name not in UNLEARNABLE]
    cases: dict[tuple[Value, ...], _Case] = {}
    for index, binding in enumerate(bindings):
        _count(cases, index, binding, invariant, tuple(binding[var.name] for var in about))
    ordered = sorted(cases.values(), key=lambda case: (case.first_key, list(map(str, case.subjects))))
    noun = _NOUNS.get(about[0].type.name, "subject") if about else "subject"
    return [_violation(invariant, bindings[case.first], case, noun, facts, location) for case in ordered]


def render_message(template: str, binding: Binding) -> str:
    """The message with the values of a breach; a format such as `{Rate:.3g}` is that of Python.

    >>> render_message("step {S}: rate {Rate:.3g} of {O}", {"S": 3, "Rate": 0.30000001, "O": "SGD#0"})
    'step 3: rate 0.3 of SGD#0'
    """

    def value(match: re.Match[str]) -> str:
        name, form = match.groups()
        if name not in binding:
            return match.group()
        try:
            return format(binding[name], form) if form else shown(binding[name])
        except ValueError:
            return shown(binding[name])

    return _FIELD.sub(value, template)


def shown(value: Value) -> str:
    """A value for readers.

    >>> shown(True), shown(0.1 + 0.2), shown("fc.weight")
    ('true', '0.3', 'fc.weight')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _count(
    cases: dict[tuple[Value, ...], _Case],
    index: int,
    binding: Binding,
    invariant: Invariant,
    subjects: tuple[Value, ...],
) -> None:
    step = int(binding[invariant.step.name]) if invariant.step else -1
    rank = int(binding[invariant.rank.name]) if invariant.rank else 0
    case = cases.setdefault(subjects, _Case(subjects, index, (step, rank), step))
    if (step, rank) < case.first_key:
        case.first, case.first_key = index, (step, rank)
    case.last_step = max(case.last_step, step)
    case.count += 1
    if invariant.rank:
        case.ranks.add(rank)


def _violation(
    invariant: Invariant,
    binding: Binding,
    case: _Case,
    noun: str,
    facts: FactSource,
    location: Predicate | None,
) -> Violation:
    stepped = invariant.step is not None
    return Violation(
        id="",
        rule=invariant.id,
        severity=invariant.severity,
        first_step=case.first_key[0] if stepped else None,
        last_step=case.last_step if stepped else None,
        count=case.count,
        ranks=tuple(sorted(case.ranks)),
        subjects=tuple(map(shown, case.subjects)),
        message=render_message(invariant.message, binding),
        location=find_location(invariant, binding, facts, location),
        instance=case.first,
        noun=noun,
    )


def find_location(
    invariant: Invariant, binding: Binding, facts: FactSource, location: Predicate | None
) -> Location | None:
    """The user's line of the call in the evidence that says most: one that the message names, else the first."""
    if location is None:
        return None
    rank = binding[invariant.rank.name] if invariant.rank else None
    for call in _calls(invariant, binding, facts):
        bound: dict[int, Value] = {_CALL: call}
        if rank is not None:
            bound[_RANK] = rank
        for fact in facts.lookup(location, bound):
            return Location(str(fact.values[_FILE]), int(fact.values[_LINE]))
    return None


def _calls(invariant: Invariant, binding: Binding, facts: FactSource) -> Iterator[Value]:
    """Calls in the evidence: first those that the rule has a variable for, then those that its facts belong to."""
    for variable in call_variables(invariant):
        yield binding[variable.name]
    for atom in invariant.each:
        if not isinstance(atom, Atom) or not atom.predicate.observed:
            continue
        place = next(
            (i for i, column in enumerate(atom.predicate.columns) if column.type.name == "call"), None
        )
        if place is None or isinstance(atom.arguments[place], Var):
            continue
        bound = {
            i: _value(term, binding) for i, term in enumerate(atom.arguments) if _is_bound(term, binding)
        }
        for fact in facts.lookup(atom.predicate, bound):
            yield fact.values[place]
            break


def _is_bound(term: Term, binding: Binding) -> TypeGuard[Var | Const]:
    """Whether the value of a term is known; variables that analysis made for expressions are in no binding."""
    return isinstance(term, Const) or (isinstance(term, Var) and term.name in binding)


def _value(term: Var | Const, binding: Binding) -> Value:
    return binding[term.name] if isinstance(term, Var) else term.value


def call_variables(invariant: Invariant) -> list[Var]:
    """Variables of a rule that name calls: those in its message first, then in the order of its body."""
    named = {name for name, _ in _FIELD.findall(invariant.message)}
    order = {
        term.name: place
        for place, term in reversed(
            list(
                enumerate(
                    t for literal in invariant.each if isinstance(literal, Atom) for t in literal.arguments
                )
            )
        )
        if isinstance(term, Var)
    }
    calls = [var for var in invariant.variables if var.type.name == "call"]
    return sorted(calls, key=lambda var: (var.name not in named, order.get(var.name, len(order))))


def location_predicate(predicates: Mapping[str, Predicate]) -> Predicate | None:
    """The relation `location`, if the program knows it."""
    found = predicates.get("location")
    expected = BY_NAME["location"].column_names()
    return found if found and tuple(column.name for column in found.columns) == expected else None
