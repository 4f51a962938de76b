"""A learned rule in fewer words: variables that can have one value only are replaced by it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tcrules.grammar import ast
from tcrules.rules.infer.trees import aggregated, mapped, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_MESSAGE = re.compile(r"\{([A-Z][A-Za-z0-9_]*)\}")


def simplify(invariant: ast.Invariant) -> ast.Invariant:
    """The same rule with `V = constant` folded into the atoms, where nothing else than they and comparisons has V.

    Variables that the message or `about` shows stay, since a reader of a violation looks for them.
    """
    shown = {variable.name for variable in invariant.about} | set(
        _IN_MESSAGE.findall(invariant.message or "")
    )
    each = _folded(invariant.each, shown | variables(invariant.expect))
    return replace(
        invariant,
        each=each,
        expect=tuple(_folded(body, shown | variables(each)) for body in invariant.expect),
    )


def _folded(body: tuple[ast.Literal, ...], kept: set[str]) -> tuple[ast.Literal, ...]:
    kept = kept | aggregated(body)
    constants = {name: value for name, value in map(_definition, body) if name and name not in kept}
    left = [one for one in body if _definition(one)[0] not in constants]
    folded = [_substituted(one, constants) for one in left]
    useful = [one for one in folded if not _holds(one)]
    return tuple(useful) if useful else body


def _definition(literal: ast.Literal) -> tuple[str, ast.Constant | None]:
    match literal:
        case ast.Comparison("=", ast.Variable(name), ast.Constant() as value):
            return name, value
    return "", None


def _holds(literal: ast.Literal) -> bool:
    """A comparison of two constants that is true for texts, flags and whole numbers of one type."""
    match literal:
        case ast.Comparison(op, ast.Constant(left), ast.Constant(right)) if type(left) is type(right):
            return (op == "=" and left == right) or (op == "!=" and left != right)
    return False


def _substituted(literal: ast.Literal, constants: Mapping[str, ast.Constant | None]) -> ast.Literal:
    return mapped(literal, lambda part: constants.get(part.name) if isinstance(part, ast.Variable) else None)
