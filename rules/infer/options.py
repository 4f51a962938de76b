"""What learning asks of a rule: every threshold with its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple

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


@dataclass(frozen=True, slots=True)
class Options:
    """Thresholds of learning; the `doc` of each field says what it bounds. `without` names stages that are left out.

    Raises:
        ValueError: a threshold is out of range, or a stage is unknown.
    """

    least_runs: int = field(default=2, metadata={"doc": "Runs (or programs) that must trigger a rule."})
    least_triggers: int = field(
        default=3, metadata={"doc": "Instances in a run below which its holding there says little."}
    )
    largest_choice: int = field(
        default=3, metadata={"doc": "Values of one expectation that may be joined by `or`."}
    )
    longest_guard: int = field(default=3, metadata={"doc": "Conditions that one guard may join by `and`."})
    most_disjuncts: int = field(
        default=3, metadata={"doc": "Guards of one candidate; each gives a rule of its own."}
    )
    most_guard_values: int = field(
        default=12, metadata={"doc": "Values of a guard variable above which it names things, not classes."}
    )
    chance: float = field(
        default=1e-3, metadata={"doc": "Probability to hold by chance above which a rule is dropped."}
    )
    most_left_out: int = field(
        default=10, metadata={"doc": "Times that learning is repeated without some of the runs."}
    )
    prior_risk: float = field(
        default=1e-3,
        metadata={"doc": "Share of rules taken to fail on another healthy run before any was tried."},
    )
    prior_weight: float = field(default=10.0, metadata={"doc": "Tried rules that this assumption is worth."})
    highest_risk: float = field(
        default=0.1,
        metadata={"doc": "Estimated share of a family's rules that may fail on another healthy run."},
    )
    alarm_budget: float = field(
        default=0.1, metadata={"doc": "Expected false alarms of all rules together on one healthy run."}
    )
    range_room: int = field(
        default=3, metadata={"doc": "Room beside the smallest and largest number seen, in quarters of e."}
    )
    widest_range: int = field(
        default=64, metadata={"doc": "Quarters of e from limit to limit beyond which a range says nothing."}
    )
    without: frozenset[str] = field(default=frozenset(), metadata={"doc": "Stages that are left out."})

    def __post_init__(self) -> None:
        for one in thresholds():
            given = getattr(self, one.name)
            if not given >= one.least:
                raise ValueError(f"{one.name} is {given}, but must be {one.least} or more")
        unknown = sorted(self.without.difference(STAGES))
        if unknown:
            raise ValueError(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")

    def runs(self, stage: str) -> bool:
        """Whether a stage takes part."""
        return stage not in self.without


class Threshold(NamedTuple):
    """A field of `Options` for those who offer it: its name, kind, default, smallest value and meaning."""

    name: str
    kind: type[int] | type[float]
    default: float
    least: float
    doc: str

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"


def thresholds() -> Iterator[Threshold]:
    """All thresholds, in the order of the stages that they belong to."""
    for one in fields(Options):
        if isinstance(one.default, int | float):
            least = one.metadata.get("least", 1 if isinstance(one.default, int) else 0.0)
            yield Threshold(one.name, type(one.default), one.default, least, one.metadata["doc"])


DEFAULTS = Options()
