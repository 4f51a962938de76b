"""A learned rule as syntax: the template's tree with its metavariables filled in and its guard added."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar, cast

from tcrules.grammar import ast
from tcrules.rules.infer.model import Choice, Configured, Filling, Interval, Learned, Pattern
from tcrules.rules.infer.names import EVERY
from tcrules.rules.infer.ranges import RANGE, bounded, limits
from tcrules.rules.infer.trees import mapped, metavariables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcrules.engine.ir import Value

#: Tags that only guide learning.
HINTS = frozenset({"default", "set", "transitive", "once", "local", RANGE})
_FIELD = re.compile(r"\{\?([A-Z][A-Za-z0-9_]*)\}")
_Node = TypeVar("_Node")


def instantiate(template: ast.Template, rule: Learned, name: str) -> ast.Invariant:
    """The invariant that a rule stands for, without documentation.

    `V = ?M` in `each` becomes `V = constant`, a test of a pattern, or nothing (any name); elsewhere the metavariable
    becomes the constant, or a variable with such a test. A choice gives an alternative of `expect` for each value. Of
    a setting the instance needs to have one at all, and `expect` that it has one of that value.
    """
    filling = dict(rule.filling)
    each = [literal for one in template.each for literal in _settled(one, filling)]
    loose = {m for literal in each for m in metavariables(literal)} & _patterns(filling)
    each += [
        _test(ast.Variable(m), cast("Pattern", filling[m]))
        for m in sorted(loose)
        if filling[m] != Pattern(EVERY)
    ]
    each += [ast.Comparison(g.op, ast.Variable(g.variable), ast.Constant(g.value)) for g in rule.guard]
    expect = tuple(tuple(part for one in body for part in bounded(one, filling)) for body in template.expect)
    settings = {name: given for name, given in filling.items() if isinstance(given, Configured)}
    each += [_setting(given, None) for given in settings.values()]
    types = {one.name: one.type for one in template.metavariables}
    equal = [one for name, given in settings.items() for one in _equals(name, types[name], given)]
    alternatives = [(*equal, *body) for given in _choices(filling) for body in _filled(expect, given)]
    return ast.Invariant(
        id=name,
        each=tuple(_filled(one, filling) for one in each),
        expect=tuple(alternatives),
        about=template.about,
        message=fill_text(template.message or "", filling, braces=True),
        annotations=_annotations(template, rule.tier),
    )


def fill_text(text: str, filling: Mapping[str, Filling], *, braces: bool = False) -> str:
    """Text with `{?M}` replaced by what ?M was filled with; `braces` doubles braces of values."""

    def replaced(match: re.Match[str]) -> str:
        shown = show(filling[match[1]]) if match[1] in filling else match[0]
        return shown.replace("{", "{{").replace("}", "}}") if braces else shown

    return _FIELD.sub(replaced, text)


def show(filling: Filling) -> str:
    """A filling for people."""
    if isinstance(filling, Pattern):
        return filling.glob
    if isinstance(filling, Interval):
        return "{:g} to {:g}".format(*limits(filling))
    if isinstance(filling, Configured):
        return f"the configured {filling.key}"
    if isinstance(filling, Choice):
        return " or ".join(_word(value) for value in filling.values)
    return _word(filling)


def _word(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ------------------------------------------------------------------------------------------------ filling in


def _settled(literal: ast.Literal, filling: Mapping[str, Filling]) -> Iterator[ast.Literal]:
    """`V = ?M` for a pattern becomes a test of V, or nothing; other literals stay."""
    match literal:
        case ast.Comparison("=", ast.Variable() as variable, ast.MetaVariable(name)) | ast.Comparison(
            "=", ast.MetaVariable(name), ast.Variable() as variable
        ):
            given = filling[name]
            if not isinstance(given, Pattern):
                yield literal
            elif given.glob != EVERY:
                yield _test(variable, given)
        case _:
            yield literal


def _test(variable: ast.Variable, pattern: Pattern) -> ast.Test:
    return ast.Test(ast.Apply("glob", (ast.Constant(pattern.glob), ast.Variable(variable.name))))


def _equals(name: str, kind: str, given: Configured) -> tuple[ast.Literal, ...]:
    """The variable for a metavariable is what was configured."""
    text = ast.Variable(f"{_variable(name)}Text")
    value = text if kind == "string" else ast.Apply(f"to_{kind}", (text,))
    return _setting(given, text), ast.Comparison("=", ast.Variable(_variable(name)), value)


def _setting(given: Configured, value: ast.Variable | None) -> ast.Atom:
    arguments = [ast.Argument("key", ast.Constant(given.key))]
    if value is not None:
        arguments.append(ast.Argument("value", value))
    return ast.Atom("config", tuple(arguments))


def _variable(name: str) -> str:
    """A variable for the configured value of a metavariable; `N = ?N` must not become `N = N`."""
    return f"Configured{name}"


def _patterns(filling: Mapping[str, Filling]) -> set[str]:
    return {name for name, given in filling.items() if isinstance(given, Pattern)}


def _choices(filling: Mapping[str, Filling]) -> Iterator[Mapping[str, Filling]]:
    """Fillings without choices, one for each value."""
    for name, given in filling.items():
        if isinstance(given, Choice):
            for value in given.values:
                yield from _choices({**filling, name: value})
            return
    yield filling


def _filled(node: _Node, filling: Mapping[str, Filling]) -> _Node:
    """The tree with constants (or variables, for patterns) in place of metavariables, without comments."""

    def constant(part: object) -> object | None:
        if not isinstance(part, ast.MetaVariable):
            return None
        given = filling[part.name]
        if isinstance(given, Configured):
            return ast.Variable(_variable(part.name))
        return (
            ast.Variable(part.name) if isinstance(given, Pattern | Choice | Interval) else ast.Constant(given)
        )

    return mapped(node, constant)


def _annotations(template: ast.Template, tier: str) -> tuple[ast.Annotation, ...]:
    words = [
        word for a in template.annotations if a.name == "tags" for word in a.arguments if word not in HINTS
    ]
    severity = "note" if any(a.name == "note" for a in template.annotations) else tier
    return (ast.Annotation(severity), ast.Annotation("tags", ("learned", *words)))
