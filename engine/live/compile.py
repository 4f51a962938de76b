"""Bodies as chains of Python closures, one for each literal, over one environment.

A closure extends the environment in every way that its literal allows and calls the next one for each; a closure that
returns True says "enough", so that a test of existence ends at the first solution. Atoms look facts up in hash indexes,
which an evaluation puts into the environment before it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from tcrules.engine import ir
from tcrules.engine.analyse.links import Links
from tcrules.engine.live.closures import (
    Fits,
    Next,
    Take,
    agreement,
    any_of,
    dispatch,
    each_row,
    found,
    has_values,
    keep_if,
    keep_if_some,
    keep_unless,
    taker,
)
from tcrules.engine.live.expressions import Environment, Evaluate, expression, test
from tcrules.engine.live.order import bound_by, ordered
from tcrules.engine.plan.build import expression_variables
from tcrules.engine.values import aggregate, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.ir import Fact

_SINK = 0  # the slot for what an evaluation collects


class Source(NamedTuple):
    """What an atom looks into: a relation, the step (relative; None: settled), the key columns.

    `exists`: only whether there is a row matters.
    """

    predicate: ir.Predicate
    offset: int | None
    columns: tuple[int, ...]
    exists: bool


class Scope(NamedTuple):
    """What is bound where a literal is reached. `placed`: variables whose value is the step of an event's table.

    Two atoms that share a placed variable need not compare it: their tables hold facts of the right steps only.
    """

    links: Links
    bound: frozenset[str] = frozenset()
    placed: frozenset[str] = frozenset()

    def within(self, body: ir.Body) -> Scope:
        """The same inside of a nested body."""
        return self._replace(links=self.links.within(body))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A body that ends in a collecting step.

    `start` is the environment before it; `tables` are slots of it with what each is to hold.
    """

    start: tuple[Any, ...]
    tables: tuple[tuple[int, Source], ...]
    run: Next

    def evaluate(self, index: Callable[[Source], Any]) -> dict[Fact, bool]:
        """What the last step collects, with the given indexes."""
        env: Environment = list(self.start)
        collected: dict[Fact, bool] = {}
        env[_SINK] = collected
        for slot, source in self.tables:
            env[slot] = index(source)
        self.run(env)
        return collected


def compile_invariant(
    each: ir.Body,
    expect: Sequence[ir.Body],
    variables: Sequence[ir.Var],
    horizons: Horizons,
    root: str,
    last: int,
) -> Compiled:
    """Collects the bindings of the variables by `each`, with whether an alternative of `expect` holds."""
    compiler = _Compiler(horizons, root, last)

    def collect(env: Environment) -> bool:
        # A binding that comes again holds again: asking first whether it is there costs more.
        env[_SINK][values(env)] = holds(env)
        return False

    run, scope = compiler.start(each, collect)  # gives the variables their slots
    values = compiler.tuple_of(variables)
    holds = any_of([compiler.exists(alternative, scope) for alternative in expect])
    return compiler.finish(run)


def compile_rule(rule: ir.Rule, horizons: Horizons, root: str) -> Compiled:
    """Collects the facts of the rule's head."""
    compiler = _Compiler(horizons, root, 0)

    def collect(env: Environment) -> bool:
        env[_SINK][tuple([value(env) for value in made])] = True
        return False

    run, _ = compiler.start(rule.body, collect)
    made = []
    for term, column in zip(rule.head.arguments, rule.head.predicate.columns, strict=True):
        assert not isinstance(term, ir.Any_), "analysis refuses heads with wildcards"
        value = compiler.expression(term)
        widen = column.type.base == "float" and term.type.base != "float"
        made.append(_widened(value) if widen else value)
    return compiler.finish(run)


def _widened(value: Evaluate) -> Evaluate:
    def convert(env: Environment) -> ir.Value | None:
        found = value(env)
        return None if found is None else normalise(found, "float")

    return convert


class _Compiler:
    """Gives slots to variables and tables, and makes the closures."""

    def __init__(self, horizons: Horizons, root: str, last: int) -> None:
        self.horizons, self.root, self.last = horizons, root, last
        self._slots: dict[str, int] = {}
        self._tables: dict[Source, int] = {}
        self._constants: dict[int, ir.Value] = {}
        self._size = _SINK + 1

    def finish(self, run: Next) -> Compiled:
        """All closures are made."""
        start = tuple(self._constants.get(slot) for slot in range(self._size))
        return Compiled(start, tuple((slot, source) for source, slot in self._tables.items()), run)

    def expression(self, value: ir.Expr) -> Evaluate:
        """A function that computes an expression."""
        return expression(value, self._name(variable.name for variable in expression_variables(value)))

    def tuple_of(self, variables: Sequence[ir.Var]) -> Callable[[Environment], Fact]:
        """A function that reads several variables."""
        slots = [self._slot(variable.name) for variable in variables]
        if len(slots) > 1:
            return itemgetter(*slots)
        if not slots:
            return lambda _: ()
        (only,) = slots
        return lambda env: (env[only],)

    def _name(self, names: Iterable[str]) -> Mapping[str, int]:
        for name in names:
            self._slot(name)
        return self._slots

    def _slot(self, name: str) -> int:
        if name not in self._slots:
            self._slots[name] = self._new()
        return self._slots[name]

    def _new(self) -> int:
        self._size += 1
        return self._size - 1

    def _table(self, atom: ir.Atom, columns: Sequence[int], links: Links, *, exists: bool = False) -> int:
        offset = None
        if self._is_event(atom):
            found = links.offset(atom, self.root)
            assert found is not None, "the horizon has a place for each event"
            offset = found - self.last
        source = Source(atom.predicate, offset, tuple(columns), exists)
        if source not in self._tables:
            self._tables[source] = self._new()
        return self._tables[source]

    def _is_event(self, atom: ir.Atom) -> bool:
        reach = self.horizons.reach(atom.predicate)
        return reach is None or not reach.settled

    # -------------------------------------------------------------------------------------------- bodies

    def start(self, body: ir.Body, then: Next) -> tuple[Next, Scope]:
        """A whole body, and what it binds. Members of a family are found by the columns of an event."""
        scope = Scope(Links(self.horizons).within(body))
        pair = self._dispatched(body)
        if pair is None:
            return self._chain(body, scope, then)
        rest = tuple(literal for literal in body if literal is not pair[0] and literal is not pair[1])
        for atom in pair:
            self._name(bound_by(atom))
            scope = self._behind(atom, scope)
        run, end = self._chain(rest, scope, then)
        return self._dispatch(*pair, scope.links, run), end

    def exists(self, body: ir.Body, scope: Scope) -> Next:
        """Whether a nested body has a solution."""
        return self._chain(body, scope.within(body), found)[0]

    def _chain(self, body: ir.Body, scope: Scope, then: Next) -> tuple[Next, Scope]:
        steps = []
        for literal in ordered(body, scope.bound, self._is_event):
            steps.append((literal, scope))
            self._name(bound_by(literal))  # in this order the variables of an atom lie side by side
            scope = self._behind(literal, scope)
        for literal, before in reversed(steps):
            then = self._literal(literal, before, then)
        return then, scope

    def _behind(self, literal: ir.Literal, scope: Scope) -> Scope:
        """What is bound behind a literal."""
        names = frozenset(bound_by(literal))
        placed = self._steps(literal) - scope.bound if isinstance(literal, ir.Atom) else frozenset()
        return Scope(scope.links, scope.bound | names, scope.placed | placed)

    def _step_columns(self, atom: ir.Atom) -> list[int]:
        """Columns of an event that hold its step."""
        reach = self.horizons.reach(atom.predicate)
        moments = reach.moments if reach is not None else ()
        return [at for at in moments if atom.predicate.columns[at].type.name == "step"]

    def _steps(self, atom: ir.Atom) -> frozenset[str]:
        """Variables of an event that are its step."""
        terms = [atom.arguments[at] for at in self._step_columns(atom)]
        return frozenset(term.name for term in terms if isinstance(term, ir.Var))

    def _literal(self, literal: ir.Literal, scope: Scope, then: Next) -> Next:
        match literal:
            case ir.Atom():
                return self._atom(literal, scope, then)
            case ir.Compare():
                return keep_if(test(literal, self._slots), then)
            case ir.Bind(variable, value):
                return self._bind(variable, self.expression(value), variable.name in scope.bound, then)
            case ir.Not(body):
                return keep_unless(self.exists(body, scope), then)
            case ir.Group():
                return self._group(literal, scope, then)
            case ir.Either(alternatives):
                return any_of([self._chain(a, scope.within(a), then)[0] for a in alternatives])

    def _bind(self, variable: ir.Var, compute: Evaluate, known: bool, then: Next) -> Next:
        slot, widen = self._slot(variable.name), variable.type.base == "float"

        def bind(env: Environment) -> bool:
            found = compute(env)
            if found is None:
                return False
            if widen:
                found = normalise(found, "float")
            if known:
                return (found is env[slot] or found == env[slot]) and then(env)
            env[slot] = found
            return then(env)

        return bind

    def _group(self, group: ir.Group, scope: Scope, then: Next) -> Next:
        cell, kind = self._new(), group.kind
        base = group.value.type.base if group.value is not None else "int"
        inner, _ = self._chain(group.body, scope.within(group.body), self._element(group, cell))

        def aggregated(env: Environment) -> ir.Value | None:
            elements: dict[Fact, tuple[ir.Value, ir.Value]] = {}
            env[cell] = elements
            inner(env)
            pairs = list(elements.values())
            return aggregate(kind, [value for value, _ in pairs], base, [key for _, key in pairs])

        return self._bind(group.result, aggregated, group.result.name in scope.bound, then)

    def _element(self, group: ir.Group, cell: int) -> Next:
        """Notes the value, and the key, of one binding of what an aggregate ranges over."""
        over = self.tuple_of(group.over)
        value, key = (
            self.expression(given) if given is not None else (lambda _: 0)
            for given in (group.value, group.key)
        )

        def note(env: Environment) -> bool:
            pair = (value(env), key(env))
            if pair[0] is not None and pair[1] is not None:
                env[cell][over(env)] = pair
            return False

        return note

    # -------------------------------------------------------------------------------------------- atoms

    def _atom(self, atom: ir.Atom, scope: Scope, then: Next) -> Next:
        variables, constants = self._keys(atom, scope)
        fresh, same = _fresh(atom, scope.bound)
        table = self._table(atom, [*variables, *constants], scope.links, exists=not fresh)
        slots = [self._slot(name) for name in variables.values()]
        slots += [self._constant(value) for value in constants.values()]
        if not fresh:
            return keep_if_some(table, slots, then)
        take, then = self._take(fresh, then)
        return each_row(table, slots, take, same, then)

    def _take(self, columns: Mapping[str, int], then: Next) -> tuple[Take, Next]:
        """Copies columns of a row to the variables that they bind, before going on."""
        slots = [self._slot(name) for name in columns]
        if not slots or slots == list(range(slots[0], slots[0] + len(slots))):
            return taker(slots, list(columns.values())), then
        # Names that several alternatives bind may lie apart: first side by side, then to their places.
        first = [self._new() for _ in slots]
        moves = tuple(zip(slots, first, strict=True))

        def move(env: Environment) -> bool:
            for slot, value in moves:
                env[slot] = env[value]
            return then(env)

        return taker(first, list(columns.values())), move

    def _keys(self, atom: ir.Atom, scope: Scope) -> tuple[dict[int, str], dict[int, ir.Value]]:
        """Columns whose values are known: bound variables, steps that the table has anyhow left out, and constants."""
        placed = self._steps(atom) & scope.placed
        variables: dict[int, str] = {}
        constants: dict[int, ir.Value] = {}
        for at, term in enumerate(atom.arguments):
            if isinstance(term, ir.Const):
                constants[at] = normalise(term.value)
            elif (
                isinstance(term, ir.Var)
                and term.name in scope.bound
                and not (term.name in placed and at in self._step_columns(atom))
            ):
                variables[at] = term.name
        return variables, constants

    def _constant(self, value: ir.Value) -> int:
        slot = self._new()
        self._constants[slot] = value
        return slot

    # -------------------------------------------------------------------------------------------- families

    def _dispatched(self, body: ir.Body) -> tuple[ir.Atom, ir.Atom] | None:
        """The atom over a family's constants, and the first event that shares variables with it."""
        if not body or not isinstance(body[0], ir.Atom) or not body[0].predicate.name.startswith("$family"):
            return None
        slots = {term for term in body[0].arguments if isinstance(term, ir.Var)}
        for literal in body[1:]:
            if isinstance(literal, ir.Atom) and self._is_event(literal) and slots & set(literal.arguments):
                return body[0], literal
        return None

    def _dispatch(self, family: ir.Atom, event: ir.Atom, links: Links, then: Next) -> Next:
        slots = {term.name: at for at, term in enumerate(family.arguments) if isinstance(term, ir.Var)}
        named = [
            (at, t.name) for at, t in enumerate(event.arguments) if isinstance(t, ir.Var) and t.name in slots
        ]
        shared: dict[str, int] = {}
        for at, name in named:
            shared.setdefault(name, at)
        members = self._table(family, [slots[name] for name in shared], links)
        facts = self._table(event, list(shared.values()), links)
        fresh, same = _fresh(event, frozenset(slots))
        take, then = self._take(fresh, then)
        choose = taker([self._slot(name) for name in slots], list(slots.values()))
        fixed = [(at, normalise(t.value)) for at, t in enumerate(event.arguments) if isinstance(t, ir.Const)]
        agree = agreement([(shared[name], at) for at, name in named if shared[name] != at])
        tests = [fit for fit in (same, agree, has_values(fixed)) if fit is not None]
        fits = (lambda row: all(fit(row) for fit in tests)) if tests else None
        return dispatch(members, facts, choose, take, fits, then)


def _fresh(atom: ir.Atom, bound: frozenset[str]) -> tuple[dict[str, int], Fits | None]:
    """The variables that an atom binds, by column; and, where one is repeated, whether the columns of a row agree."""
    first: dict[str, int] = {}
    repeated = []
    for at, term in enumerate(atom.arguments):
        if isinstance(term, ir.Var) and term.name not in bound and first.setdefault(term.name, at) != at:
            repeated.append((first[term.name], at))
    return first, agreement(repeated)
