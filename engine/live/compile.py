"""Rules as functions from tables to what they find: straight code, written from their bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.engine import ir
from tcrules.engine.live.bodies import Bodies, widened
from tcrules.engine.live.expressions import expression
from tcrules.engine.live.source import End

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.ir import Fact
    from tcrules.engine.live.scopes import Scope, Source
    from tcrules.engine.live.source import Function

    #: What a rule finds in tables, and what they are to hold.
    _Made: TypeAlias = tuple[Callable[..., dict[Fact, bool]], Sequence[Source]]


class Compiled:
    """A rule that is compiled when it is first evaluated: many rules of a library concern nothing that a run does."""

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: _Made | None = None

    def evaluate(self, index: Callable[[Source], Any]) -> dict[Fact, bool]:
        """What the rule finds with the given indexes."""
        if self._made is None:
            self._made = self._make()
        find, sources = self._made
        return find(*map(index, sources))


def compile_invariant(
    each: ir.Body,
    expect: Sequence[ir.Body],
    variables: Sequence[ir.Var],
    horizons: Horizons,
    root: str,
    last: int,
) -> Compiled:
    """Finds the bindings of the variables by `each`, with whether an alternative of `expect` holds."""

    def make() -> _Made:
        bodies = Bodies(horizons, root, last)

        def collect(function: Function, scope: Scope) -> None:
            held = " or ".join([bodies.exists(function, body, scope) for body in expect]) or "False"
            # A binding that comes again holds again: asking first whether it is there costs more.
            _collect(function, [function.variable(variable.name) for variable in variables], held)

        return _made(bodies, each, collect)

    return Compiled(make)


def compile_rule(rule: ir.Rule, horizons: Horizons, root: str) -> Compiled:
    """Finds the facts of the rule's head."""

    def make() -> _Made:
        def collect(function: Function, _: Scope) -> None:
            columns = rule.head.predicate.columns
            pairs = zip(rule.head.arguments, columns, strict=True)
            _collect(function, [_head(function, term, column) for term, column in pairs], "True")

        return _made(Bodies(horizons, root, 0), rule.body, collect)

    return Compiled(make)


def _made(bodies: Bodies, body: ir.Body, collect: Callable[[Function, Scope], None]) -> _Made:
    function = bodies.module.function(End(collect, "return found", collects=True))
    bodies.outermost(body, function)
    return bodies.module.compiled(function), [bodies.sources[name] for name in function.parameters]


def _collect(function: Function, values: Sequence[str], held: str) -> None:
    key = f"({', '.join(values)},)" if values else "()"
    function.line(f"{function.read('found')}[{key}] = {held}")


def _head(function: Function, term: ir.Term, column: ir.Column) -> str:
    """A column of a fact of the head, in the type of the column."""
    assert not isinstance(term, ir.Any_), "analysis refuses heads with wildcards"
    value = expression(function, term)[1]
    widen = column.type.base == "float" and term.type.base != "float"
    return f"{function.constant(widened)}({value})" if widen else value
