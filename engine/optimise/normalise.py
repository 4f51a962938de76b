"""Equations away: `X = Y` and `X = 3` become joins and constants that a scan can use; what is always true goes.

Only bodies of rules: reports show the variables of invariants.
"""

from __future__ import annotations

from dataclasses import replace

from tcrules.engine.ir import (
    Atom,
    Bind,
    Body,
    Compare,
    Const,
    Expr,
    Literal,
    Program,
    Rule,
    Var,
)
from tcrules.engine.optimise.order import makes
from tcrules.engine.optimise.substitute import substitute, substitute_atom
from tcrules.engine.values import compare


def normalise(program: Program) -> Program:
    """The program without equations between variables and constants in rules; rules that never fire are left out."""
    strata = tuple(
        replace(stratum, rules=tuple(found for rule in stratum.rules if (found := _rule(rule)) is not None))
        for stratum in program.strata
    )
    return replace(program, strata=strata)


def _rule(rule: Rule) -> Rule | None:
    while (equation := _equation(rule.body)) is not None:
        place, variable, value = equation
        body = (*rule.body[:place], *rule.body[place + 1 :])

        def becomes(found: Var, variable: Var = variable, value: Var | Const = value) -> Var | Const:
            return value if found == variable else found

        rule = replace(rule, head=substitute_atom(rule.head, becomes), body=substitute(body, becomes))
    kept: dict[object, Literal] = {}
    for literal in rule.body:
        if isinstance(literal, Compare) and (constant := _decided(literal)) is not None:
            if not constant:
                return None
            continue
        kept.setdefault(_meaning(literal), literal)
    return replace(rule, body=tuple(kept.values()))


def _equation(body: Body) -> tuple[int, Var, Var | Const] | None:
    """The first equation that can be solved: its place, a variable, and what the variable is."""
    made = {variable for literal in body for variable in makes(literal)}
    for place, literal in enumerate(body):
        if isinstance(literal, Bind) and _same(literal.variable, literal.value):
            assert isinstance(literal.value, Var | Const)
            return place, literal.variable, literal.value
        if isinstance(literal, Compare) and literal.op == "=":
            for one, other in ((literal.left, literal.right), (literal.right, literal.left)):
                if not made & {one, other} and isinstance(one, Var) and _same(one, other) and one != other:
                    assert isinstance(other, Var | Const)
                    return place, one, other
    return None


def _same(variable: Var, value: Expr) -> bool:
    """Whether a variable can be replaced by a value: an atomic one of the same representation."""
    return isinstance(value, Var | Const) and value.type.base == variable.type.base


def _decided(comparison: Compare) -> bool | None:
    """Whether a comparison is always true or always false; None: it depends."""
    left, right = comparison.left, comparison.right
    if isinstance(left, Const) and isinstance(right, Const):
        return compare(comparison.op, left.value, right.value)
    if isinstance(left, Var) and left == right:
        return comparison.op in ("=", "<=", ">=")
    return None


def _meaning(literal: Literal) -> object:
    """Equal for literals that say the same."""
    if isinstance(literal, Atom):
        return (literal.predicate.name, literal.arguments)
    if isinstance(literal, Compare):
        return (literal.op, literal.left, literal.right)
    return id(literal)
