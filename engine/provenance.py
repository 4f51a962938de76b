"""Proofs of facts and of violations, rebuilt on demand by goal-directed evaluation.

The source tells in which round a derived fact was found. A derivation whose premises from the same
stratum have lower rounds is a step of a proof of least height, and following such steps always ends.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.alternatives import conjunctions
from tcrules.engine.directed import satisfiable, solutions
from tcrules.engine.facts import Stored
from tcrules.engine.naive import Solution, instantiate
from tcrules.engine.proof import Proof, ViolationProof
from tcrules.engine.show import show_literal
from tcrules.engine.values import equal, normalise
from tcrules.engine.why_not import why_not
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcrules.engine.facts import DerivedSource
    from tcrules.engine.ir import Fact, Predicate, Value

MOST_STEPS = 20_000
_Key = tuple[str, tuple["Value", ...]]


class ProofFault(Exception):
    """A source says that a fact is derived, but no rule derives it from its facts: a fault of the store."""


def prove(program: ir.Program, source: DerivedSource, predicate: Predicate, fact: Fact) -> Proof | None:
    """A proof of least height; None where the fact does not hold."""
    prover = _Prover(program, source)
    goal = _Goal(predicate, _normal(predicate, fact))
    if predicate.observed:
        stored = prover.observed(goal)
        return None if stored is None else Proof(predicate, stored)
    if source.round_of(predicate, goal.fact) is None:
        return None
    return prover.prove([goal])[goal.key]


def proofs(
    program: ir.Program,
    source: DerivedSource,
    predicate: Predicate,
    fact: Fact,
    limit: int = 100,
    depth: int = 100,
) -> Iterator[Proof]:
    """All proofs in which no fact is used to prove itself, lowest first: at most `limit`, `depth` steps high.

    There can be exponentially many; the search stops after `MOST_STEPS` uses of rules.
    """
    if not predicate.observed and source.round_of(predicate, _normal(predicate, fact)) is None:
        return
    prover = _Prover(program, source)
    yield from islice(prover.by_height(_Goal(predicate, _normal(predicate, fact)), depth), limit)


def explain_violation(
    program: ir.Program, source: DerivedSource, invariant: ir.Invariant, binding: Mapping[str, Value]
) -> ViolationProof | None:
    """Why the instance with these values of the invariant's variables is violated; None where it is not."""
    values = {
        variable.name: normalise(binding[variable.name], variable.type.base)
        for variable in invariant.variables
    }
    ways = (
        (body, found) for body in conjunctions(invariant.each) for found in solutions(body, source, values)
    )
    each, solution = next(ways, (invariant.each, None))
    if solution is None or any(satisfiable(body, source, values) for body in invariant.expect):
        return None
    goals = _goals(solution)
    proved = _Prover(program, source).prove(goals)
    reasons = (why_not(body, source, values, program) for body in invariant.expect)
    return ViolationProof(
        invariant,
        each,
        tuple(solution.binding.items()),
        tuple(proved[goal.key] for goal in goals),
        _checks(each, solution),
        tuple(reason for reason in reasons if reason is not None),
    )


@dataclass(frozen=True, slots=True)
class _Goal:
    """A fact to prove; `stored` where it is known to be in the source."""

    predicate: Predicate
    fact: Fact
    stored: Stored | None = None

    @property
    def key(self) -> _Key:
        return (self.predicate.name, self.fact)


@dataclass(frozen=True, slots=True)
class _Step:
    """A use of a rule that derives a goal."""

    rule: ir.Rule
    solution: Solution

    def goals(self) -> list[_Goal]:
        return _goals(self.solution)


def _goals(solution: Solution) -> list[_Goal]:
    return [
        _Goal(atom.predicate, _normal(atom.predicate, stored.values), stored)
        for atom, stored in solution.facts
    ]


def _normal(predicate: Predicate, fact: Fact) -> Fact:
    pairs = zip(fact, predicate.columns, strict=True)
    return tuple(normalise(value, column.type.base) for value, column in pairs)


def _checks(body: ir.Body, solution: Solution) -> tuple[str, ...]:
    return tuple(
        show_literal(literal, solution.binding) for literal in body if not isinstance(literal, ir.Atom)
    )


@dataclass(frozen=True, slots=True)
class _History:
    """Facts, and of the relations `of` also those that were replaced by better ones."""

    source: DerivedSource
    of: frozenset[str]

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[Stored]:
        yield from self.source.lookup(predicate, bound)
        if predicate.name in self.of:
            for fact, _ in self.source.superseded(predicate, bound):
                yield Stored(0, fact)


class _Prover:
    def __init__(self, program: ir.Program, source: DerivedSource) -> None:
        self.source = source
        self.history: dict[str, _History] = {}
        self.steps_left = MOST_STEPS
        self.cut = False
        self.rules: dict[str, list[ir.Rule]] = {}
        self.stratum: dict[str, int] = {}
        for number, stratum in enumerate(program.strata):
            self.stratum |= {predicate.name: number for predicate in stratum.predicates}
            best = frozenset(predicate.name for predicate in stratum.predicates if predicate.best)
            self.history |= {predicate.name: _History(source, best) for predicate in stratum.predicates}
            for rule in stratum.rules:
                self.rules.setdefault(rule.head.predicate.name, []).append(rule)

    def observed(self, goal: _Goal) -> Stored | None:
        """The observed fact with the least id."""
        if goal.stored is not None:
            return goal.stored
        return next(iter(self.source.lookup(goal.predicate, dict(enumerate(goal.fact)))), None)

    def prove(self, goals: Iterable[_Goal]) -> dict[_Key, Proof]:
        """Proofs of the goals and of all facts below them. Not recursive: a proof can be as high as a run is long."""
        steps: dict[_Key, _Step] = {}
        ranks: dict[_Key, tuple[int, int]] = {}
        proved: dict[_Key, Proof] = {}
        waiting = list(goals)
        while waiting:
            goal = waiting.pop()
            if goal.key in steps or goal.key in proved:
                continue
            if goal.predicate.observed:
                proved[goal.key] = self._leaf(goal)
            else:
                ranks[goal.key] = self._rank(goal)
                steps[goal.key] = step = self._first_step(goal, ranks[goal.key])
                waiting += step.goals()
        for key in sorted(steps, key=lambda key: ranks[key]):
            proved[key] = self._proof(steps[key], [proved[goal.key] for goal in steps[key].goals()], key[1])
        return proved

    def _leaf(self, goal: _Goal) -> Proof:
        stored = self.observed(goal)
        if stored is None:
            raise ProofFault(f"{goal.predicate.name}{goal.fact} is not in the source")
        return Proof(goal.predicate, stored)

    def _proof(self, step: _Step, premises: list[Proof], fact: Fact) -> Proof:
        return Proof(
            step.rule.head.predicate,
            Stored(0, fact),
            step.rule,
            tuple(step.solution.binding.items()),
            tuple(premises),
            _checks(step.rule.body, step.solution),
        )

    def _rank(self, goal: _Goal) -> tuple[int, int]:
        """Stratum and round: premises have a lower rank."""
        round_ = self.source.round_of(goal.predicate, goal.fact)
        if round_ is None and goal.predicate.best:
            bound = dict(enumerate(goal.fact))
            round_ = next((found for _, found in self.source.superseded(goal.predicate, bound)), None)
        if round_ is None:
            raise ProofFault(f"{goal.predicate.name}{goal.fact} was used, but is not derived")
        return (self.stratum[goal.predicate.name], round_)

    def _first_step(self, goal: _Goal, rank: tuple[int, int]) -> _Step:
        for step in self._steps(goal):
            below = [premise for premise in step.goals() if not premise.predicate.observed]
            if all(self._rank(premise) < rank for premise in below):
                return step
        raise ProofFault(f"no rule derives {goal.predicate.name}{goal.fact} from earlier facts")

    def _steps(self, goal: _Goal) -> Iterator[_Step]:
        """All uses of rules that derive a fact; those that use the same facts come once."""
        for rule in self.rules.get(goal.predicate.name, ()):
            binding = _head_binding(rule.head, goal.fact)
            if binding is not None:
                for solution in solutions(rule.body, self.history[goal.predicate.name], binding):
                    made = instantiate(rule.head, solution.binding)
                    if all(equal(one, other) for one, other in zip(made, goal.fact, strict=True)):
                        yield _Step(rule, solution)

    def by_height(self, goal: _Goal, depth: int) -> Iterator[Proof]:
        """All proofs of a goal, lowest first: each height is searched anew, as depth first may miss low ones."""
        for height in range(depth + 1):
            self.cut = False
            yield from (proof for proof, found in self.all_proofs(goal, (), height) if found == height)
            if not self.cut or self.steps_left < 0:
                return

    def all_proofs(self, goal: _Goal, above: tuple[_Key, ...], depth: int) -> Iterator[tuple[Proof, int]]:
        """Proofs that are at most `depth` steps high and use no fact of `above`, with their height."""
        if goal.predicate.observed:
            stored = self.observed(goal)
            if stored is not None:
                yield Proof(goal.predicate, stored), 0
            return
        self.cut |= depth == 0
        if depth == 0 or goal.key in above:
            return
        for step in self._steps(goal):
            self.steps_left -= 1
            if self.steps_left < 0:
                return
            for premises, height in self._all_premises(step.goals(), (*above, goal.key), depth - 1):
                yield self._proof(step, premises, goal.fact), height + 1

    def _all_premises(
        self, goals: list[_Goal], above: tuple[_Key, ...], depth: int
    ) -> Iterator[tuple[list[Proof], int]]:
        if not goals:
            yield [], 0
            return
        for first, height in self.all_proofs(goals[0], above, depth):
            for rest, other in self._all_premises(goals[1:], above, depth):
                yield [first, *rest], max(height, other)


def _head_binding(head: ir.Atom, fact: Fact) -> dict[str, Value] | None:
    """Values of the head's variables that make it the fact; None where it cannot be."""
    binding: dict[str, Value] = {}
    for term, value in zip(head.arguments, fact, strict=True):
        if isinstance(term, ir.Const) and not equal(term.value, value):
            return None
        if isinstance(term, ir.Var) and not equal(binding.setdefault(term.name, value), value):
            return None
    return binding
