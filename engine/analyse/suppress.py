"""Suppressions: the rule exists, it has the variables, the constants are of their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.faults import suggest
from tcrules.engine.values import normalise
from tcrules.grammar import ast
from tcrules.grammar.molds import Stamp, parts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tcrules.engine.analyse.faults import Faults
    from tcrules.engine.analyse.symbols import SourceProgram
    from tcrules.engine.ir import Value


def suppressions(
    programs: Iterable[SourceProgram],
    invariants: Iterable[ir.Invariant],
    elsewhere: Collection[str],
    faults: Faults,
) -> tuple[ir.Suppression, ...]:
    """The suppressions of `invariants` that the files state.

    `elsewhere` are ids of rules that exist but were not loaded, whose suppressions have no effect here. Nothing is said
    about suppressions of rules with faults.
    """
    parts = [part for source in programs for part in parts_of(source.program.statements)]
    statements = [part for part in parts if isinstance(part, ast.Suppression)]
    if not statements:
        return ()
    rules = {invariant.id: invariant for invariant in invariants}
    faulty = {part.id for part in parts if isinstance(part, ast.Invariant | Stamp)} - rules.keys()
    found = []
    for statement in statements:
        rule = rules.get(statement.rule)
        if rule is not None:
            found.append(_suppression(statement, rule, faults))
        elif statement.rule not in faulty and statement.rule not in elsewhere:
            mend = suggest(statement.rule, {*rules, *elsewhere})
            faults.error("TCR401", f"unknown rule `{statement.rule}`", statement.span, mend=mend)
    return tuple(found)


def _suppression(statement: ast.Suppression, rule: ir.Invariant, faults: Faults) -> ir.Suppression:
    types = {variable.name: variable.type for variable in rule.variables}
    bindings: dict[str, Value] = {}
    for given in statement.bindings:
        name = given.variable
        if name not in types:
            mend = suggest(name, types) or f"its variables are {', '.join(types)}"
            faults.error("TCR218", f"`{rule.id}` has no variable `{name}`", given.span, mend=mend)
        elif name in bindings:
            faults.error("TCR204", f"`{name}` is given twice", given.span)
        elif not _fits(given.value, types[name].base):
            why = f"`{name}` is of type {types[name].name}"
            faults.error("TCR205", "the constant can never be equal to the variable", given.span, why)
        else:
            bindings[name] = normalise(given.value, types[name].base)
    reason, until = statement.reason, statement.until or ""
    return ir.Suppression(rule.id, tuple(bindings.items()), reason, until, statement.span)


def _fits(value: Value, base: str) -> bool:
    """Whether a constant can stand for a value of a base type; "?" is the base of what is in fault already."""
    own = type(value).__name__.replace("str", "string")
    return own == base or (own, base) == ("int", "float") or base == "?"
