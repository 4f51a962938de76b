"""Three-valued verdicts: what may be said of a rule's instances, given what was recorded.

An instance is a binding of an invariant's variables that its body yields. Executors find the instances
and whether the expectation holds; everything about doubt is decided here, for all executors alike.

- A relation that the body reads was not recorded: the rule is unknown.
- Facts that could have saved a violated instance may be missing: the instance is unknown, not violated.
  Where an expectation is not monotone, facts could also have broken a held instance: then that is unknown
  as well.
- The run was cut off: what an expectation still waited for is unknown.
- What is proved by facts that are there (`expect not batch(…)`) is violated whatever else is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from tcrules.engine.alternatives import direct
from tcrules.engine.gaps import Hole, holes
from tcrules.engine.ir import Atom, Bind, Body, Compare, Invariant, Not, Value
from tcrules.engine.values import order_key
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.facts import Coverage, Gap
    from tcrules.engine.naive import Instance

#: Values of an invariant's variables, in their order.
Binding: TypeAlias = tuple[Value, ...]
Status: TypeAlias = Literal["violated", "held", "vacuous", "unknown"]

#: How many violations of one rule are kept; all are counted.
MOST_VIOLATIONS = 100_000


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """The verdict on one rule: numbers of instances, and why some or all are unknown."""

    rule: str
    status: Status
    violated: int = 0
    held: int = 0
    unknown: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """What about an invariant cannot be decided in a run.

    `rule`: reasons for which its body cannot be evaluated at all. `always`: reasons that make every instance
    unknown that is violated (and, unless the invariant is monotone, every held one). `cut_off`: reasons that
    make every violated instance unknown. `gaps`: those that make instances of some moments unknown, by `holes`.
    `proved`: violated instances are never unknown. `notes`: worth saying, but no instance depends on it.
    """

    rule: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    cut_off: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    holes: tuple[Hole, ...] = ()
    proved: bool = False
    notes: tuple[str, ...] = ()

    @property
    def every_violation(self) -> bool:
        """Whether all violated instances are unknown."""
        return not self.proved and bool(self.always or self.cut_off)

    def covers(self, step: int | None, rank: int | None) -> bool:
        """Whether an instance of that moment could have read what is missing; None: the invariant does not tell."""
        return any(hole.covers(step, rank) for hole in self.holes)


def doubt(invariant: Invariant, coverage: Coverage) -> Doubt:
    """What of the invariant cannot be decided, given what was recorded."""
    gaps = [gap for gap in coverage.gaps if gap.relation in invariant.watched]
    unrecorded = invariant.watched - coverage.recorded
    cut_off: tuple[str, ...] = ()
    if invariant.window.kind == "run" and not coverage.complete:
        because = (
            f" ({invariant.window.because} is decided only at its end)" if invariant.window.because else ""
        )
        cut_off = (f"the run was cut off before its end{because}",)
    return Doubt(
        rule=tuple(_why_unrecorded(name, coverage) for name in sorted(invariant.needs - coverage.recorded)),
        always=tuple(_why_unrecorded(name, coverage) for name in sorted(unrecorded)),
        cut_off=cut_off,
        gaps=tuple(gaps),
        holes=holes(gaps, invariant.reach),
        proved=_certain(invariant.each) and all(map(_refuted, invariant.expect)),
        notes=tuple(_why_gap(gap) for gap in coverage.gaps if gap.relation in invariant.needs),
    )


def _certain(body: Body) -> bool:
    """More facts cannot take anything from what the body yields. Derived relations may hide a negation."""
    return all(
        literal.predicate.observed if isinstance(literal, Atom) else isinstance(literal, Compare | Bind)
        for literal in direct(body)
    )


def _refuted(alternative: Body) -> bool:
    """More facts cannot make the alternative hold where it does not."""
    return all(
        _certain(literal.body) if isinstance(literal, Not) else isinstance(literal, Compare | Bind)
        for literal in alternative
    )


def _why_unrecorded(relation: str, coverage: Coverage) -> str:
    why = "; ".join(dict.fromkeys(gap.why for gap in coverage.gaps if gap.relation == relation and gap.why))
    return f"{relation} was not recorded" + (f": {why}" if why else "")


def _why_gap(gap: Gap) -> str:
    steps = (
        f"from step {gap.first_step} on"
        if gap.last_step == -1
        else f"at steps {gap.first_step} to {gap.last_step}"
    )
    some = f", except {len(gap.recorded):,} stretches of steps" if gap.recorded else ""
    rank = "" if gap.rank == -1 else f" on rank {gap.rank}"
    return f"{gap.relation} was not recorded {steps}{some}{rank}" + (f": {gap.why}" if gap.why else "")


@dataclass(frozen=True, slots=True)
class Counts:
    """Instances of a rule: all, violated ones, and how many of each lie in moments with gaps."""

    instances: int = 0
    violated: int = 0
    instances_in_gaps: int = 0
    violated_in_gaps: int = 0


def verdict(invariant: Invariant, found: Doubt, counts: Counts) -> RuleVerdict:
    """The verdict on a rule from its doubt and its counts."""
    if found.rule:
        return RuleVerdict(invariant.id, "unknown", reasons=found.rule)
    held = counts.instances - counts.violated
    doubtful_violated = doubtful_held = 0
    if not found.proved:
        doubtful_violated = counts.violated if found.every_violation else counts.violated_in_gaps
    if not invariant.monotone:
        doubtful_held = held if found.always else counts.instances_in_gaps - counts.violated_in_gaps
    unknown = doubtful_violated + doubtful_held
    violated, held = counts.violated - doubtful_violated, held - doubtful_held
    status: Status = "violated" if violated else "unknown" if unknown else "held" if held else "vacuous"
    reasons = (*found.always, *found.cut_off, *map(_why_gap, found.gaps)) if unknown else ()
    return RuleVerdict(
        invariant.id, status, violated, held, unknown, tuple(dict.fromkeys((*reasons, *found.notes)))
    )


def moment(invariant: Invariant, binding: Binding) -> tuple[int | None, int | None]:
    """Step and rank of an instance, None where the invariant does not tell."""
    step, rank = (
        int(binding[invariant.variables.index(variable)]) if variable is not None else None
        for variable in (invariant.step, invariant.rank)
    )
    return step, rank


def order(invariant: Invariant, binding: Binding) -> tuple[object, ...]:
    """Sorts violations: by step, then by values."""
    first = () if invariant.step is None else (order_key(binding[invariant.variables.index(invariant.step)]),)
    return (*first, *map(order_key, binding))


def judge(
    invariant: Invariant,
    coverage: Coverage,
    instances: Iterable[Instance],
    most: int = MOST_VIOLATIONS,
) -> tuple[RuleVerdict, tuple[Binding, ...]]:
    """The verdict and the violations from instances that are listed one by one, each with whether it holds."""
    found = doubt(invariant, coverage)
    if found.rule:
        return verdict(invariant, found, Counts()), ()
    total = violated = total_in_gaps = violated_in_gaps = 0
    violations: list[Binding] = []
    for instance in instances:
        in_gap = found.covers(*moment(invariant, instance.values))
        total += 1
        total_in_gaps += in_gap
        violated += not instance.held
        violated_in_gaps += in_gap and not instance.held
        if not (instance.held or found.every_violation or (in_gap and not found.proved)):
            violations.append(instance.values)
    counts = Counts(total, violated, total_in_gaps, violated_in_gaps)
    ordered = sorted(violations, key=lambda binding: order(invariant, binding))
    return verdict(invariant, found, counts), tuple(ordered[:most])
