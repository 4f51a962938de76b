"""Runs to statistics: runs that are not known yet are read in parallel, and what was counted is kept beside each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcrules.instrument.errors import RunError
from tcrules.instrument.runs import RunFolder, open_run
from tcrules.rules.infer.cache import CACHE, read_kept, recording
from tcrules.rules.infer.model import Dropped, InferError, Run
from tcrules.rules.infer.reading import Means, Reading, Tick, count, left_to_do, read_run
from tcrules.rules.infer.workers import WorkerLost, each

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.rules.infer.templates import TemplateSet

__all__ = ["CACHE", "Collected", "Interrupted", "Means", "Progress", "collect", "count"]

#: Called with the number of parts of the work that are done and of all.
Progress = Callable[[int, int], None]
#: Bytes that the database may use for all runs that are read at a time; what does not fit is spilled to disk. Twice as
#: much is not faster.
MEMORY = 500_000_000

_HERE = Means()


class Interrupted(KeyboardInterrupt):
    """Reading was interrupted; `done` of `total` runs are known, and kept where they can be."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"{done} of {total} runs are read")
        self.done = done
        self.total = total


@dataclass(frozen=True, slots=True)
class Collected:
    """What was read.

    Attributes:
        runs: in the order of their content and not of how they were given.
        dropped: templates that had too many bindings, of which nothing is learned.
        alarms: runs, each with the rules of the check of its health that it violates.
        copies: runs that are copies of others, each with that one.
    """

    runs: tuple[Run, ...]
    dropped: tuple[Dropped, ...] = ()
    alarms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    copies: tuple[tuple[str, str], ...] = ()


def collect(
    paths: Sequence[Path],
    templates: TemplateSet,
    progress: Progress | None = None,
    means: Means = _HERE,
    jobs: int = 1,
) -> Collected:
    """The statistics of runs. Runs that are unhealthy are left out, unless the means say otherwise.

    Args:
        paths: run folders.
        templates: what to count.
        progress: is told how far this is.
        means: how runs are read; threads and memory are divided among those that are read at a time.
        jobs: cores to use.

    Raises:
        RunError: runs cannot be read; all of those that cannot even be opened are named.
        StoreFault: the facts of a run do not fit the schema.
        Interrupted: by the user.
    """
    folders, copies = _different(_opened(paths))
    parts = [left_to_do(read_kept(folder), templates, means) for folder in folders]
    workers = max(1, min(jobs, sum(map(bool, parts))))
    means = replace(means, threads=max(1, jobs // workers), memory=(means.memory or MEMORY) // workers)
    done, found = 0, {}

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, sum(parts))

    def work(place: int, tell: Tick) -> Reading:
        return read_run(folders[place], templates, means, tell)

    # The longest first, so that none is left to a single worker in the end.
    order = sorted(range(len(folders)), key=lambda place: -parts[place] * _size(folders[place]))
    known = [place for place in order if not parts[place]]
    try:
        found = {place: work(place, tick) for place in known}
        for place, reading in each(work, [place for place in order if parts[place]], workers, tick):
            found[place] = reading
    except KeyboardInterrupt:
        raise Interrupted(len(found), len(folders)) from None
    except WorkerLost as lost:
        raise InferError(
            f"the process that read '{folders[lost.item].path}' was ended by the system"  # type: ignore[call-overload]
            f" (exit code {lost.code}), perhaps for want of memory",
            "try --jobs 1; what was read is kept",
        ) from lost
    return replace(_together(list(found.values()), means), copies=copies)


def _together(readings: Sequence[Reading], means: Means) -> Collected:
    alarms = [(reading.run.name, reading.alarms) for reading in readings if reading.alarms]
    runs = [reading.run for reading in readings if means.keep_unhealthy or not reading.alarms]
    dropped = {one for reading in readings for one in reading.dropped}
    # A template that is too wide in one run says nothing of the others either: they would be compared with nothing.
    wide = {one.rule for one in dropped}
    runs = [replace(run, counts={n: c for n, c in run.counts.items() if n not in wide}) for run in runs]
    return Collected(
        tuple(sorted(runs, key=lambda run: (run.project, run.name))),
        tuple(sorted(dropped, key=lambda one: (one.rule, one.reason))),
        tuple(sorted(alarms)),
    )


def _opened(paths: Sequence[Path]) -> list[RunFolder]:
    folders, faults = [], []
    for path in paths:
        try:
            folders.append(open_run(path))
        except RunError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise RunError(
            "; ".join(fault.message for fault in faults),
            "\n".join(dict.fromkeys(fault.help for fault in faults if fault.help)),
        )
    return folders


def _different(folders: Sequence[RunFolder]) -> tuple[list[RunFolder], tuple[tuple[str, str], ...]]:
    """Each recording once, and the folders that hold one of them again."""
    found: dict[str, RunFolder] = {}
    copies = []
    for folder in folders:
        first = found.setdefault(repr(recording(folder)), folder)
        if first is not folder:
            copies.append((str(folder.path), str(first.path)))
    return list(found.values()), tuple(copies)


def _size(folder: RunFolder) -> int:
    return 1 + sum(os.path.getsize(path) for path in folder.relations().values())
