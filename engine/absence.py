"""What the absence of a fact is worth: nothing where its relation, or its step, was not recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcrules.engine.facts import Coverage, FactSource, Gap
    from tcrules.engine.ir import Value


def notes_on(
    body: ir.Body, source: FactSource, binding: Mapping[str, Value], coverage: Coverage | None
) -> tuple[str, ...]:
    """Why facts that the last literal of a body asks for, or those before it, may be missing from the record alone.

    `binding` holds for the last literal; the others may hold with other values, too. That a relation has no fact at
    all is told as well. Without `coverage` everything counts as recorded.
    """
    told: dict[str, None] = {}
    for place, literal in enumerate(body):
        last = place == len(body) - 1
        for atom in _asked(literal):
            gaps = tuple(_gaps(atom, binding if last else {}, coverage))
            told |= dict.fromkeys(gaps)
            alone = last and not isinstance(literal, ir.Group) and not gaps
            if alone and next(iter(source.lookup(atom.predicate, {})), None) is None:
                told.setdefault(f"there is no fact of {atom.predicate.name} at all")
    return tuple(told)


def _asked(literal: ir.Literal) -> Iterator[ir.Atom]:
    """Observed relations of which more facts could make a literal hold."""
    if isinstance(literal, ir.Atom):
        if literal.predicate.observed:
            yield literal
    elif isinstance(literal, ir.Group):
        for below in literal.body:
            yield from _asked(below)
    elif isinstance(literal, ir.Either):
        for way in literal.alternatives:
            for below in way:
                yield from _asked(below)


def _gaps(atom: ir.Atom, binding: Mapping[str, Value], coverage: Coverage | None) -> Iterator[str]:
    if coverage is None:
        return
    name = atom.predicate.name
    if name not in coverage.recorded:
        yield f"{name} was not recorded"
        return
    step, rank = _column(atom, "step", binding), _column(atom, "rank", binding)
    for gap in coverage.gaps:
        if gap.relation == name and _hides(gap, step, rank):
            until = "on" if gap.last_step == -1 else f"to {gap.last_step}"
            kept = ", but for some steps" if gap.recorded else ""
            yield f"{name} is not known from step {gap.first_step} {until}{kept}: {gap.why}"


def _hides(gap: Gap, step: Value | None, rank: Value | None) -> bool:
    if rank is not None and gap.rank not in (-1, rank):
        return False
    if step is None:
        return True
    number = int(step)
    within = gap.first_step <= number and (gap.last_step == -1 or number <= gap.last_step)
    return within and not any(first <= number <= last for first, last in gap.recorded)


def _column(atom: ir.Atom, kind: str, binding: Mapping[str, Value]) -> Value | None:
    """The value of the first column of a type, None where it is not known."""
    for column, term in zip(atom.predicate.columns, atom.arguments, strict=True):
        if column.type.name == kind:
            if isinstance(term, ir.Const):
                return term.value
            return binding.get(term.name) if isinstance(term, ir.Var) else None
    return None
