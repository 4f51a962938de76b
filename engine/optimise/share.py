"""Common beginnings: what the bodies of several rules or families begin with is evaluated once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine.ir import Atom, Body, Column, Compare, Predicate, Var
from tcrules.engine.optimise.order import binds
from tcrules.engine.optimise.substitute import substitute

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Shared:
    """A relation that stands for a beginning: `atom` over all variables that `body` binds."""

    atom: Atom
    body: Body


@dataclass(frozen=True, slots=True)
class Sharing:
    """Bodies after sharing, in their order, and the relations that they read, each before those that need it."""

    bodies: tuple[Body, ...]
    relations: tuple[Shared, ...]


def share(bodies: Sequence[Body]) -> Sharing:
    """Replace the longest beginning that another body has as well, up to names, if it joins at least two atoms.

    Only atoms and comparisons are shared: they mean the same whatever stands around them.
    """
    beginnings = [_beginnings(body) for body in bodies]
    counts = Counter(form for forms in beginnings for form in forms)
    relations: dict[Body, Shared] = {}
    result = []
    for body, forms in zip(bodies, beginnings, strict=True):
        chosen = max((form for form in forms if counts[form] > 1), key=len, default=None)
        if chosen is None:
            result.append(body)
            continue
        shared = relations.setdefault(chosen, _relation(chosen, len(relations) + 1))
        own = _variables(body[: len(chosen)])
        result.append((Atom(shared.atom.predicate, own), *body[len(chosen) :]))
    return Sharing(tuple(result), tuple(relations.values()))


def _beginnings(body: Body) -> list[Body]:
    """The beginnings that may be shared, with variables renamed by their order."""
    length = next((n for n, literal in enumerate(body) if not isinstance(literal, Atom | Compare)), len(body))
    names: dict[Var, Var] = {}

    def general(variable: Var) -> Var:
        return names.setdefault(variable, Var(f"V{len(names)}", variable.type))

    form = substitute(body[:length], general)
    plain = tuple(
        Atom(x.predicate, x.arguments) if isinstance(x, Atom) else Compare(x.op, x.left, x.right)
        for x in form
        if isinstance(x, Atom | Compare)
    )
    return [plain[:n] for n in range(2, length + 1) if sum(isinstance(x, Atom) for x in plain[:n]) > 1]


def _variables(body: Body) -> tuple[Var, ...]:
    """Variables in the order in which `_beginnings` numbers them."""
    found: dict[Var, None] = {}
    for literal in body:
        if isinstance(literal, Atom):
            found.update((term, None) for term in literal.arguments if isinstance(term, Var))
    return tuple(found)


def _relation(form: Body, number: int) -> Shared:
    variables = tuple(dict.fromkeys(name for literal in form for name in _sorted(binds(literal))))
    columns = tuple(Column(variable.name, variable.type) for variable in variables)
    return Shared(Atom(Predicate(f"$shared{number}", columns, observed=False), variables), form)


def _sorted(variables: set[Var]) -> list[Var]:
    return sorted(variables, key=lambda variable: int(variable.name[1:]))
