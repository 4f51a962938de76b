"""What can be said only when a trace was read to its end: ranks, steps, gaps, and what the run covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.importing.traincheck import events
from tcrules.importing.traincheck.relations import NAMES, OF_STATES, OF_USES, OF_VALUES
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import Manifest, new_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tcrules.importing.tally import Tally
    from tcrules.importing.target import NewRun
    from tcrules.importing.traincheck.header import Header
    from tcrules.importing.traincheck.process import Process

NOT_COLLECTED = "the trace was collected without it"
SELECTED = "only functions that certain invariants need were traced"
COMPILED = "calls inside of compiled code were not traced"


def summarise(
    folder: Path,
    header: Header,
    processes: Sequence[Process],
    target: NewRun,
    tally: Tally,
    files: Sequence[Path],
) -> Manifest:
    """Write the facts about processes, steps and gaps; return the description of the run.

    Raises:
        RunError: there is nothing in the trace.
    """
    if not processes:
        why = "; ".join(tally.notes()) or "its files are empty"
        raise RunError(f"'{folder}' holds no trace that can be read: {why}", "collect the trace again")
    ranks, notes = _ranks(processes)
    covers = {process.ordinal: _covers(process, header) for process in processes}
    own = {process.ordinal: _own(process) for process in processes}
    for process in processes:
        rank = process.ordinal
        world = process.world or 1
        target.add("process", rank, process.pid, "trainer", world, process.world is not None)
        for step, span in sorted(process.finished_steps().items()):
            target.add("step", rank, step, span.begin, span.end)
        for relation, first, last, why in process.gap_facts():
            target.add("instrument_gap", rank, relation, first, last, why)
        for first, last in process.recorded_steps():
            target.add("recorded_steps", rank, first, last, "*")
    target.renumber_ranks(ranks)
    ended = not any(process.open_calls for process in processes)
    if not ended:
        notes.append("the trace ends inside of calls: the run was cut off, or lines are lost")
    if header.interval > 1:
        notes.append(
            f"the trace was sampled: every {header.interval}th step after the first {header.warm_up}"
        )
    described = sorted(
        (_describe(p, ranks[p.ordinal], covers[p.ordinal], own[p.ordinal]) for p in processes),
        key=lambda d: d["rank"],
    )
    return _manifest(folder, header, processes, files).with_(
        status="finished" if ended else "killed",
        processes=tuple(described),
        notes=(f"imported from a trace of TrainCheck, '{folder.resolve().name}'", *notes, *tally.notes()),
    )


def _covers(process: Process, header: Header) -> list[str]:
    """Relations that the trace of a process holds in full; notes why others are not."""
    if header.selective:
        process.unsure.setdefault("call", SELECTED)
    if header.compiled:
        process.unsure.setdefault("call", COMPILED)
    if not process.called:
        return []
    covered = [name for name, needed in events.COVERED.items() if _traced(process, needed)]
    if "location" in process.seen:
        covered.append("location")
    return ["call", "step", "recorded_steps", *(name for name in covered if name not in process.unsure)]


def _own(process: Process) -> list[str]:
    """Relations beyond the schema that the trace of a process has; notes why others are missing."""
    missing: list[str] = []
    if not process.states:
        missing += OF_STATES
    if not process.seen.issuperset(OF_USES):
        missing += OF_USES
    if not process.called:
        missing += ("traincheck_call", "traincheck_unpaired", *OF_VALUES)
    for relation in missing:
        process.unsure[relation] = NOT_COLLECTED
    return [name for name in NAMES if name not in missing]


def _traced(process: Process, needed: Sequence[str]) -> bool:
    """Whether calls of the functions would be in the trace: its log says so, or there are some."""
    if process.functions is not None:
        return process.functions.issuperset(needed)
    return any(function in process.seen for function in needed)


def _ranks(processes: Sequence[Process]) -> tuple[dict[int, int], list[str]]:
    """Rank by ordinal: what the processes asked for, else their order."""
    asked = [process.rank for process in processes]
    if None not in asked and len(set(asked)) == len(asked):
        return {p.ordinal: int(p.rank or 0) for p in processes}, []
    order = sorted(processes, key=lambda process: process.pid)
    ranks = {process.ordinal: rank for rank, process in enumerate(order)}
    if len(processes) == 1:
        return ranks, []
    return ranks, ["ranks are not in the trace; processes are numbered in the order of their ids"]


def _describe(process: Process, rank: int, covers: list[str], own: list[str]) -> dict[str, Any]:
    return {
        "pid": process.pid, "rank": rank, "role": "trainer", "ended": not process.open_calls,
        "world_size": process.world or 1, "covers": covers, "user": own,
    }  # fmt: skip


def _manifest(folder: Path, header: Header, processes: Sequence[Process], files: Sequence[Path]) -> Manifest:
    """When the run was: files tell the end; events count from the start of the machine and tell only the length."""
    ended = max(path.stat().st_mtime for path in files)
    spans = [span for process in processes for span in process.spans.values()]
    length = (max(span.end for span in spans) - min(span.begin for span in spans)) / 1e9
    command = ["python", header.script] if header.script else ["traincheck-collect", folder.resolve().name]
    return new_manifest(command).with_(
        started=ended - length, ended=ended, host="", pid=0, python=header.python.removeprefix("Python "),
        torch=header.torch,
    )  # fmt: skip
