"""Three-valued verdicts: what may be said of a rule's instances, given what was recorded.

An instance is a binding of an invariant's variables that its body yields. Executors find the instances
and whether the expectation holds; everything about doubt is decided here, for all executors alike.

- A relation that the body reads was not recorded: the rule is unknown.
- Facts that could have saved a violated instance may be missing: the instance is unknown, not violated.
- Facts that could have broken what an instance expects may be missing (`expect not …`): it is unknown, not held.
- The run was cut off: what an expectation still waited for is unknown.
- What missing facts cannot change is said: `expect not batch(…)` is violated by one that is there, `expect batch(…)`
  holds by it, also where something that is missing would have made the binding no instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from tcrules.engine.gaps import Hole, holes
from tcrules.engine.values import order_key
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.facts import Coverage, Gap
    from tcrules.engine.ir import Invariant, Value
    from tcrules.engine.naive import Instance

#: Values of an invariant's variables, in their order.
Binding: TypeAlias = "tuple[Value, ...]"
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

    `rule`: reasons for which its body cannot be evaluated at all. `violated`, `held`: reasons that make every
    instance unknown that is violated, or held. `gaps`: those that make instances of some moments unknown: violated
    ones by the holes `saving`, held ones by `spoiling`. `notes`: worth saying, but no instance depends on it.
    """

    rule: tuple[str, ...] = ()
    violated: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    saving: tuple[Hole, ...] = ()
    spoiling: tuple[Hole, ...] = ()
    notes: tuple[str, ...] = ()

    def covers(self, step: int | None, rank: int | None, *, held: bool) -> bool:
        """Whether what is missing could have changed an instance of that moment; None: the invariant does not tell."""
        if self.held if held else self.violated:
            return True
        return any(hole.covers(step, rank) for hole in (self.spoiling if held else self.saving))


def doubt(invariant: Invariant, coverage: Coverage) -> Doubt:
    """What of the invariant cannot be decided, given what was recorded."""
    saving = [gap for gap in coverage.gaps if gap.relation in invariant.saves]
    spoiling = [gap for gap in coverage.gaps if gap.relation in invariant.spoils]
    cut_off: tuple[str, ...] = ()
    if invariant.window.kind == "run" and invariant.saves and not coverage.complete:
        because = (
            f" ({invariant.window.because} is decided only at its end)" if invariant.window.because else ""
        )
        cut_off = (f"the run was cut off before its end{because}",)
    return Doubt(
        rule=_why_unrecorded(invariant.needs, coverage),
        violated=(*_why_unrecorded(invariant.saves, coverage), *cut_off),
        held=_why_unrecorded(invariant.spoils, coverage),
        gaps=tuple(dict.fromkeys((*saving, *spoiling))),
        saving=holes(saving, invariant.reach),
        spoiling=holes(spoiling, invariant.reach),
        notes=tuple(_why_gap(gap) for gap in coverage.gaps if gap.relation in invariant.needs),
    )


def _why_unrecorded(relations: frozenset[str], coverage: Coverage) -> tuple[str, ...]:
    """Of each of these relations that was not recorded, that it was not, and why."""
    reasons = []
    for name in sorted(relations - coverage.recorded):
        why = "; ".join(dict.fromkeys(gap.why for gap in coverage.gaps if gap.relation == name and gap.why))
        reasons.append(f"{name} was not recorded" + (f": {why}" if why else ""))
    return tuple(reasons)


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
    """Instances of a rule: all, violated ones; and held and violated ones of moments at which gaps matter to such."""

    instances: int = 0
    violated: int = 0
    held_in_gaps: int = 0
    violated_in_gaps: int = 0


def verdict(invariant: Invariant, found: Doubt, counts: Counts) -> RuleVerdict:
    """The verdict on a rule from its doubt and its counts."""
    if found.rule:
        return RuleVerdict(invariant.id, "unknown", reasons=found.rule)
    held, violated = counts.instances - counts.violated, counts.violated
    doubtful_held = held if found.held else counts.held_in_gaps
    doubtful_violated = violated if found.violated else counts.violated_in_gaps
    unknown = doubtful_violated + doubtful_held
    violated, held = violated - doubtful_violated, held - doubtful_held
    status: Status = "violated" if violated else "unknown" if unknown else "held" if held else "vacuous"
    reasons = (*found.violated, *found.held, *map(_why_gap, found.gaps)) if unknown else ()
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
    total = held_in_gaps = violated_in_gaps = 0
    violated = 0
    violations: list[Binding] = []
    for instance in instances:
        doubtful = found.covers(*moment(invariant, instance.values), held=instance.held)
        total += 1
        if instance.held:
            held_in_gaps += doubtful
            continue
        violated += 1
        violated_in_gaps += doubtful
        if not doubtful:
            violations.append(instance.values)
    counts = Counts(total, violated, held_in_gaps, violated_in_gaps)
    ordered = sorted(violations, key=lambda binding: order(invariant, binding))
    return verdict(invariant, found, counts), tuple(ordered[:most])
