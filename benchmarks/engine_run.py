"""Runs a command with a limit on time and memory, and measures the process: wall, CPU, peak memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KILOBYTE = 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, seconds of all cores, and peak megabytes of a process."""

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True, slots=True)
class Measured(Cost):
    """One run. `status` is "" or why there is no result."""

    status: str
    output: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of wall time, and bytes of address space."""

    seconds: float = 60.0
    memory: int = 12 * 2**30


def run(
    command: Sequence[str], limits: Limits, environment: Mapping[str, str], good: Sequence[int] = (0,)
) -> Measured:
    """Run a command to its end or to a limit; exit codes that are `good` mean that there is a result."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        # The only thread is that of the timer, which is not started yet.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=errors,
            env={**os.environ, **environment},
            preexec_fn=lambda: _restrict(limits),
            start_new_session=True,
        )
        late = threading.Event()
        timer = threading.Timer(limits.seconds, _stop, (process.pid, late))
        timer.start()
        cost = ended(process, begin)
        timer.cancel()
        output.seek(0)
        errors.seek(0)
        why = (
            _why(process.returncode, late.is_set(), errors.read())
            if late.is_set() or process.returncode not in good
            else ""
        )
        return Measured(cost.wall, cost.cpu, cost.peak, why, output.read())


def ended(process: subprocess.Popen[Any], begin: float) -> Cost:
    """Wait for the end of a process that was started at `begin`; what it cost, with the children it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * KILOBYTE / 1e6)


def _restrict(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))


def _stop(process: int, late: threading.Event) -> None:
    late.set()
    os.killpg(process, signal.SIGKILL)


def _why(code: int, late: bool, errors: str) -> str:
    if late:
        return "out of time"
    lines = errors.strip().splitlines()
    text = lines[-1].strip() if lines else f"exit code {code}"
    lower = errors.lower()
    if any(word in lower for word in ("memory", "bad_alloc", "resource error", "table_space", "stack limit")):
        return "out of memory"
    return f"failed: {text[:60]}"
