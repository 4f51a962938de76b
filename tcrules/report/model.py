"""What a report says, independent of how it is written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcrules.engine.verdict import RuleVerdict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOUD",
    "SEVERITIES",
    "Cause",
    "Caution",
    "Excuse",
    "GapNote",
    "Location",
    "Report",
    "RuleText",
    "RuleVerdict",
    "Suppressed",
    "Violation",
]

#: From loud to quiet; a report of only notes is clean.
SEVERITIES = ("error", "warning", "note")
LOUD = frozenset({"error", "warning"})


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the user's program."""

    file: str
    line: int

    def __str__(self) -> str:
        """As a reader wants it: relative to the current folder where the file lies below it."""
        near = os.path.relpath(self.file) if os.path.isabs(self.file) else self.file
        return f"{self.file if near.startswith('..') else near}:{self.line}"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a violation is taken for a root cause.

    `confidence` is high, medium (what follows is connected with it, but names other objects) or low: the `rivals`,
    rules that are violated too, would explain as much. `explains` is the number of rules that follow, `way` the
    relations through which it reaches the farthest of them.
    """

    confidence: str
    explains: int
    way: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule broken for one subject, over all steps and ranks on which that happened.

    `first_step` is None where the rule speaks about the run as a whole. `instance` is the position of the first
    breach among the breaches of its rule: explanations start from it.
    """

    id: str
    rule: str
    severity: str
    first_step: int | None
    last_step: int | None
    count: int
    ranks: tuple[int, ...]
    subjects: tuple[str, ...]
    message: str
    location: Location | None
    instance: int
    #: What the subjects are, as a word for readers: parameter, module, …
    noun: str = "subject"
    root: bool = False
    cluster: int = 0
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why violations of a rule are meant, and where somebody says so: in a rule file, or in the training script."""

    rule: str
    reason: str
    place: Location
    column: int = 1


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A violation that does not count."""

    violation: Violation
    excuse: Excuse


@dataclass(frozen=True, slots=True)
class Caution:
    """Something about the suppressions themselves that should be mended; it does not change the exit code."""

    code: str
    message: str
    place: Location


@dataclass(frozen=True, slots=True)
class GapNote:
    """Facts that the run lacks."""

    relation: str
    ranks: str
    steps: str
    why: str


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule says of itself: `summary` is its sentence, `sections` are why, example, false alarms, see."""

    severity: str
    tags: tuple[str, ...]
    summary: str
    sections: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of checking one run. Violations are ordered: roots first, then by cluster and step."""

    run: str
    violations: tuple[Violation, ...]
    verdicts: dict[str, RuleVerdict]
    notes: tuple[str, ...] = ()
    gaps: tuple[GapNote, ...] = ()
    steps: int = 0
    processes: int = 1
    suppressed: tuple[Suppressed, ...] = ()
    cautions: tuple[Caution, ...] = ()
    rules: Mapping[str, RuleText] = field(default_factory=dict)

    def status(self, rule: str) -> str:
        """The verdict on a rule, or "suppressed" where it is violated and all of its violations are meant."""
        meant = any(item.violation.rule == rule for item in self.suppressed)
        if meant and all(violation.rule != rule for violation in self.violations):
            return "suppressed"
        return self.verdicts[rule].status

    def summary(self) -> dict[str, int]:
        """Rules by status."""
        counts = {"violated": 0, "suppressed": 0, "held": 0, "vacuous": 0, "unknown": 0}
        for rule in self.verdicts:
            counts[self.status(rule)] += 1
        return counts

    @property
    def evaluated(self) -> bool:
        """Some rule could be decided: silence of such a report means something."""
        return any(verdict.status in ("violated", "held") for verdict in self.verdicts.values())

    @property
    def exit_code(self) -> int:
        """0 nothing loud, 1 a violation of severity error or warning, 2 nothing was evaluated."""
        if any(violation.severity in LOUD for violation in self.violations):
            return 1
        return 0 if self.evaluated else 2
