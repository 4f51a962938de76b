"""Bodies as chains of Python closures, one for each literal, over one environment.

A closure extends the environment in every way that its literal allows and calls the next one for each; a closure that
returns True says "enough", so that a test of existence ends at the first solution. Atoms look facts up in hash indexes,
which an evaluation puts into the environment before it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tcrules.engine import ir
from tcrules.engine.analyse.horizon import Links
from tcrules.engine.live.expressions import Environment, Evaluate, expression, test
from tcrules.engine.live.order import ordered
from tcrules.engine.values import aggregate, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.ir import Fact

#: Called for each solution; True ends the search.
Next: TypeAlias = Callable[[Environment], bool]
_SINK = 0  # the slot for what an evaluation collects


class Source(NamedTuple):
    """An index that an atom looks into: a relation, the step (relative; None: settled), and the key columns."""

    predicate: ir.Predicate
    offset: int | None
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A body that ends in a collecting step. `tables` are slots of the environment with the index that each holds."""

    size: int
    tables: tuple[tuple[int, Source], ...]
    run: Next

    def evaluate(self, index: Callable[[Source], Any]) -> dict[Fact, bool]:
        """What the last step collects, with the given indexes."""
        env: Environment = [None] * self.size
        found: dict[Fact, bool] = {}
        env[_SINK] = found
        for slot, source in self.tables:
            env[slot] = index(source)
        self.run(env)
        return found


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
    links = Links(horizons).within(each)

    def collect(env: Environment) -> bool:
        found, binding = env[_SINK], values(env)
        if binding not in found:
            found[binding] = holds(env)
        return False

    run = compiler.start(each, links, collect)  # gives the variables their slots
    values = compiler.tuple_of(variables)
    bound = {variable.name for variable in variables}
    bound |= {t.name for a in each if isinstance(a, ir.Atom) for t in a.arguments if isinstance(t, ir.Var)}
    holds = _any_of([compiler.exists(alternative, bound, links) for alternative in expect])
    return compiler.finish(run)


def compile_rule(rule: ir.Rule, horizons: Horizons, root: str) -> Compiled:
    """Collects the facts of the rule's head."""
    compiler = _Compiler(horizons, root, 0)

    def collect(env: Environment) -> bool:
        env[_SINK][tuple([value(env) for value in made])] = True
        return False

    run = compiler.start(rule.body, Links(horizons).within(rule.body), collect)
    made = []
    for term, column in zip(rule.head.arguments, rule.head.predicate.columns, strict=True):
        assert not isinstance(term, ir.Any_), "analysis refuses heads with wildcards"
        value = expression(term, compiler.slots())
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
        self._size = _SINK + 1

    def finish(self, run: Next) -> Compiled:
        """All closures are made."""
        return Compiled(self._size, tuple((slot, source) for source, slot in self._tables.items()), run)

    def slots(self, *terms: ir.Term) -> Mapping[str, int]:
        """Slots of all variables that were named so far and of those given."""
        for term in terms:
            if isinstance(term, ir.Var):
                self._slot(term.name)
        return self._slots

    def tuple_of(self, variables: Sequence[ir.Var]) -> Callable[[Environment], Fact]:
        """A function that reads several variables."""
        slots = [self._slot(variable.name) for variable in variables]
        if len(slots) > 1:
            return itemgetter(*slots)
        if not slots:
            return lambda _: ()
        (only,) = slots
        return lambda env: (env[only],)

    def _slot(self, name: str) -> int:
        if name not in self._slots:
            self._slots[name] = self._new()
        return self._slots[name]

    def _new(self) -> int:
        self._size += 1
        return self._size - 1

    def _table(self, atom: ir.Atom, columns: Sequence[int], links: Links) -> int:
        offset = None
        if self._is_event(atom):
            found = links.offset(atom, self.root)
            assert found is not None, "the horizon has a place for each event"
            offset = found - self.last
        source = Source(atom.predicate, offset, tuple(columns))
        if source not in self._tables:
            self._tables[source] = self._new()
        return self._tables[source]

    def _is_event(self, atom: ir.Atom) -> bool:
        reach = self.horizons.reach(atom.predicate)
        return reach is None or not reach.settled

    # -------------------------------------------------------------------------------------------- bodies

    def start(self, body: ir.Body, links: Links, then: Next) -> Next:
        """A whole body. Where it begins with the constants of a family, these are dispatched by an event's columns."""
        pair = self._dispatched(body)
        if pair is None:
            return self._chain(body, set(), links, then)
        rest = tuple(literal for literal in body if literal is not pair[0] and literal is not pair[1])
        bound = {term.name for atom in pair for term in atom.arguments if isinstance(term, ir.Var)}
        return self._dispatch(*pair, links, lambda: self._chain(rest, bound, links, then))

    def exists(self, body: ir.Body, bound: set[str], links: Links) -> Next:
        """Whether a nested body has a solution."""
        return self._chain(body, bound, links.within(body), lambda _: True)

    def _chain(self, body: ir.Body, bound: set[str], links: Links, then: Next) -> Next:
        steps = []
        known = set(bound)
        for literal in ordered(body, known, self._is_event):
            steps.append((literal, frozenset(known)))
            known.update(_bound_by(literal))
        # slots in the order in which variables are bound, so that those of an atom lie side by side
        for literal, _ in steps:
            for name in _bound_by(literal):
                self._slot(name)
        for literal, before in reversed(steps):
            then = self._literal(literal, before, links, then)
        return then

    def _literal(self, literal: ir.Literal, bound: frozenset[str], links: Links, then: Next) -> Next:
        match literal:
            case ir.Atom():
                return self._atom(literal, bound, links, then)
            case ir.Compare():
                return _filter(test(literal, self.slots()), then)
            case ir.Bind(variable, value):
                return self._bind(variable, value, variable.name in bound, then)
            case ir.Not(body):
                return _unless(self.exists(body, set(bound), links), then)
            case ir.Group():
                return self._group(literal, set(bound), links, then)
            case ir.Either(alternatives):
                return _any_of([self._chain(a, set(bound), links.within(a), then) for a in alternatives])

    def _bind(self, variable: ir.Var, value: ir.Expr, known: bool, then: Next) -> Next:
        slot, compute, base = self._slot(variable.name), expression(value, self.slots()), variable.type.base

        def bind(env: Environment) -> bool:
            found = compute(env)
            if found is None:
                return False
            found = normalise(found, base)
            if known:
                return (found is env[slot] or found == env[slot]) and then(env)
            env[slot] = found
            return then(env)

        return bind

    def _group(self, group: ir.Group, bound: set[str], links: Links, then: Next) -> Next:
        cell, result = self._new(), self._slot(group.result.name)
        base = group.value.type.base if group.value is not None else "int"
        kind, result_base = group.kind, group.result.type.base
        collect = self._element(group, cell)
        inner = self._chain(group.body, bound - {group.result.name}, links.within(group.body), collect)
        known = group.result.name in bound

        def aggregated(env: Environment) -> bool:
            env[cell] = elements = {}
            inner(env)
            pairs = list(elements.values())
            value = aggregate(kind, [value for value, _ in pairs], base, [key for _, key in pairs])
            if value is None:
                return False
            value = normalise(value, result_base)
            if known:
                return (value is env[result] or value == env[result]) and then(env)
            env[result] = value
            return then(env)

        return aggregated

    def _element(self, group: ir.Group, cell: int) -> Next:
        """Notes the value, and the key, of one binding of what an aggregate ranges over."""
        over = self.tuple_of(group.over)
        for name in sorted(_names_in(group)):
            self._slot(name)
        value, key = (
            expression(given, self._slots) if given is not None else (lambda _: 0)
            for given in (group.value, group.key)
        )

        def note(env: Environment) -> bool:
            pair = (value(env), key(env))
            if None not in pair:
                env[cell][over(env)] = pair
            return False

        return note

    # -------------------------------------------------------------------------------------------- atoms

    def _atom(self, atom: ir.Atom, bound: frozenset[str], links: Links, then: Next) -> Next:
        columns = [
            at
            for at, term in enumerate(atom.arguments)
            if isinstance(term, ir.Const) or (isinstance(term, ir.Var) and term.name in bound)
        ]
        table = self._table(atom, columns, links)
        take, same = self._binder(atom, bound)
        rows_of = _rows(table, self._key([atom.arguments[at] for at in columns]), bool(columns))
        if take is None:
            return _some(rows_of, then)
        return _each(rows_of, take, then) if same is None else _each_same(rows_of, take, same, then)

    def _key(self, terms: Sequence[ir.Term]) -> Callable[[Environment], Any]:
        """The key under which an index has the rows, as `Table.index` makes it."""
        parts = [expression(term, self.slots(term)) for term in terms if not isinstance(term, ir.Any_)]
        if len(parts) == 1:
            return parts[0]
        if all(isinstance(term, ir.Var) for term in terms):
            return self.tuple_of([term for term in terms if isinstance(term, ir.Var)])
        if all(isinstance(term, ir.Const) for term in terms):
            constant = tuple(part([]) for part in parts)
            return lambda _: constant
        return lambda env: tuple([part(env) for part in parts])

    def _binder(
        self, atom: ir.Atom, bound: frozenset[str]
    ) -> tuple[Callable[[Environment, Fact], None] | None, Callable[[Fact], bool] | None]:
        """Puts a row's values into the environment; and, where a variable is repeated, whether its columns agree."""
        first: dict[str, int] = {}
        repeated = []
        for at, term in enumerate(atom.arguments):
            if isinstance(term, ir.Var) and term.name not in bound:
                if term.name in first:
                    repeated.append((first[term.name], at))
                else:
                    first[term.name] = at
        if not first:
            return None, None
        take = _assigner([self._slot(name) for name in first], list(first.values()))
        return take, _agreement(repeated) if repeated else None

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

    def _dispatch(self, family: ir.Atom, event: ir.Atom, links: Links, rest: Callable[[], Next]) -> Next:
        """Pairs the members of a family with the facts that have their constants: one look-up for each constant."""
        slots = {term.name: at for at, term in enumerate(family.arguments) if isinstance(term, ir.Var)}
        shared = {
            term.name: at
            for at, term in enumerate(event.arguments)
            if isinstance(term, ir.Var) and term.name in slots
        }
        members = self._table(family, [slots[name] for name in shared], links)
        facts = self._table(event, list(shared.values()), links)
        choose = _assigner([self._slot(name) for name in slots], list(slots.values()))
        take, same = self._binder(event, frozenset(slots))
        fixed = [(at, t.value) for at, t in enumerate(event.arguments) if isinstance(t, ir.Const)]
        again = [(shared[t.name], at) for at, t in enumerate(event.arguments) if _again(t, at, shared)]
        agree = _agreement(again) if again else None
        then = rest()

        def fits(row: Fact) -> bool:
            return (
                all(row[at] == value for at, value in fixed)
                and (same is None or same(row))
                and (agree is None or agree(row))
            )

        plain = not fixed and same is None and agree is None

        def dispatch(env: Environment) -> bool:
            by_constant, by_value = env[members], env[facts]
            for key in by_constant.keys() & by_value.keys():
                rows = by_value[key] if plain else [row for row in by_value[key] if fits(row)]
                for member in by_constant[key] if rows else ():
                    choose(env, member)
                    for row in rows:
                        if take is not None:
                            take(env, row)
                        if then(env):
                            return True
            return False

        return dispatch


def _again(term: ir.Term, at: int, shared: Mapping[str, int]) -> bool:
    return isinstance(term, ir.Var) and shared.get(term.name, at) != at


def _bound_by(literal: ir.Literal) -> dict[str, None]:
    match literal:
        case ir.Atom(arguments=arguments):
            return {term.name: None for term in arguments if isinstance(term, ir.Var)}
        case ir.Bind(variable):
            return {variable.name: None}
        case ir.Group(result=result):
            return {result.name: None}
        case ir.Either(binds=binds):
            return {variable.name: None for variable in binds}
    return {}


def _names_in(group: ir.Group) -> set[str]:
    given = [value for value in (group.value, group.key) if value is not None]
    found: set[str] = set()
    while given:
        value = given.pop()
        if isinstance(value, ir.Var):
            found.add(value.name)
        elif isinstance(value, ir.Op):
            given.extend(value.arguments)
    return found


# ------------------------------------------------------------------------------------------------ closures


def _any_of(ways: Sequence[Next]) -> Next:
    if len(ways) == 1:
        return ways[0]
    return (lambda env: any(way(env) for way in ways)) if ways else (lambda _: False)


def _filter(holds: Callable[[Environment], bool], then: Next) -> Next:
    return lambda env: holds(env) and then(env)


def _unless(found: Next, then: Next) -> Next:
    return lambda env: not found(env) and then(env)


def _rows(
    table: int, key: Callable[[Environment], Any], keyed: bool
) -> Callable[[Environment], Sequence[Fact]]:
    if not keyed:
        return itemgetter(table)
    return lambda env: env[table].get(key(env), ())


def _some(rows_of: Callable[[Environment], Sequence[Fact]], then: Next) -> Next:
    return lambda env: bool(rows_of(env)) and then(env)


def _each(
    rows_of: Callable[[Environment], Sequence[Fact]], take: Callable[[Environment, Fact], None], then: Next
) -> Next:
    def loop(env: Environment) -> bool:
        for row in rows_of(env):
            take(env, row)
            if then(env):
                return True
        return False

    return loop


def _each_same(
    rows_of: Callable[[Environment], Sequence[Fact]],
    take: Callable[[Environment, Fact], None],
    same: Callable[[Fact], bool],
    then: Next,
) -> Next:
    return _each(lambda env: [row for row in rows_of(env) if same(row)], take, then)


def _assigner(slots: list[int], columns: list[int]) -> Callable[[Environment, Fact], None]:
    """A function that copies columns of a row into slots; slots side by side take one assignment."""
    if len(slots) == 1:
        (slot,), (column,) = slots, columns

        def one(env: Environment, row: Fact) -> None:
            env[slot] = row[column]

        return one
    begin, end = slots[0], slots[0] + len(slots)
    if slots == list(range(begin, end)):
        place, values = slice(begin, end), itemgetter(*columns)

        def several(env: Environment, row: Fact) -> None:
            env[place] = values(row)

        return several
    pairs = tuple(zip(slots, columns, strict=True))

    def scattered(env: Environment, row: Fact) -> None:
        for slot, column in pairs:
            env[slot] = row[column]

    return scattered


def _agreement(pairs: Sequence[tuple[int, int]]) -> Callable[[Fact], bool]:
    return lambda row: all(row[one] is row[other] or row[one] == row[other] for one, other in pairs)
