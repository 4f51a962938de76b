"""A learned rule in fewer words: variables that can have one value only are replaced by it."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from tcrules.grammar import ast

if TYPE_CHECKING:
    from collections.abc import Mapping

_Node = TypeVar("_Node")
_IN_MESSAGE = re.compile(r"\{([A-Z][A-Za-z0-9_]*)\}")


def simplify(invariant: ast.Invariant) -> ast.Invariant:
    """The same rule with `V = constant` folded into the atoms, where nothing else than they and comparisons has V.

    Variables that the message or `about` shows stay, since a reader of a violation looks for them.
    """
    shown = {variable.name for variable in invariant.about} | set(
        _IN_MESSAGE.findall(invariant.message or "")
    )
    each = _folded(invariant.each, shown | _names(invariant.expect))
    return replace(
        invariant,
        each=each,
        expect=tuple(_folded(body, shown | _names(each)) for body in invariant.expect),
    )


def _folded(body: tuple[ast.Literal, ...], kept: set[str]) -> tuple[ast.Literal, ...]:
    kept = kept | _aggregated(body)
    constants = {name: value for name, value in map(_definition, body) if name and name not in kept}
    left = [one for one in body if _definition(one)[0] not in constants]
    folded = [cast("ast.Literal", _substituted(one, constants)) for one in left]
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


def _substituted(node: object, constants: Mapping[str, ast.Constant | None]) -> object:
    if isinstance(node, ast.Variable):
        return constants.get(node.name) or node
    if isinstance(node, tuple):
        return tuple(_substituted(part, constants) for part in node)
    if isinstance(node, ast.Span) or not is_dataclass(node) or isinstance(node, type):
        return node
    return replace(node, **{f.name: _substituted(getattr(node, f.name), constants) for f in fields(node)})


def _aggregated(node: object) -> set[str]:
    """Variables inside of aggregates, which range over what does not occur outside of them."""
    if isinstance(node, ast.Aggregate):
        return _names(node)
    if isinstance(node, tuple):
        return {name for part in node for name in _aggregated(part)}
    if is_dataclass(node) and not isinstance(node, type | ast.Span):
        return {name for f in fields(node) for name in _aggregated(getattr(node, f.name))}
    return set()


def _names(node: object) -> set[str]:
    if isinstance(node, ast.Variable):
        return {node.name}
    if isinstance(node, tuple):
        return {name for part in node for name in _names(part)}
    if is_dataclass(node) and not isinstance(node, type | ast.Span):
        return {name for f in fields(node) for name in _names(getattr(node, f.name))}
    return set()
