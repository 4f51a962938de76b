"""Syntax trees of templates and rules: what occurs in them, and the same tree with something else in its place."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from tcrules.grammar import ast
from tcrules.grammar.molds import nodes

if TYPE_CHECKING:
    from collections.abc import Callable

_Node = TypeVar("_Node")


def variables(node: object) -> set[str]:
    """Names of the variables in a tree."""
    return {one.name for one in nodes(node) if isinstance(one, ast.Variable)}


def aggregated(node: object) -> set[str]:
    """Names of the variables inside of aggregates, which range over what does not occur outside of them."""
    return {name for one in nodes(node) if isinstance(one, ast.Aggregate) for name in variables(one)}


def metavariables(node: object) -> set[str]:
    """Names of the metavariables in a tree."""
    return {one.name for one in nodes(node) if isinstance(one, ast.MetaVariable)}


def mapped(node: _Node, change: Callable[[object], object | None]) -> _Node:
    """The tree, without comments, with `change(part)` in place of each part for which that is not None."""
    return cast("_Node", _mapped(node, change))


def _mapped(node: object, change: Callable[[object], object | None]) -> object:
    if (changed := change(node)) is not None:
        return changed
    if isinstance(node, tuple):
        return tuple(_mapped(part, change) for part in node)
    if isinstance(node, ast.Span) or not is_dataclass(node) or isinstance(node, type):
        return node
    parts = {
        f.name: () if f.name == "comments" else _mapped(getattr(node, f.name), change) for f in fields(node)
    }
    return replace(node, **parts)
