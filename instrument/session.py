"""The session: what probes talk to. One per traced process.

A probe takes a writer per relation once (`session.put("step")`), wraps its callbacks in `session.guard(...)`
and says what it records (`session.covers(...)`). Nothing in here raises into the user's code.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
import traceback
from functools import wraps
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tcrules.instrument.clock import Clock
from tcrules.instrument.layout import NAMES, USER
from tcrules.instrument.location import Locator
from tcrules.instrument.names import Names
from tcrules.instrument.needs import Needs
from tcrules.instrument.place import distributed as _distributed
from tcrules.instrument.place import in_loader_worker
from tcrules.instrument.privacy import blame, redact
from tcrules.instrument.schema import SCHEMA_VERSION
from tcrules.instrument.sink import DEFAULT_LIMIT, Sink, Writer
from tcrules.instrument.userfacts import BadFact, check_fact, encode_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

P = ParamSpec("P")
R = TypeVar("R")
MAX_GAPS = 1000
#: Steps after which the rank may have become known: a kill later on must not lose it.
MEANWHILE = frozenset((0, 1, 2, 10, 100))
MANY_NAMES = "too many modules, parameters and buffers were made: later ones have no names of their own"


class Frame:
    """A watched call that has begun.

    `call` is its id, `parent` the enclosing watched call or 0. `opaque`: what it calls is how it is made, and not told.
    """

    __slots__ = ("api", "begin", "call", "object", "opaque", "parent", "step")

    def __init__(self, api: str, object: str, call: int, parent: int, step: int, begin: int) -> None:
        self.api = api
        self.object = object
        self.call = call
        self.parent = parent
        self.step = step
        self.begin = begin
        self.opaque = False


class _Local(threading.local):
    """State of one thread."""

    def __init__(self) -> None:
        self.inside = False
        self.stack: list[Frame] = []


class Session:
    """Records one process into `run/segments/<pid>-<start_ns>`.

    Args:
        run: the run folder; nothing is created before the first fact.
        options: settings of the recording, by name; probes may look at them.

    Attributes:
        clock: event times and step numbers.
        needs: the relations that are wanted (option `relations`, default all).
        cost: tells what recording took so far.
        names: names of objects.
        local: per thread; `local.inside` is set while a guarded probe runs, so that its own torch calls are
            not recorded, and `local.stack` holds the open frames.
        paused: set to stop all guarded probes for a while.
        is_worker: this process loads data for another one.
    """

    def __init__(self, run: Path, options: Mapping[str, Any] | None = None) -> None:
        self.run = Path(run).absolute()
        self.options: Mapping[str, Any] = options or {}
        self.clock = Clock()
        self.local = _Local()
        self.paused = False
        self.closed = False
        self.is_worker = False
        limit = int(self.options.get("limit_bytes", DEFAULT_LIMIT))
        self.sink = Sink(self._segment(), limit=limit, describe=self._describe)
        self.names = Names(self._note_name, self._made, self._gone, lambda: self.gap("*", MANY_NAMES))
        self.needs = Needs(self.options)
        self.put: Callable[[str], Writer] = self.needs.put(self.sink.writer)
        self.cost: Callable[[], dict[str, float]] = dict
        self.next_call: Callable[[], int] = count(1).__next__
        self._locator = Locator()
        self._call, self._location = self.put("call"), self.put("location")
        self._gap_writer, self._step_writer = self.put("instrument_gap"), self.put("step")
        self._group = (0, 1, False)
        self._argv = redact(getattr(sys, "orig_argv", ()))
        self._gaps: set[tuple[str, str]] = set()
        self._covered: set[str] = set()
        self._probes: dict[str, set[str]] = {}
        self._disabled: set[str] = set()
        self._on_close: list[Callable[[], None]] = []
        self._on_fork: list[Callable[[], None]] = []
        self.sink.on_stop = self.gap
        self.sink.on_open = self.names.rewrite
        self.clock.on_steps = self._steps_over

    # ------------------------------------------------------------------ facts
    def gap(self, relation: str, why: str, first_step: int | None = None, last_step: int = -1) -> None:
        """Record that facts of `relation` ("*" = all) are missing from `first_step` (default: now) on."""
        with self.sink._lock:
            if (relation, why) in self._gaps or len(self._gaps) >= MAX_GAPS:
                return
            self._gaps.add((relation, why))
        self._gap_writer(relation, self.clock.step if first_step is None else first_step, last_step, why)

    def covers(self, *relations: str, probe: str = "") -> None:
        """Say that `relations` are recorded in this process; if `probe` fails they get a gap."""
        self._covered.update(self.needs.complete.intersection(relations))
        if probe:
            self._probes.setdefault(probe, set()).update(relations)
        self.sink.write_meta()

    def enter(self, api: str, object: str = "") -> Frame:
        """Begin a watched call; about 0.5 µs. Every frame must be left again, also when the call raises."""
        stack = self.local.stack
        parent = stack[-1].call if stack else 0
        frame = Frame(api, object, self.next_call(), parent, self.clock.step, self.clock.tick())
        stack.append(frame)
        return frame

    def leave(self, frame: Frame | None, raised: bool = False) -> int:
        """End a watched call and record `call` and `location`; returns its end time. None is accepted, and
        ignored.

        Frames above it that were never left (their call raised past a hook) are dropped.
        """
        end = self.clock.tick()
        if frame is None:
            return end
        stack = self.local.stack
        if frame in stack:
            while stack.pop() is not frame:
                pass
        self._call(frame.call, frame.api, frame.object, frame.parent, frame.step, frame.begin, end, raised)
        place = self._locator.find(2)
        if place is not None:
            self._location(frame.call, *place)
        return end

    def abandon(self, frame: Frame) -> None:
        """Take back a watched call whose probe failed: what follows is not inside of it."""
        if frame in self.local.stack:
            del self.local.stack[self.local.stack.index(frame) :]

    def user_frames(self) -> Iterator[FrameType]:
        """Yield the frames of user code that are running in this thread, innermost first."""
        return self._locator.frames(2)

    def emit(self, relation: str, columns: Mapping[str, object]) -> None:
        """Record a fact of the user; an unusable one becomes a gap."""
        try:
            data = encode_fact(relation, check_fact(relation, columns, self.clock.step))
        except BadFact as fault:
            why = f"tcrules.emit: {fault}"
        except Exception as fault:  # objects that only look like numbers or texts
            why = f"tcrules.emit: {blame(fault)}"
        else:
            if self.sink.append(USER, data):
                return
            why = "tcrules.emit: the fact could not be written"
        # exactly a text: a class of the user's may compare or hash as it likes
        self.gap(str.__str__(relation) if isinstance(relation, str) else "*", why)

    # ------------------------------------------------------------------ protection of the run
    def guard(self, probe: str, *relations: str) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
        """Return a decorator that makes a callback of `probe` harmless.

        The callback is skipped (None) while the session is paused or closed, inside another guarded callback
        of the thread, and once the probe is disabled. An Exception in it disables the probe and records gaps
        for `relations` and those that the probe covers. Costs about 0.15 µs.
        """
        self._probes.setdefault(probe, set()).update(relations)
        local, disabled = self.local, self._disabled

        def decorate(callback: Callable[P, R]) -> Callable[P, R | None]:
            @wraps(callback)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
                if local.inside or self.paused or self.closed or probe in disabled:
                    return None
                local.inside = True
                try:
                    return callback(*args, **kwargs)
                except Exception as fault:
                    self.disable(probe, fault)
                    return None
                finally:
                    local.inside = False

            return guarded

        return decorate

    def disable(self, probe: str, fault: BaseException | str) -> None:
        """Switch a probe off and record gaps for what it covers."""
        self._disabled.add(probe)
        try:
            why = fault if isinstance(fault, str) else blame(fault)
            for relation in sorted(self._probes.get(probe, ())) or ["*"]:
                self.gap(relation, f"probe {probe} failed: {why}")
            if os.environ.get("TCRULES_DEBUG"):
                sys.stderr.write(f"tcrules: probe {probe} disabled: {why}\n")
                if isinstance(fault, BaseException):
                    traceback.print_exception(fault, file=sys.stderr)
        except Exception:
            pass  # the run goes on, whatever stderr is by now

    def is_disabled(self, probe: str) -> bool:
        """Whether a probe was switched off."""
        return probe in self._disabled

    # ------------------------------------------------------------------ life
    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the session closes, latest first: probes take back their patches."""
        self._on_close.append(callback)

    def on_fork(self, callback: Callable[[], None]) -> None:
        """Call `callback` in a forked child."""
        self._on_fork.append(callback)

    def refresh(self) -> None:
        """Rewrite the description of the process, e.g. when its rank or role has become known."""
        self.sink.write_meta()

    def mark_worker(self) -> None:
        """Say that this process loads data for another one."""
        self.is_worker = True
        self.sink.write_meta()

    def close(self) -> None:
        """Write what is pending and mark the process as finished; idempotent."""
        if self.closed:
            return
        for callback in reversed(self._on_close):
            try:
                callback()
            except Exception as fault:
                self.disable("close", fault)
        try:
            self.clock.close()
        except Exception as fault:
            self.disable("step", fault)
        self.closed = True
        self.sink.write_meta()
        self.sink.close()

    def after_fork(self) -> None:
        """Give a forked child a segment of its own; its parent's files are not touched."""
        self._start_ns = time.time_ns()
        self.local.stack.clear()
        self._gaps.clear()
        self.names.after_fork()
        self.clock.after_fork()
        for callback in self._on_fork:
            callback()
        self.sink.reset(self._segment())

    # ------------------------------------------------------------------ inner
    def _segment(self) -> Path:
        self._start_ns = time.time_ns()
        return self.run / "segments" / f"{os.getpid()}-{self._start_ns}"

    def _describe(self) -> dict[str, object]:
        group = _distributed()
        if group[2] or not self._group[2]:  # scripts destroy the group before they end
            self._group = group
        rank, world, distributed = self._group
        return {
            "schema": SCHEMA_VERSION,
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "host": platform.node(),
            "argv": self._argv,
            "started": self._start_ns / 1e9,
            "status": "finished" if self.closed else "running",
            "role": "worker" if self.is_worker or in_loader_worker() else "trainer",
            "rank": rank,
            "world_size": world,
            "distributed": distributed,
            "covers": sorted(self._covered),
            "cost": self.cost(),
            "python": sys.version.split()[0],
            "torch": str(getattr(sys.modules.get("torch"), "__version__", "")),
        }

    def _note_name(self, data: bytes) -> None:
        if self.sink.opened:  # else `on_open` writes them all
            self.sink.append(NAMES, data)

    def _steps_over(self, steps: Sequence[tuple[int, int, int]]) -> None:
        if any(step in MEANWHILE for step, _, _ in steps):
            self.sink.write_meta()
        for step, begin, end in steps:
            self._step_writer(step, begin, end)

    def _made(self, kind: str, name: str) -> None:
        if kind == "optimizer":
            self.clock.optimizer_made(name)

    def _gone(self, kind: str, name: str) -> None:
        if kind == "optimizer":
            self.clock.optimizer_gone(name)


_current: Session | None = None


def current() -> Session | None:
    """Return the session of this process, None when it is not recorded."""
    return _current


def start(run: Path, options: Mapping[str, Any] | None = None) -> Session:
    """Start recording this process, or return the session that already does; installs the probes."""
    global _current
    if _current is not None and not _current.closed:
        return _current
    session = Session(run, options)
    _current = session
    _register_once()
    try:
        from tcrules.instrument import probes

        probes.install(session)
    except Exception as fault:
        session.disable("installation", fault)
    else:
        session.covers("call", "location", "step", "recorded_steps")
    return session


def stop() -> None:
    """Close the session of this process, if there is one."""
    global _current
    session, _current = _current, None
    if session is not None:
        session.close()


_registered = False


def _register_once() -> None:
    import atexit

    global _registered
    if _registered:
        return
    _registered = True
    atexit.register(stop)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_child)
    from multiprocessing import util  # torch has imported it

    util.register_after_fork(_close_with_multiprocessing, lambda close: close())


def _child() -> None:
    session = _current
    if session is None:
        return
    try:
        session.after_fork()
    except Exception as fault:
        session.paused = True
        session.disable("fork", fault)


def _close_with_multiprocessing() -> None:
    """Close with multiprocessing's own exit hook: its children leave by `os._exit`, past `atexit`."""
    from multiprocessing import util

    util.Finalize(None, stop, exitpriority=-100)


__all__ = ["Frame", "Session", "current", "start", "stop"]
