"""From a trace folder to a run folder, one line at a time."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any

from tcrules.importing.lines import Record, read_records
from tcrules.importing.tally import Tally
from tcrules.importing.target import NewRun
from tcrules.importing.traincheck import calls, details, events
from tcrules.importing.traincheck.calls import Call, Thread
from tcrules.importing.traincheck.functions import public_name
from tcrules.importing.traincheck.header import read_header, traced_functions
from tcrules.importing.traincheck.process import Process
from tcrules.importing.traincheck.relations import OF_VALUES, RELATIONS, types
from tcrules.importing.traincheck.summary import summarise
from tcrules.instrument.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tcrules.instrument.manifest import Manifest

API, VARIABLES, PROXY = "trace_API_", "trace_VAR_", "proxy_log.json"
STATE = "state_change"
#: Beyond this many bytes of trace, facts are kept in a file while they are collected.
IN_MEMORY = 200 << 20
_PID = re.compile(r"trace_(?:API|VAR)_(\d+)_")


def find_trace(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of a trace: those with calls, and those with states of variables.

    Raises:
        RunError: there are none.
    """
    if not folder.is_dir():
        state = "is a file, but a trace is a folder" if folder.exists() else "does not exist"
        raise RunError(f"'{folder}' {state}", "give the folder that traincheck-collect wrote")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    with_calls = [path for path in files if path.name.startswith(API)]
    with_states = [path for path in files if path.name.startswith(VARIABLES) or path.name == PROXY]
    if not with_calls and not with_states:
        below = sorted({path.parent.name for path in folder.glob(f"*/{API}*")})
        mend = (
            f"there are traces in {', '.join(below)}"
            if below
            else "give the folder that traincheck-collect wrote"
        )
        raise RunError(f"'{folder}' holds no trace: no {API}*, {VARIABLES}* or {PROXY}", mend)
    return with_calls, with_states


def import_trace(
    folder: Path, run: Path, *, overwrite: bool = False, advance: Callable[[int], None] = lambda _bytes: None
) -> Manifest:
    """Turn a trace into a run; about 80 CPU s per GB, in 0.5 GB of memory whatever its length.

    Args:
        folder: what `traincheck-collect` wrote.
        run: the folder to create.
        overwrite: replace a run that is there.
        advance: called with the number of bytes that were read since the last call.

    Raises:
        RunError: no trace, nothing in it, or `run` is taken.
    """
    with_calls, with_states = find_trace(folder)
    size = sum(path.stat().st_size for path in (*with_calls, *with_states))
    with NewRun(run, overwrite=overwrite, in_memory=size <= IN_MEMORY) as target:
        trace = _Trace(folder, target)
        for path in with_calls:
            trace.read(path, advance)
        for path in with_states:
            trace.read(path, advance)
        manifest = trace.finish([*with_calls, *with_states])
        target.finish(manifest)
    return manifest


class _Trace:
    """A trace that is being read."""

    def __init__(self, folder: Path, target: NewRun) -> None:
        self.folder = folder
        self.target = target
        self.tally = Tally()
        self.header = read_header(folder)
        self.processes: dict[int, Process] = {}
        self.threads: dict[tuple[int, int], Thread] = {}
        self.next_call = count(1).__next__
        for relation in RELATIONS:
            target.declare(relation.name, types(relation))

    def read(self, path: Path, advance: Callable[[int], None]) -> None:
        """Read a file."""
        for record in read_records(path, self.tally, advance):
            kind = record.content.get("type")
            if kind == STATE:
                self._state(record)
            elif kind in calls.KINDS:
                self._call(record, str(kind))
            else:
                self.tally.add(f"lines of an unknown type ({str(kind)[:40]}), left out", record.place)

    # ------------------------------------------------------------------ calls
    def _call(self, record: Record, kind: str) -> None:
        content = record.content
        key = content.get("func_call_id", content.get("uuid"))
        function, pid, thread_id = (
            content.get("function"),
            content.get("process_id"),
            content.get("thread_id"),
        )
        at = _nanoseconds(content.get("time"))
        if key is None or not isinstance(function, str) or at is None or pid is None or thread_id is None:
            self.tally.add("records without function, id, process, thread or time, left out", record.place)
            return
        process = self._process(pid)
        thread = self._thread(process, thread_id)
        key = str(key)
        if thread.repeated(key, kind, record.place):
            return
        thread.last = max(thread.last, at)
        if kind == calls.PRE:
            self._begin(process, thread, content, key, function, at)
        elif not thread.pop(key, at, content, record.place):
            self.tally.add(calls.NO_BEGIN, record.place)
            call = self._begin(process, thread, content, key, function, at)
            call.known["missing"] = "begin"
            thread.pop(key, at, content, record.place)

    def _begin(
        self, process: Process, thread: Thread, content: dict[str, Any], key: str, function: str, at: int
    ) -> Call:
        parent = thread.stack[-1] if thread.stack else None
        api = public_name(function)
        call = Call(key, self.next_call(), function, api, "", parent.call if parent else 0, 0, "", at)
        kind, identity = details.class_of(content), content.get("obj_id")
        if kind and isinstance(identity, int):
            made = function.endswith(".__init__") and (parent is None or parent.known.get("self") != identity)
            call.object = process.name(identity, kind, made)
            call.known |= {"self": identity if function.endswith(".__init__") else None, "class": kind}
            if made and function.startswith("torch.optim."):
                process.born[call.object] = at
        elif isinstance(identity, int):  # the end of a call whose beginning is lost does not tell the class
            call.object = process.known_name(identity)
        process.called += 1
        events.begin(process, call, content)
        call.step, call.stage = process.moment(content, at)
        details.begin(process, call, content)
        thread.push(call)
        return call

    def _ended(
        self,
        process: Process,
        thread_id: int,
        call: Call,
        at: int,
        record: dict[str, Any] | None,
        parent: Call | None,
    ) -> None:
        """Write a call that has ended."""
        raised = record is not None and record.get("type") == calls.EXCEPTION
        exception = str(record.get("exception", ""))[:100] if raised and record is not None else ""
        process.write(
            "call",
            process.ordinal,
            call.call,
            call.api,
            call.object,
            call.parent,
            call.step,
            call.begin,
            at,
            raised,
        )
        process.write(
            "traincheck_call", process.ordinal, call.call, call.function, thread_id, call.stage,
            exception if exception.replace(".", "").isidentifier() else "",
        )  # fmt: skip
        missing = call.known.get("missing", "" if record is not None else "end")
        if missing:
            process.write("traincheck_unpaired", process.ordinal, call.call, missing, call.step)
            for relation in ("call", *events.COVERED, *OF_VALUES):
                process.gap(relation, call.step, calls.UNPAIRED)
        if record is not None:
            details.end(process, call, record)
        events.end(process, call, at, record)
        events.pass_on(call, parent)

    # ------------------------------------------------------------------ states of variables
    def _state(self, record: Record) -> None:
        content = record.content
        at, pid = _nanoseconds(content.get("time")), _whole(content.get("process_id"))
        if (
            at is None
            or pid is None
            or not isinstance(content.get("attributes"), dict)
            or not isinstance(content.get("var_name"), str)
        ):
            self.tally.add("states without name, attributes, process or time, left out", record.place)
            return
        if pid not in self.processes and any(process.called for process in self.processes.values()):
            self.tally.add(f"states of process {pid}, of which there are no calls, left out", record.place)
            return
        process = self._process(pid)
        step, stage = process.moment(content, at)
        if details.state(process, content, at, step, stage):
            process.states += 1
        else:
            self.tally.add(calls.REPEATED, record.place)

    # ------------------------------------------------------------------ processes
    def _process(self, pid: int) -> Process:
        if pid not in self.processes:
            functions = traced_functions(self.folder, pid)
            named = None if functions is None else frozenset(map(public_name, functions))
            self.processes[pid] = Process(pid, len(self.processes), self.header, self.target.add, named)
        return self.processes[pid]

    def _thread(self, process: Process, thread_id: int) -> Thread:
        key = (process.pid, thread_id)
        if key not in self.threads:
            self.threads[key] = Thread(
                lambda call, at, record, parent: self._ended(process, thread_id, call, at, record, parent),
                self.tally,
            )
        return self.threads[key]

    # ------------------------------------------------------------------ the end
    def finish(self, files: list[Path]) -> Manifest:
        """End the calls that are open, write what is known only now, and describe the run."""
        for (pid, thread_id), thread in self.threads.items():
            self.processes[pid].open_calls += thread.close(f"{API}{pid}_{thread_id}, at the end")
        return summarise(
            self.folder, self.header, list(self.processes.values()), self.target, self.tally, files
        )


def _whole(value: object) -> int | None:
    """A number of a process or thread."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return None


def _nanoseconds(time: object) -> int | None:
    """A time as written: nanoseconds, or seconds with a fraction in old traces."""
    if isinstance(time, bool) or not isinstance(time, int | float):
        return None
    if isinstance(time, float):
        return int(time * 1e9) if 0 <= time < 9e9 else None
    return time if 0 <= time < 2**62 else None
