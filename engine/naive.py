"""The evaluator that defines what rules mean: slow, obvious, in memory. Other executors must agree with it.

Bodies are solved tuple by tuple in the order that analysis found. Derived relations are found stratum by
stratum: each round derives everything that follows from the facts of the rounds before, until nothing is
new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.facts import MemoryFacts, Stored
from tcrules.engine.limits import EvaluationLimit, current
from tcrules.engine.values import aggregate, compare, equal, normalise
from tcrules.engine.values import evaluate as value_of
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tcrules.engine.facts import FactSource
    from tcrules.engine.ir import Fact, Predicate, Value

#: Values of variables by name.
Binding = dict[str, "Value"]
_Index = dict[tuple["Value", ...], list[Stored]]
MAXIMAL_FACTS = 5_000_000


# ------------------------------------------------------------------------------------------------ bodies


@dataclass(frozen=True, slots=True)
class Solution:
    """A binding that satisfies a body, and the facts that its positive atoms matched, in order."""

    binding: Binding
    facts: tuple[tuple[ir.Atom, Stored], ...]


def solve(
    body: ir.Body, source: FactSource, binding: Mapping[str, Value] | None = None
) -> Iterator[Solution]:
    """All ways to satisfy a body that extend `binding`; a binding may come more than once."""
    yield from _solve(body, source, Solution(dict(binding or {}), ()))


def _solve(body: ir.Body, source: FactSource, so_far: Solution) -> Iterator[Solution]:
    if not body:
        yield so_far
        return
    for extended in extend(body[0], source, so_far):
        yield from _solve(body[1:], source, extended)


def extend(literal: ir.Literal, source: FactSource, so_far: Solution) -> Iterator[Solution]:
    """All ways to satisfy one literal."""
    binding = so_far.binding
    if isinstance(literal, ir.Atom):
        for stored, extended in match(literal, source, binding):
            yield Solution(extended, (*so_far.facts, (literal, stored)))
    elif isinstance(literal, ir.Compare):
        left, right = value_of(literal.left, binding), value_of(literal.right, binding)
        if left is not None and right is not None and compare(literal.op, left, right):
            yield so_far
    elif isinstance(literal, ir.Bind):
        yield from _bound(literal.variable, value_of(literal.value, binding), so_far)
    elif isinstance(literal, ir.Not):
        if not exists(literal.body, source, binding):
            yield so_far
    elif isinstance(literal, ir.Either):
        yield from _either(literal, source, so_far)
    else:
        yield from _bound(literal.result, grouped(literal, source, binding), so_far)


def _either(either: ir.Either, source: FactSource, so_far: Solution) -> Iterator[Solution]:
    """Variables of one alternative alone mean nothing outside of it, and are forgotten."""
    for alternative in either.alternatives:
        for found in solve(alternative, source, so_far.binding):
            bound = {variable.name: found.binding[variable.name] for variable in either.binds}
            yield Solution({**so_far.binding, **bound}, (*so_far.facts, *found.facts))


def _bound(variable: ir.Var, value: Value | None, so_far: Solution) -> Iterator[Solution]:
    """A proof starts with the variables of a head bound, so the variable may have a value already."""
    if value is not None:
        value = normalise(value, variable.type.base)
        if equal(so_far.binding.get(variable.name, value), value):
            yield Solution({**so_far.binding, variable.name: value}, so_far.facts)


def match(
    atom: ir.Atom, source: FactSource, binding: Mapping[str, Value]
) -> Iterator[tuple[Stored, Binding]]:
    """Facts that an atom matches, each with the binding extended by it."""
    bound: dict[int, Value] = {}
    for at, term in enumerate(atom.arguments):
        if isinstance(term, ir.Const):
            bound[at] = normalise(term.value)
        elif isinstance(term, ir.Var) and term.name in binding:
            bound[at] = binding[term.name]
    for stored in source.lookup(atom.predicate, bound):
        extended = _unify(atom, stored.values, binding)
        if extended is not None:
            yield stored, extended


def _unify(atom: ir.Atom, fact: Fact, binding: Mapping[str, Value]) -> Binding | None:
    extended = dict(binding)
    for term, raw in zip(atom.arguments, fact, strict=True):
        value = normalise(raw)
        if isinstance(term, ir.Const) and not equal(term.value, value):
            return None
        if isinstance(term, ir.Var) and not equal(extended.setdefault(term.name, value), value):
            return None
    return extended


def exists(body: ir.Body, source: FactSource, binding: Mapping[str, Value]) -> bool:
    """Whether a body can be satisfied."""
    return next(solve(body, source, binding), None) is not None


def grouped(group: ir.Group, source: FactSource, binding: Mapping[str, Value]) -> Value | None:
    """The value of an aggregate; None where it has none. Elements with an undefined value do not count."""
    elements: dict[tuple[Value, ...], tuple[Value, Value]] = {}
    for solution in solve(group.body, source, binding):
        over = tuple(solution.binding[variable.name] for variable in group.over)
        value, key = (
            0 if given is None else value_of(given, solution.binding) for given in (group.value, group.key)
        )
        if value is not None and key is not None:
            elements[over] = (value, key)
    base = group.value.type.base if group.value is not None else "int"
    values, keys = ([element[at] for element in elements.values()] for at in (0, 1))
    return aggregate(group.kind, values, base, keys)


# ------------------------------------------------------------------------------------------------ relations


@dataclass(slots=True)
class Model:
    """Observed facts and all facts derived from them; a `FactSource`.

    Equal facts are kept once. `derived` gives the round in which each derived fact appeared: premises from its own
    stratum have lower ones. `replaced` are the facts, with their rounds, that a relation held until it found better
    ones: premises of proofs in its stratum may be among them.
    """

    program: ir.Program
    observed: dict[str, dict[Fact, Stored]]
    derived: dict[str, dict[Fact, int]]
    replaced: dict[str, dict[Fact, int]] = field(default_factory=dict)
    _indexes: dict[tuple[str, tuple[int, ...]], _Index] = field(default_factory=dict)

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[Stored]:
        """Facts whose column `i` equals `bound[i]`."""
        columns = tuple(sorted(bound))
        key = (predicate.name, columns)
        if key not in self._indexes:
            index: _Index = {}
            for stored in self.facts(predicate.name):
                index.setdefault(tuple(stored.values[at] for at in columns), []).append(stored)
            self._indexes[key] = index
        wanted = tuple(normalise(bound[at], predicate.columns[at].type.base) for at in columns)
        return self._indexes[key].get(wanted, ())

    def facts(self, name: str) -> list[Stored]:
        """All facts of a relation."""
        if name in self.derived:
            return [Stored(0, fact) for fact in self.derived[name]]
        return list(self.observed.get(name, {}).values())

    def round_of(self, predicate: Predicate, fact: Fact) -> int | None:
        """The round in which a derived fact appeared; None if it does not hold or is observed."""
        return self.derived.get(predicate.name, {}).get(_normal(predicate, fact))

    def superseded(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[tuple[Fact, int]]:
        """The facts that better ones replaced, with the rounds in which they appeared."""
        for fact, round_ in self.replaced.get(predicate.name, {}).items():
            if all(equal(fact[at], value) for at, value in bound.items()):
                yield fact, round_

    def add(self, found: Mapping[str, dict[Fact, None]], round_: int) -> bool:
        """Add derived facts; whether one of them is new."""
        changed = False
        for name, facts in found.items():
            best = self.program.predicates[name].best
            if best:
                changed |= self._add_best(name, best, facts, round_)
                continue
            for fact in facts:
                changed |= self.derived[name].setdefault(fact, round_) == round_
        self._indexes = {key: index for key, index in self._indexes.items() if key[0] not in found}
        return changed

    def _add_best(self, name: str, best: str, facts: Iterable[Fact], round_: int) -> bool:
        """Of facts that differ only in the last value, keep the one with the best value."""
        known = self.derived[name]
        kept = {fact[:-1]: fact for fact in known}
        changed = False
        for fact in facts:
            old = kept.get(fact[:-1])
            if old is None or compare("<" if best == "min" else ">", fact[-1], old[-1]):
                kept[fact[:-1]] = fact
        for fact in kept.values():
            changed |= known.setdefault(fact, round_) == round_
        for fact in [fact for fact in known if kept[fact[:-1]] != fact]:
            self.replaced.setdefault(name, {})[fact] = known.pop(fact)
        return changed


def _normal(predicate: Predicate, fact: Fact) -> Fact:
    pairs = zip(fact, predicate.columns, strict=True)
    return tuple(normalise(value, column.type.base) for value, column in pairs)


def evaluate(program: ir.Program, facts: MemoryFacts, limit: int | None = None) -> Model:
    """All derived relations. Raises EvaluationLimit where more than `limit` facts are derived (default: `limits`)."""
    limit = limit or current().facts or MAXIMAL_FACTS
    observed: dict[str, dict[Fact, Stored]] = {}
    for name, relation in facts.relations.items():
        predicate = program.predicates.get(name)
        if predicate is not None and predicate.observed:
            kept: dict[Fact, Stored] = {}
            for stored in relation:
                fact = _normal(predicate, stored.values)
                kept.setdefault(fact, Stored(stored.id, fact))
            observed[name] = kept
    derived: dict[str, dict[Fact, int]] = {
        predicate.name: {} for predicate in program.predicates.values() if not predicate.observed
    }
    model = Model(program, observed, derived)
    for stratum in program.strata:
        _fixpoint(stratum, model, limit)
    return model


def _fixpoint(stratum: ir.Stratum, model: Model, limit: int) -> None:
    round_ = 1
    while model.add(_consequences(stratum, model), round_):
        if sum(map(len, (*model.derived.values(), *model.replaced.values()))) > limit:
            names = ", ".join(predicate.name for predicate in stratum.predicates)
            endless = "; do values get better without end?" if model.replaced else ""
            raise EvaluationLimit(f"more than {limit} facts while deriving {names}{endless}")
        if not stratum.recursive:
            break
        round_ += 1


def _consequences(stratum: ir.Stratum, model: Model) -> dict[str, dict[Fact, None]]:
    """Everything that the rules derive from the facts that are known now."""
    found: dict[str, dict[Fact, None]] = {predicate.name: {} for predicate in stratum.predicates}
    for rule in stratum.rules:
        for solution in solve(rule.body, model):
            found[rule.head.predicate.name][instantiate(rule.head, solution.binding)] = None
    return found


def instantiate(head: ir.Atom, binding: Mapping[str, Value]) -> Fact:
    """The fact that a head stands for under a binding."""
    values = []
    for term, column in zip(head.arguments, head.predicate.columns, strict=True):
        if isinstance(term, ir.Any_):
            raise ValueError(f"the head of {head.predicate.name} has a wildcard")
        value = binding[term.name] if isinstance(term, ir.Var) else term.value
        values.append(normalise(value, column.type.base))
    return tuple(values)


# ------------------------------------------------------------------------------------------------ invariants


@dataclass(frozen=True, slots=True)
class Instance:
    """One binding of an invariant's variables; `facts` are those of one way to satisfy its body."""

    values: tuple[Value, ...]
    held: bool
    facts: tuple[tuple[ir.Atom, Stored], ...]


def instances(invariant: ir.Invariant, source: FactSource) -> Iterator[Instance]:
    """The distinct bindings of `variables` by `each`, each with whether an alternative of `expect` holds."""
    for binding, facts in _triggers(invariant, source):
        held = any(exists(alternative, source, binding) for alternative in invariant.expect)
        yield Instance(_values(invariant.variables, binding), held, facts)


def _triggers(
    invariant: ir.Invariant, source: FactSource
) -> Iterator[tuple[Binding, tuple[tuple[ir.Atom, Stored], ...]]]:
    seen: set[tuple[Value, ...]] = set()
    for solution in solve(invariant.each, source):
        values = _values(invariant.variables, solution.binding)
        if values not in seen:
            seen.add(values)
            names = [variable.name for variable in invariant.variables]
            yield dict(zip(names, values, strict=True)), solution.facts


def _values(variables: Sequence[ir.Var], binding: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(binding[variable.name] for variable in variables)


# ------------------------------------------------------------------------------------------------ templates


def statistics(
    template: ir.Template, source: FactSource
) -> tuple[dict[tuple[ir.Fact, ir.Fact], int], dict[tuple[ir.Fact, ir.Fact, ir.Fact], int]]:
    """The counts that mining uses: triggers by (bound, guard), and those that held by (bound, guard, free)."""
    triggers: dict[tuple[ir.Fact, ir.Fact], int] = {}
    held: dict[tuple[ir.Fact, ir.Fact, ir.Fact], int] = {}
    for binding, _ in _triggers(template.invariant, source):
        bound, guard = _values(template.bound, binding), _values(template.guard, binding)
        triggers[bound, guard] = triggers.get((bound, guard), 0) + 1
        for free in _held_by(template, source, binding):
            held[bound, guard, free] = held.get((bound, guard, free), 0) + 1
    return triggers, held


def _held_by(template: ir.Template, source: FactSource, binding: Binding) -> dict[tuple[Value, ...], None]:
    """Values of the free metavariables for which an alternative of `expect` holds."""
    return {
        _values(template.free, solution.binding): None
        for alternative in template.invariant.expect
        for solution in solve(alternative, source, binding)
    }
