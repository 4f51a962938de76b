"""What learning asks of a rule: every threshold with its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Stages that can be left out, to measure what each is worth.
STAGES = (
    "guards",
    "generalisation",
    "falsifiability",
    "chance",
    "redundancy",
    "hold-out",
    "mutation",
    "budget",
)


_Number = TypeVar("_Number", int, float)


def _threshold(default: _Number, doc: str, *, least: float | None = None, most: float = inf) -> _Number:
    """A field with its meaning and limits; by default numbers begin at 1 and shares at 0."""
    lowest = least if least is not None else 1 if isinstance(default, int) else 0.0
    return field(default=default, metadata={"doc": doc, "least": lowest, "most": most})


@dataclass(frozen=True, slots=True)
class Options:
    """Thresholds of learning; the `doc` of each field says what it bounds. `without` names stages that are left out.

    Raises:
        ValueError: a threshold is out of range, or a stage is unknown.
    """

    least_runs: int = _threshold(2, "Runs (or programs) that must trigger a rule.")
    least_triggers: int = _threshold(3, "Instances in a run below which its holding there says little.")
    largest_choice: int = _threshold(3, "Values of one expectation that may be joined by `or`.")
    longest_guard: int = _threshold(3, "Conditions that one guard may join by `and`.")
    most_disjuncts: int = _threshold(3, "Guards of one candidate; each gives a rule of its own.")
    most_guard_values: int = _threshold(12, "Values of a guard variable above which it names things.")
    range_room: int = _threshold(3, "Room beside the smallest and largest number seen, in quarters of e.")
    widest_range: int = _threshold(64, "Quarters of e from limit to limit beyond which a range says nothing.")
    chance: float = _threshold(1e-3, "Probability to hold by chance above which a rule is dropped.", most=1)
    most_left_out: int = _threshold(10, "Times that learning is repeated without some of the runs.", least=2)
    prior_risk: float = _threshold(
        1e-3, "Share of rules taken to fail on another healthy run before any was tried.", most=1
    )
    prior_weight: float = _threshold(10.0, "Tried rules that this assumption is worth.", least=0.1)
    highest_risk: float = _threshold(
        0.1, "Estimated share of a family's rules that may fail on another healthy run.", most=1
    )
    mutations: int = _threshold(40, "Faults that all rules are tried on; those that find none get more.")
    mutation_facts: int = _threshold(
        20_000, "Facts of a healthy run, from its first steps, that faults are injected into."
    )
    seed: int = _threshold(0, "Chooses the faults.", least=0)
    alarm_budget: float = _threshold(0.1, "Expected false alarms of all rules together on one healthy run.")
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for one in thresholds():
            given = getattr(self, one.name)
            if not one.least <= given <= one.most:
                raise ValueError(f"{one.name} is {given}, but must be from {one.least} to {one.most}")
        unknown = sorted(self.without.difference(STAGES))
        if unknown:
            raise ValueError(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")

    def runs(self, stage: str) -> bool:
        """Whether a stage takes part."""
        return stage not in self.without


class Threshold(NamedTuple):
    """A field of `Options` for those who offer it: its name, kind, default, limits and meaning."""

    name: str
    kind: type[int] | type[float]
    default: float
    least: float
    most: float
    doc: str

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"


def thresholds() -> Iterator[Threshold]:
    """All thresholds, in the order of the stages that they belong to."""
    for one in fields(Options):
        if one.metadata:
            default: float = one.default  # type: ignore[assignment]
            limits = one.metadata["least"], one.metadata["most"]
            yield Threshold(one.name, type(default), default, *limits, one.metadata["doc"])


DEFAULTS = Options()
