"""Templates and facts -> statistics of all candidate rules of a template, by a few grouped queries.

A candidate is a binding of the metavariables. Its statistics are counts of instances, split by the values of the
template's guard variables: how often it was triggered, and how often it held. Statistics of runs add up, so learning
never needs the facts again.

Instances about which missing facts leave a doubt are not counted: they would be unknown to a check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.check import moments_in, relation
from tcrules.engine.ir import Bind, Body, Compare
from tcrules.engine.limits import EvaluationLimit
from tcrules.engine.plan.build import compile_body, violated
from tcrules.engine.plan.plan import AntiJoin, Plan, Project, Scan, Union, columns
from tcrules.engine.verdict import Doubt
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.ir import Fact, Template, Var
    from tcrules.engine.store import Store


class TooWide(Exception):
    """A template has more bindings or instances in a run than allowed; the text names it and the numbers."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one template may have in one run: `bindings` of its metavariables, and `instances`, also while joining.

    More instances than facts mean that a template joins what has nothing to do with each other.
    """

    bindings: int = 100_000
    instances: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of one template in one run; what is missing is 0.

    Values are those of the template's `bound`, `guard` and `free` variables, in the template's order.

    Attributes:
        triggers: instances for each (bound, guard).
        held: those for which the expectation holds, for each (bound, guard, free).
    """

    triggers: Mapping[tuple[Fact, Fact], int] = field(default_factory=dict)
    held: Mapping[tuple[Fact, Fact, Fact], int] = field(default_factory=dict)


_BOUNDS = Bounds()
_NO_DOUBT = Doubt()


def statistics(
    template: Template, store: Store, bounds: Bounds = _BOUNDS, doubt: Doubt = _NO_DOUBT
) -> Statistics:
    """The statistics of each candidate; `doubt` is what of the template's instances the run cannot decide.

    Raises:
        TooWide: the template has more bindings or instances than allowed.
    """
    if doubt.rule or doubt.violated or doubt.held:
        return Statistics()
    invariant = template.invariant
    instances = relation("$instance", invariant.variables)
    store.evaluate([invariant.each, *invariant.expect])
    made = [instances]
    try:
        if not store.create_from(instances, store.plan(invariant.each), bounds.instances):
            return Statistics()
        sure: Plan = compile_body((instances,))
        unclear = moments_in(store, "$unclear", invariant, instances, (*doubt.saving, *doubt.spoiling))
        if unclear is not None:
            made.append(unclear)
            sure = AntiJoin(sure, Scan(unclear.predicate, unclear.arguments))
        counter = _Counter(template, store, bounds)
        return counter.with_free(sure) if template.free else counter.without_free(sure)
    except EvaluationLimit as fault:
        raise TooWide(f"template {invariant.id}: {fault}") from fault
    finally:
        for atom in made:
            store.drop_relation(atom.predicate)


@dataclass(frozen=True, slots=True)
class _Counter:
    """Counts the instances of a template, which are the bindings of a plan."""

    template: Template
    store: Store
    bounds: Bounds

    def without_free(self, instances: Plan) -> Statistics:
        """All instances and those that fail, which are few in a healthy run."""
        bound, guard = self.template.bound, self.template.guard
        triggers = self._numbers(instances, (*bound, *guard))
        failed = self._numbers(violated(self.template.invariant.expect, instances), (*bound, *guard))
        first = len(bound)
        held = {values: number - failed.get(values, 0) for values, number in triggers.items()}
        return Statistics(
            {(values[:first], values[first:]): number for values, number in triggers.items()},
            {(values[:first], values[first:], ()): number for values, number in held.items() if number},
        )

    def with_free(self, instances: Plan) -> Statistics:
        """All instances, and those that hold for each value of the free metavariables."""
        bound, guard = self.template.bound, self.template.guard
        first, second = len(bound), len(bound) + len(guard)
        triggers = self._numbers(instances, (*bound, *guard))
        holding = self._holding(instances)
        return Statistics(
            {(values[:first], values[first:]): number for values, number in triggers.items()},
            {
                (values[:first], values[first:second], values[second:]): number
                for values, number in holding.items()
            },
        )

    def _holding(self, instances: Plan) -> Mapping[Fact, int]:
        """Numbers of instances by bound, guard and free values for which an alternative holds."""
        template, alternatives = self.template, self.template.invariant.expect
        keys = (*template.bound, *template.guard, *template.free)
        if len(alternatives) == 1 and _calculates(alternatives[0]):
            return self._numbers(compile_body(alternatives[0], instances), keys)
        if not alternatives:
            return {}
        # The distinct instances with their free values: several facts may make an instance hold.
        wanted = (*columns(instances), *template.free)
        held = relation("$held", wanted)
        parts = tuple(Project(compile_body(body, instances), wanted) for body in alternatives)
        try:
            self.store.create_from(held, Union(parts), self.bounds.instances)
            return self._numbers(compile_body((held,)), keys)
        finally:
            self.store.drop_relation(held.predicate)

    def _numbers(self, plan: Plan, keys: Sequence[Var]) -> dict[Fact, int]:
        """The number of bindings of a plan for each combination of values of the keys."""
        most = self.bounds.bindings
        rows = self.store.count(plan, keys, most + 1)
        if len(rows) > most:
            raise EvaluationLimit(f"more than {most:,} bindings of its metavariables in this run")
        return {row[:-1]: int(row[-1]) for row in rows if row[-1]}


def _calculates(body: Body) -> bool:
    """Whether a body only compares and calculates, so that it never repeats an instance."""
    return all(isinstance(literal, Compare | Bind) for literal in body)
