"""Bodies of rules as Python functions: nested loops over rows of tables, with tests as early as they can be made.

A body that binds nothing (a negation, an alternative of `expect`) is a condition if it is plain, else a function that
returns whether it has a solution. An aggregate is a function that returns its value, a disjunction that binds is one
generator for each alternative.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from tcrules.engine import ir
from tcrules.engine.analyse.links import Links
from tcrules.engine.live.expressions import comparison, expression, same
from tcrules.engine.live.order import ordered
from tcrules.engine.live.scopes import Places, Scope, Source, fresh
from tcrules.engine.live.source import MOST_LOOPS, End, Function, Module
from tcrules.engine.values import aggregate, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.ir import Value

_EXISTS = End(lambda function, _: function.line("return True"), "return False", "if {}: return True")


class Bodies:
    """Writes the functions of one body and of those within it. `sources`: what each table is to hold, by its name."""

    def __init__(self, horizons: Horizons, root: str, last: int) -> None:
        self.module = Module()
        self.sources: dict[str, Source] = {}
        self._places = Places(horizons, root, last)
        self._tables: dict[Source, str] = {}

    def outermost(self, body: ir.Body, function: Function) -> None:
        """A whole body. Members of a family are found by the columns of an event."""
        scope = Scope(Links(self._places.horizons).within(body))
        pair = self._dispatched(body) or ()
        if pair:
            self._dispatch(function, *pair, scope.links)
        for atom in pair:
            scope = self._places.behind(atom, scope)
        rest = tuple(literal for literal in body if not any(literal is atom for atom in pair))
        self._solve(function, ordered(rest, scope.bound, self._places.is_event), scope)

    def exists(self, function: Function, body: ir.Body, scope: Scope) -> str:
        """The condition that a nested body has a solution."""
        literals, within = self._inner(body, scope)
        if all(_is_plain(literal, within) for literal in literals):
            conditions = [
                c for literal in literals for c in self._conditions(function, literal, within) or ()
            ]
            return " and ".join(conditions) or "True"
        return self._called(function, body, scope, _EXISTS)

    def _called(self, function: Function, body: ir.Body, scope: Scope, end: End) -> str:
        """The call of a new function that solves a nested body."""
        inner = self.module.function(end)
        self._solve(inner, *self._inner(body, scope))
        return function.call(inner)

    def _inner(self, body: ir.Body, scope: Scope) -> tuple[Sequence[ir.Literal], Scope]:
        scope = scope.within(body)
        return ordered(body, scope.bound, self._places.is_event), scope

    def _solve(self, function: Function, literals: Sequence[ir.Literal], scope: Scope) -> None:
        """Solve literals in their order, then do what the function's end says."""
        for place, literal in enumerate(literals):
            if function.loops >= MOST_LOOPS:
                rest = self.module.function(function.end.rest)
                self._solve(rest, literals[place:], scope)
                function.line(function.end.through.format(function.call(rest)))
                return
            self._literal(function, literal, scope)
            scope = self._places.behind(literal, scope)
        function.end.solution(function, scope)

    def _literal(self, function: Function, literal: ir.Literal, scope: Scope) -> None:
        conditions = self._conditions(function, literal, scope)
        if conditions is not None:
            function.need(conditions)
            return
        match literal:
            case ir.Atom():
                self._rows(function, literal, scope)
            case ir.Bind(variable, value):
                conditions, name = expression(function, value)
                function.need(conditions)
                self._bind(function, variable, name, scope)
            case ir.Group():
                self._group(function, literal, scope)
            case ir.Either():
                self._either(function, literal, scope)

    def _conditions(self, function: Function, literal: ir.Literal, scope: Scope) -> list[str] | None:
        """What is to be tested; None where the literal binds something."""
        match literal:
            case ir.Compare():
                return comparison(function, literal)
            case ir.Not(body):
                return [f"not ({self.exists(function, body, scope)})"]
            case ir.Atom() if _is_plain(literal, scope):
                return [self._contained(function, literal, scope)]
            case ir.Either(alternatives) if not _new(literal, scope):
                ways = [self.exists(function, way, scope) for way in alternatives]
                return [f"({' or '.join(ways)})"]
        return None

    # -------------------------------------------------------------------------------------------- what binds

    def _bind(self, function: Function, variable: ir.Var, value: str, scope: Scope) -> None:
        """Give a variable its value, or compare it with the value that it has."""
        if variable.type.base == "float":
            value = f"{function.constant(widened)}({value})"
        if variable.name not in scope.bound:
            function.line(f"{function.bound(variable.name)} = {value}")
            return
        found = function.module.fresh()
        function.line(f"{found} = {value}")
        function.need([same(found, function.variable(variable.name))])

    def _group(self, function: Function, group: ir.Group, scope: Scope) -> None:
        base = group.value.type.base if group.value is not None else "int"

        def note(inner: Function, _: Scope) -> None:
            """The value, and the key, of one binding of what the aggregate ranges over."""
            given = (group.value, group.key)
            pair = [expression(inner, value) if value is not None else ([], "0") for value in given]
            inner.need([condition for conditions, _ in pair for condition in conditions])
            over = ", ".join(inner.variable(variable.name) for variable in group.over)
            inner.line(f"{inner.read('found')}[({over})] = {', '.join(name for _, name in pair)}")

        made = self.module.constant(partial(_aggregated, group.kind, base))
        end = End(note, f"return {made}(found)", collects=True)
        value = function.module.fresh()
        function.need([f"({value} := {self._called(function, group.body, scope, end)}) is not None"])
        self._bind(function, group.result, value, scope)

    def _either(self, function: Function, literal: ir.Either, scope: Scope) -> None:
        new = _new(literal, scope)

        def hand_on(inner: Function, _: Scope) -> None:
            inner.line(f"yield {', '.join(inner.variable(name) for name in new)},")

        end = End(hand_on, "return", "yield from {}")
        ways = [self._called(function, way, scope, end) for way in literal.alternatives]
        names = f"({', '.join(map(function.bound, new))},)"
        function.loop(names, f"{function.constant(chain)}({', '.join(ways)})")

    # -------------------------------------------------------------------------------------------- atoms

    def _contained(self, function: Function, atom: ir.Atom, scope: Scope) -> str:
        """The condition that there is a fact."""
        known = self._places.known(atom, scope)
        table = self._table(function, self._places.source(atom, known, scope.links, exists=True))
        return f"{_key(function, known.values())} in {table}" if known else f"bool({table})"

    def _rows(self, function: Function, atom: ir.Atom, scope: Scope) -> None:
        """A loop over the facts that have the values that are known."""
        known = self._places.known(atom, scope)
        table = self._table(function, self._places.source(atom, known, scope.links))
        columns, agree = fresh(atom, scope.bound)
        over = f"{table}.get({_key(function, known.values())}, ())" if known else table
        wanted = {at: function.bound(name) for name, at in columns.items()}
        again = {at: function.module.fresh() for _, at in agree}
        function.columns(wanted | again, len(atom.arguments), over)
        function.need([same(wanted[first], again[at]) for first, at in agree])

    def _table(self, function: Function, source: Source) -> str:
        name = self._tables.setdefault(source, f"t{len(self._tables)}")
        self.sources[name] = source
        return function.read(name)

    # -------------------------------------------------------------------------------------------- families

    def _dispatched(self, body: ir.Body) -> tuple[ir.Atom, ir.Atom] | None:
        """The atom over a family's constants, and the first event that shares variables with it."""
        if not body or not isinstance(body[0], ir.Atom) or not body[0].predicate.name.startswith("$family"):
            return None
        slots = {term for term in body[0].arguments if isinstance(term, ir.Var)}
        for literal in body[1:]:
            if (
                isinstance(literal, ir.Atom)
                and self._places.is_event(literal)
                and slots & set(literal.arguments)
            ):
                return body[0], literal
        return None

    def _dispatch(self, function: Function, family: ir.Atom, event: ir.Atom, links: Links) -> None:
        """Loops over each pair of a member and a fact that has its constants: one look-up for each constant."""
        slots = {term.name: at for at, term in enumerate(family.arguments) if isinstance(term, ir.Var)}
        columns: dict[str, list[int]] = {}
        for at, term in enumerate(event.arguments):
            if isinstance(term, ir.Var) and term.name in slots:
                columns.setdefault(term.name, []).append(at)
        members = self._table(function, self._places.source(family, [slots[name] for name in columns], links))
        facts = self._table(function, self._places.source(event, [ats[0] for ats in columns.values()], links))
        function.loop("key", f"{members}.keys() & {facts}.keys()")
        found, fits = fresh(event, frozenset(slots)), self._fits(function, event, columns)
        function.line(f"rows = {facts}[key]")
        if fits:
            function.line(f"rows = [row for row in rows if {' and '.join(fits)}]")
            function.need(["rows"])
        wanted = {at: function.bound(name) for name, at in slots.items()}
        function.columns(wanted, len(family.arguments), f"{members}[key]")
        if found.columns:
            wanted = {at: function.bound(name) for name, at in found.columns.items()}
            function.columns(wanted, len(event.arguments), "rows")

    def _fits(self, function: Function, event: ir.Atom, slots: Mapping[str, list[int]]) -> list[str]:
        """What must hold of a row besides having the constants at the first column of each."""
        pairs = [*fresh(event, frozenset(slots)).agree]
        pairs += [(first, at) for first, *more in slots.values() for at in more]
        fixed = {at: term for at, term in enumerate(event.arguments) if isinstance(term, ir.Const)}
        return [same(f"row[{one}]", f"row[{other}]") for one, other in pairs] + [
            same(f"row[{at}]", _term(function, term)) for at, term in fixed.items()
        ]


def _is_plain(literal: ir.Literal, scope: Scope) -> bool:
    """Whether a literal is a test that needs no search."""
    if isinstance(literal, ir.Atom):
        return not fresh(literal, scope.bound).columns
    return isinstance(literal, ir.Compare)


def _new(literal: ir.Either, scope: Scope) -> list[str]:
    """The variables to which a disjunction gives values."""
    return [variable.name for variable in literal.binds if variable.name not in scope.bound]


def _term(function: Function, term: ir.Var | ir.Const) -> str:
    return expression(function, term)[1]


def _key(function: Function, terms: Iterable[ir.Var | ir.Const]) -> str:
    """The value by which an index of some columns is asked."""
    names = [_term(function, term) for term in terms]
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def widened(value: Value) -> Value:
    return normalise(value, "float")


def _aggregated(kind: str, base: str, found: Mapping[Any, tuple[Value, Value]]) -> Value | None:
    return aggregate(kind, [value for value, _ in found.values()], base, [key for _, key in found.values()])
