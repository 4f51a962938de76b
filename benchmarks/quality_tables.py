"""What `quality.py` found, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING

from quality_runs import Alarm, Trial

if TYPE_CHECKING:
    from suite import Program

#: Whether an alarm's rule counts.
Source = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Alarms of each run by mode of learning; `rules` counts those learned for (program, mode)."""

    programs: tuple[Program, ...]
    library: frozenset[str]
    modes: Mapping[str, Mapping[Trial, tuple[Alarm, ...]]]
    rules: Mapping[tuple[str, str], int]

    def healthy(self, mode: str) -> list[Trial]:
        return [trial for trial in self.modes[mode] if trial.fault is None]

    def faulty(self, mode: str) -> list[Trial]:
        return [trial for trial in self.modes[mode] if trial.fault is not None]

    def alarms(self, mode: str, trial: Trial, source: Source) -> list[Alarm]:
        return [alarm for alarm in self.modes[mode][trial] if source(alarm.rule)]

    def new(self, mode: str, trial: Trial, source: Source) -> list[Alarm]:
        """What is found in a faulty run and not in its twin."""
        twin = Trial(trial.program, trial.flags)
        known = {alarm.rule for alarm in self.modes[mode][twin]}
        return [alarm for alarm in self.alarms(mode, trial, source) if alarm.rule not in known]

    def sources(self) -> dict[str, Source]:
        return {
            "library": lambda rule: rule in self.library,
            "learned": lambda rule: rule not in self.library,
            "both": lambda _: True,
        }

    def as_json(self) -> dict[str, object]:
        both = self.sources()["both"]
        return {
            "rules": {f"{program}: {mode}": count for (program, mode), count in self.rules.items()},
            "runs": [
                {
                    "mode": mode,
                    "program": trial.program.name,
                    "flags": trial.flags,
                    "fault": trial.fault and trial.fault.id,
                    "kind": trial.fault and trial.fault.kind,
                    "first": trial.fault and trial.fault.first,
                    "detected": bool(trial.fault and self.new(mode, trial, both)),
                    "alarms": [asdict(alarm) for alarm in alarms],
                }
                for mode, runs in self.modes.items()
                for trial, alarms in runs.items()
            ],
        }


def wilson(hits: int, total: int) -> str:
    """A share with its 95 % interval.

    >>> wilson(9, 10)
    '9/10 = 90 % [60, 98]'
    """
    if not total:
        return "–"
    z, share = 1.96, hits / total
    wide = 1 + z * z / total
    middle, half = share + z * z / (2 * total), z * sqrt((share * (1 - share) + z * z / (4 * total)) / total)
    low, high = (max(0.0, 100 * (middle + sign * half) / wide) for sign in (-1, 1))
    return f"{hits}/{total} = {100 * share:.0f} % [{low:.0f}, {high:.0f}]"


def report(outcome: Outcome) -> Iterator[str]:
    """All tables, line by line."""
    full = next(iter(outcome.modes))
    yield from _groups(outcome, full, "program", lambda trial: trial.program.name)
    yield from _groups(outcome, full, "kind", lambda trial: trial.fault.kind if trial.fault else "")
    yield from _totals(outcome, full)
    yield from _ablation(outcome)
    yield from _details(outcome, full)


def _groups(outcome: Outcome, mode: str, title: str, key: Callable[[Trial], str]) -> Iterator[str]:
    """Faults, and those detected by each source; healthy runs where the group has some."""
    sources = outcome.sources()
    groups = [key(trial) for trial in outcome.healthy(mode)]
    head = ["faults", *sources, "prompt", *(["healthy", "clusters"] if any(groups) else [])]
    yield "\n" + f"{title:16}" + "".join(f"{word:>9}" for word in head)
    for name in sorted({key(trial) for trial in outcome.faulty(mode)}):
        faulty = [trial for trial in outcome.faulty(mode) if key(trial) == name]
        healthy = [trial for trial in outcome.healthy(mode) if key(trial) == name]
        cells = [len(faulty), *(_detected(outcome, mode, faulty, source) for source in sources.values())]
        cells += [
            _prompt(outcome, mode, faulty),
            len(healthy),
            _clusters(outcome, mode, healthy, sources["both"]),
        ]
        yield f"{name:16}" + "".join(f"{cell:>9}" for cell in (cells if healthy else cells[:-2]))


def _totals(outcome: Outcome, mode: str) -> Iterator[str]:
    faulty, healthy = outcome.faulty(mode), outcome.healthy(mode)
    yield "\n" + f"{'rules':10}{'detected':28}{'healthy runs alarmed':28}clusters per healthy run"
    for name, source in outcome.sources().items():
        yield f"{name:10}" + _line(outcome, mode, source)
    both = outcome.sources()["both"]
    hits = _detected(outcome, mode, faulty, both)
    yield f"within one step: {wilson(_prompt(outcome, mode, faulty), hits)} of what is detected"
    yield f"{len(outcome.programs)} programs, {len(faulty)} faults, {len(healthy)} healthy runs"


def _ablation(outcome: Outcome) -> Iterator[str]:
    yield (
        "\n"
        + f"{'learned':24}{'rules':>7}  {'detected':28}{'healthy runs alarmed':28}clusters per healthy run"
    )
    both = outcome.sources()["both"]
    for mode in outcome.modes:
        rules = sum(count for (_, learned), count in outcome.rules.items() if learned == mode)
        yield f"{mode:24}{rules:>7}  " + _line(outcome, mode, both)


def _line(outcome: Outcome, mode: str, source: Source) -> str:
    faulty, healthy = outcome.faulty(mode), outcome.healthy(mode)
    hits = _detected(outcome, mode, faulty, source)
    alarmed = sum(bool(outcome.alarms(mode, trial, source)) for trial in healthy)
    clusters = _clusters(outcome, mode, healthy, source)
    rate = f"{clusters / len(healthy):.2f} ({clusters})"
    return f"{wilson(hits, len(faulty)):28}{wilson(alarmed, len(healthy)):28}{rate}"


def _details(outcome: Outcome, mode: str) -> Iterator[str]:
    both = outcome.sources()["both"]
    yield "\nmissed"
    for trial in outcome.faulty(mode):
        if trial.fault and not outcome.new(mode, trial, both):
            yield f"  {trial.name} ({trial.fault.kind}): {trial.fault.what}"
    yield "\nfalse alarms"
    for name in outcome.modes:
        if name in (mode, "other programs"):
            for trial in outcome.healthy(name):
                for alarm in outcome.alarms(name, trial, both):
                    yield f"  {name}: {trial.name}: {alarm.rule}: {alarm.message}"


def _detected(outcome: Outcome, mode: str, faulty: Sequence[Trial], source: Source) -> int:
    return sum(bool(outcome.new(mode, trial, source)) for trial in faulty)


def _prompt(outcome: Outcome, mode: str, faulty: Sequence[Trial]) -> int:
    """Faults found at most one step after they can be seen."""
    both, prompt = outcome.sources()["both"], 0
    for trial in faulty:
        steps = [alarm.step for alarm in outcome.new(mode, trial, both) if alarm.step is not None]
        prompt += bool(steps and trial.fault and min(steps) <= trial.fault.first + 1)
    return prompt


def _clusters(outcome: Outcome, mode: str, healthy: Sequence[Trial], source: Source) -> int:
    return sum(len({alarm.cluster for alarm in outcome.alarms(mode, trial, source)}) for trial in healthy)
