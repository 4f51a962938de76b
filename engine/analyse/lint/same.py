"""Rules that are given twice: equal up to names of variables, order of literals, and sides of comparisons.

`Forms` writes a rule with numbered variables in an order of literals that depends on names and order as little as is
cheap: equal forms mean equal rules; equal rules may have different forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.engine import ir
from tcrules.engine.reads import dependencies
from tcrules.engine.show import show_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine.analyse.faults import Faults
    from tcrules.engine.analyse.lint.settings import Settings
    from tcrules.grammar.ast import Span

#: Equal where the meaning is.
Form: TypeAlias = "tuple[Any, ...] | frozenset[Any] | str | int"
_Numbers: TypeAlias = dict[str, int]
_TURNED = {">": "<", ">=": "<="}


def repetitions(program: ir.Program, library: ir.Program | None, settings: Settings, faults: Faults) -> None:
    """Report TCR508 and TCR509."""
    _rules(program, settings, faults)
    shipped = {} if library is None else {invariant_form(i): i for i in library.invariants}
    meanings: dict[int, Mapping[str, Form]] = {}
    first: dict[Form, ir.Invariant] = {}
    for invariant in program.invariants:
        form = invariant_form(invariant)
        key = (form, settings.within(invariant.span))
        if key in first:
            message = f"`{invariant.id}` says the same as `{first[key].id}`"
            more = [(first[key].span, "the same")]
            faults.warning("TCR508", message, invariant.span, "", "delete one of them", more=more)
        first.setdefault(key, invariant)
        known = shipped.get(form)
        if known is None or library is None or known.id == invariant.id:
            continue
        for one in (program, library):
            if id(one) not in meanings:
                meanings[id(one)] = definitions(one)
        read = dependencies(program, [invariant.each, *invariant.expect])
        ours, theirs = meanings[id(program)], meanings[id(library)]
        if all(ours.get(name) == theirs.get(name) for name in read):
            _repeats(invariant, known, faults)


def _repeats(invariant: ir.Invariant, known: ir.Invariant, faults: Faults) -> None:
    message = f"`{invariant.id}` says the same as `{known.id}` of the shipped library"
    notes = ("with the library, a violation is reported twice",)
    mend = f"delete it; `--only {known.id}` checks that rule alone"
    faults.warning("TCR509", message, invariant.span, "", mend, notes=notes)


def _rules(program: ir.Program, settings: Settings, faults: Faults) -> None:
    ways: dict[Span, list[Form]] = {}
    names: dict[Span, str] = {}
    for stratum in program.strata:
        for rule in stratum.rules:
            ways.setdefault(rule.span, []).append(rule_form(rule))
            names[rule.span] = rule.head.predicate.name
    first: dict[object, Span] = {}
    for span, forms in ways.items():
        key = (frozenset(forms), settings.within(span))
        if key in first:
            message = f"this rule of `{names[span]}` is given twice"
            more = [(first[key], "the same")]
            faults.warning("TCR508", message, span, "", "delete one of them", more=more)
        first.setdefault(key, span)


def definitions(program: ir.Program) -> dict[str, Form]:
    """The rules of each derived relation, as one form."""
    found: dict[str, set[Form]] = {name: {p.best} for name, p in program.predicates.items() if not p.observed}
    for stratum in program.strata:
        for rule in stratum.rules:
            found.setdefault(rule.head.predicate.name, set()).add(rule_form(rule))
    return {name: frozenset(forms) for name, forms in found.items()}


def rule_form(rule: ir.Rule) -> Form:
    """A rule; variables are numbered from the head on."""
    numbers: _Numbers = {}
    return _atom(rule.head, numbers), _body(rule.body, numbers)


def invariant_form(invariant: ir.Invariant) -> Form:
    """What an invariant checks: `each` and `expect`, without message, severity and tags."""
    numbers: _Numbers = {}
    each = _body(invariant.each, numbers)
    return each, _unordered(_body(alternative, dict(numbers)) for alternative in invariant.expect)


# ------------------------------------------------------------------------------------------------ forms


def _body(body: ir.Body, numbers: _Numbers) -> Form:
    """Atoms, then the rest, in the order of what they look like without variables that have no number yet."""
    waiting = list(body)
    if len(waiting) > 1:
        masked = _Masked(numbers)
        looks = [(not isinstance(literal, ir.Atom), repr(_literal(literal, masked))) for literal in waiting]
        pairs = sorted(zip(looks, waiting, strict=True), key=lambda pair: pair[0])
        waiting = [literal for _, literal in pairs]
    return tuple(_literal(literal, numbers) for literal in waiting)


class _Masked(dict[str, int]):
    """Numbers in which every other variable has the same one."""

    def setdefault(self, key: str, default: int = 0, /) -> int:
        del default
        return self.get(key, -1)

    def copy(self) -> _Masked:
        return _Masked(self)


def _number(name: str, numbers: _Numbers) -> int:
    return numbers.setdefault(name, len(numbers))


def _literal(literal: ir.Literal, numbers: _Numbers) -> Form:
    match literal:
        case ir.Atom():
            return _atom(literal, numbers)
        case ir.Compare(op, left, right):
            sides = (right, left) if op in _TURNED else (left, right)
            forms = [_expression(side, numbers) for side in sides]
            if op in ("=", "!="):
                forms = sorted(forms, key=repr)
            return ("compare", _TURNED.get(op, op), *forms)
        case ir.Bind(variable, value):
            return "bind", _expression(value, numbers), _number(variable.name, numbers)
        case ir.Not(inner, shared):
            return "not", _outer(shared, numbers), _body(inner, numbers.copy())
        case ir.Either(alternatives, binds, shared):
            outer = _outer(shared, numbers), _outer(binds, numbers)
            return (
                "or",
                *outer,
                _unordered(_body(alternative, numbers.copy()) for alternative in alternatives),
            )
        case ir.Group():
            return _group(literal, numbers)


def _group(group: ir.Group, numbers: _Numbers) -> Form:
    outer, inside = _outer(group.shared, numbers), numbers.copy()
    body = _body(group.body, inside)
    given = [None if value is None else _expression(value, inside) for value in (group.value, group.key)]
    over = _outer(group.over, inside)
    return group.kind, outer, body, *given, over, _number(group.result.name, numbers)


def _outer(variables: Iterable[ir.Var], numbers: _Numbers) -> Form:
    """The numbers of variables: those of a scope around a body tell them from its own."""
    return tuple(sorted(_number(variable.name, numbers) for variable in variables))


def _unordered(forms: Iterable[Form]) -> Form:
    return tuple(sorted(set(forms), key=repr))


def _atom(atom: ir.Atom, numbers: _Numbers) -> Form:
    return (
        atom.predicate.name,
        *("_" if isinstance(term, ir.Any_) else _expression(term, numbers) for term in atom.arguments),
    )


def _expression(value: ir.Expr, numbers: _Numbers) -> Form:
    if isinstance(value, ir.Var):
        return _number(value.name, numbers)
    if isinstance(value, ir.Const):
        return value.type.name, show_value(value.value)
    return (value.name, *(_expression(argument, numbers) for argument in value.arguments))
