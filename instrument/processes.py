"""Which of the traced processes count, and which rank each one has: pure functions over segments."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tcrules.instrument.segments import Segment

#: Missing ranks that are named.
MAX_MISSING = 20
#: Facts that a process may leave which only launched others.
_INCIDENTAL = frozenset({"instrument_gap", "seed", "call", "location", "config"})


@dataclass(frozen=True, slots=True)
class Process:
    """A traced process that counts. `ordinal` makes its call ids unique in the run."""

    segment: Segment
    ordinal: int
    rank: int
    role: str

    @property
    def ended(self) -> bool:
        """It closed its segment itself."""
        return self.segment.meta.get("status") == "finished"

    @property
    def world_size(self) -> int:
        size = self.segment.meta.get("world_size")
        return size if isinstance(size, int) else 1

    @property
    def distributed(self) -> bool:
        return self.segment.meta.get("distributed") is True


def works(recorded: Iterable[str]) -> bool:
    """Whether a process that left facts of these relations did more than launch others."""
    return not _INCIDENTAL.issuperset(recorded)


def arrange(
    segments: Sequence[Segment], working: Callable[[Segment], bool] = lambda segment: works(segment.recorded)
) -> tuple[tuple[Process, ...], tuple[str, ...]]:
    """Return the processes that count, in order of their start, and notes.

    A trainer has the rank that it reported; independent trainers that reported the same one get the next free
    ranks. A loader worker has the rank of its parent. A process that only launched others is left out.

    Args:
        segments: in order of their start.
        working: whether the process did more than launch others (by default, all that it recorded is read).
    """
    counted = [segment for segment in segments if working(segment)] or list(segments)[:1]
    trainers = [segment for segment in counted if segment.meta.get("role") != "worker"]
    wanted = [_reported_rank(segment) for segment in trainers]
    ranks: dict[str, int] = {}
    notes = []
    for segment, rank in zip(trainers, wanted, strict=True):
        if rank in ranks.values():
            free = next(
                n
                for n in range(len(wanted) + len(set(wanted)))
                if n not in ranks.values() and n not in wanted
            )
            notes.append(
                f"another process reported rank {rank} too; it is shown as rank {free} (pid {segment.pid})"
            )
            rank = free
        ranks[segment.folder.name] = rank
    processes = []
    for ordinal, segment in enumerate(counted):
        is_worker = segment.meta.get("role") == "worker"
        rank = _parent_rank(segment, trainers, ranks) if is_worker else ranks[segment.folder.name]
        processes.append(Process(segment, ordinal, rank, "worker" if is_worker else "trainer"))
    return tuple(processes), tuple(notes)


def _reported_rank(segment: Segment) -> int:
    rank = segment.meta.get("rank")
    return rank if isinstance(rank, int) and rank >= 0 else 0


def _parent_rank(worker: Segment, trainers: Sequence[Segment], ranks: dict[str, int]) -> int:
    parents = [s for s in trainers if s.pid == worker.meta.get("ppid")]
    # ids are used again, and a clock may be set back: the latest before it, else any
    before = [s for s in parents if s.started <= worker.started] or parents
    return ranks[before[-1].folder.name] if before else _reported_rank(worker)


def is_alive(pid: object, host: object) -> bool:
    """Whether a process may still run. Of another host that cannot be known: its files must be left alone."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    if host != platform.node():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # it belongs to somebody else
    return True


def is_recording(segments: Iterable[Segment], host: str = "") -> bool:
    """Whether a process may still write into its segment; `host` counts where a segment names none."""
    return any(
        segment.meta.get("status") == "running"
        and is_alive(segment.meta.get("pid"), segment.meta.get("host", host))
        for segment in segments
    )


def step_notes(processes: Sequence[Process]) -> list[str]:
    """Return notes on ranks that are missing or have another number of steps than the first."""
    trainers = sorted((p for p in processes if p.role == "trainer"), key=lambda process: process.rank)
    notes = []
    world = max((p.world_size for p in trainers if p.distributed), default=0)
    present = {p.rank for p in trainers}
    missing = (rank for rank in range(world) if rank not in present)
    notes += [f"rank {rank} of {world} is missing" for rank in islice(missing, MAX_MISSING)]
    counts = [(process.rank, len(process.segment.rows("step"))) for process in trainers]
    if world:
        first = counts[0]
        notes += [
            f"rank {rank} has {steps} steps, rank {first[0]} has {first[1]}"
            for rank, steps in counts[1:]
            if steps != first[1]
        ]
    return notes
