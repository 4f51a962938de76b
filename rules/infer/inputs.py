"""What is wrong with the runs that learning is given, and what makes its result doubtful: what, where, how to mend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import InferError, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tcrules.rules.infer.collect import Collected

TYPICAL_RUNS = 3
#: Names of settings that tell what varies, in the order of the message.
ASPECTS: Mapping[str, re.Pattern[str]] = {
    "seed": re.compile("seed"),
    "size": re.compile(r"batch|hidden|width|dim|size|depth|layer|head|embed|channel|d_model|seq_?len"),
    "schedule": re.compile(r"step|epoch|iter|sched|warm|decay|(^|[._-])lr|learning.?rate|momentum|accum"),
}
#: Settings of an aspect that a message shows.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Given:
    """Run folders, each once, and what is to be said of those that were given."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


def distinct(runs: Iterable[Path]) -> Given:
    """The folders that were given, each once.

    Raises:
        InferError: there are none.
    """
    found: dict[Path, Path] = {}
    repeated = [str(run) for run in map(Path, runs) if found.setdefault(run.resolve(), run) is not run]
    if not found:
        raise InferError("no runs to learn from", "record some: tcrules record -o runs/a -- python train.py")
    warnings = [f"the run {name} is given more than once: it counts once" for name in dict.fromkeys(repeated)]
    return Given(tuple(found.values()), tuple(warnings))


def require_training(found: Collected) -> None:
    """Make sure that there are runs, and that all of them train.

    Raises:
        InferError: there is nothing to learn from.
    """
    if not found.runs:
        raise InferError(
            f"none of the runs is healthy: {_alarms(found)}",
            "`tcrules check RUN` shows the violations; where they are meant, suppress them or give --keep-unhealthy",
        )
    idle = [run.name for run in found.runs if not run.trains]
    if idle:
        raise InferError(
            f"{'these runs do' if len(idle) > 1 else 'this run does'} not train: {', '.join(idle)} "
            "(no step of an optimizer was recorded)",
            "leave such runs out, or record more steps",
        )


def doubts(found: Collected, *, kept_unhealthy: bool) -> list[str]:
    """What makes rules that are learned from these runs doubtful, one sentence each."""
    runs = found.runs
    warnings = [f"the run {name} is a copy of {first}: it counts once" for name, first in found.copies]
    then = "it is learned from all the same" if kept_unhealthy else "it is left out (see --keep-unhealthy)"
    warnings += [
        f"{name} is not healthy: it violates {', '.join(rules)}; {then}" for name, rules in found.alarms
    ]
    if len(runs) < TYPICAL_RUNS:
        warnings.append(
            f"{len(runs)} run{'s' * (len(runs) > 1)} to learn from: with fewer than {TYPICAL_RUNS}, "
            "learned rules may state accidents"
        )
    warnings += _unvaried(runs)
    programs = _groups(runs, lambda run: run.project)
    if len(programs) > 1:
        warnings.append(
            f"runs of {len(programs)} programs: rules name nothing of one program ({'; '.join(programs)})"
        )
    for what, of in _VERSIONS.items():
        versions = _groups(runs, of)
        if len(versions) > 1:
            told = "; ".join(f"{version}: {_listed(names)}" for version, names in versions.items())
            warnings.append(f"the runs have different versions of {what} ({told}): {_MEANING[what]}")
    return warnings + [
        f"{run.name} did not come to its end: of its last step only what is sure counts"
        for run in runs
        if not run.complete
    ]


_VERSIONS: Mapping[str, Callable[[Run], str]] = {
    "torch": lambda run: run.torch,
    "facts": lambda run: str(run.schema),
}
_MEANING = {
    "torch": "record them with one version, or rules may miss what is special to it",
    "facts": "what an earlier version did not record is learned from the other runs only",
}


def _unvaried(runs: Sequence[Run]) -> list[str]:
    """A warning of what is the same in all runs of a program."""
    if len(runs) < 2 or len({run.project for run in runs}) > 1:
        return []
    if not any(run.settings for run in runs):
        same = len({run.command for run in runs}) == 1
        return [_WARNING.format(what="they have one command, and nothing tells a setting")] if same else []
    constant = {}
    for aspect, pattern in ASPECTS.items():
        names = sorted({name for run in runs for name in run.settings if pattern.search(name.lower())})
        values = {name: {run.settings.get(name, "") for run in runs} for name in names}
        if names and all(len(seen) == 1 for seen in values.values()):
            constant[aspect] = [f"{name} {values[name].copy().pop()}" for name in names]
    if not constant:
        return []
    told = [f"{aspect} ({_listed(settings)})" for aspect, settings in constant.items()]
    return [_WARNING.format(what=f"they agree in {' and in '.join(told)}")]


_WARNING = "the runs do not vary enough: {what}. Learned rules may state accidents"


def _groups(runs: Iterable[Run], of: Callable[[Run], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(of(run) or "unknown", []).append(run.name)
    return dict(sorted(groups.items()))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _alarms(found: Collected) -> str:
    return "; ".join(f"{name} violates {', '.join(rules)}" for name, rules in found.alarms)
