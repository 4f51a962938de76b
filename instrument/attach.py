"""Starts a training command so that its processes record themselves.

The original command runs; only two environment variables differ. `PYTHONPATH` starts with `startup/`, whose
`sitecustomize` waits for torch to be imported, in this process and in every Python process that it starts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcrules.instrument.descendants import descendants
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import Manifest, create_run, write_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STARTUP = Path(__file__).resolve().parent / "startup"
RUN_VARIABLE, OPTIONS_VARIABLE = "TCRULES_RUN", "TCRULES_OPTIONS"


class Command:
    """A training command that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def signal(self, number: int) -> None:
        """Send a signal to the command and to all processes that it has started, as a terminal would."""
        if self._process.poll() is None:
            # the command last: when it has gone, nobody is told any more which processes were its own
            for pid in (*descendants(self._process.pid), self._process.pid):
                try:
                    os.kill(pid, number)
                except OSError:
                    pass


#: What is done while a command runs.
Beside = Callable[[Command], AbstractContextManager[object]]


def launch(
    command: Sequence[str],
    run: Path,
    *,
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
    beside: Beside = nullcontext,
) -> int:
    """Run a command under the recorder and return its exit code; 128 + n if signal n ended it.

    Standard streams are inherited; SIGINT, SIGTERM and SIGHUP reach the command. Whatever happens to the
    command, `run` afterwards holds what it did until then.

    Args:
        command: program and arguments, as typed.
        run: folder to create.
        overwrite: replace an existing run (never a folder of another kind).
        options: settings for the session, JSON values: see `watch`.
        beside: entered when the command has started, left when it has ended, before the run is converted.

    Raises:
        RunError: the command is empty, does not exist or cannot be executed; `run` exists or cannot be
        created.
    """
    if not command:
        raise RunError("there is no command to record", "tcrules record -o RUN -- python train.py")
    _require(command[0])
    run = Path(run).absolute()
    manifest = create_run(run, command, overwrite=overwrite)
    try:
        process = subprocess.Popen(list(command), env=environment(run, options))
    except OSError as fault:
        shutil.rmtree(run, ignore_errors=True)
        raise RunError(f"'{command[0]}' cannot be executed: {fault.strerror}") from fault
    with beside(Command(process)):
        code = _wait(process)
    _finish(run, manifest, code)
    return code


def environment(run: Path, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the environment of a process that records itself into `run`."""
    variables = dict(os.environ)
    inherited = variables.get("PYTHONPATH", "").split(os.pathsep) if variables.get("PYTHONPATH") else []
    paths = [str(STARTUP), *(path for path in inherited if path != str(STARTUP))]
    variables["PYTHONPATH"] = os.pathsep.join(paths)
    variables[RUN_VARIABLE] = str(run)
    variables.pop(OPTIONS_VARIABLE, None)
    if options:
        variables[OPTIONS_VARIABLE] = json.dumps(dict(options))
    return variables


def _require(program: str) -> None:
    """Refuse a command that cannot start, before anything is created or overwritten."""
    if shutil.which(program) is not None:
        return
    if os.path.exists(program):
        raise RunError(f"'{program}' is not executable", f"name its interpreter: python {program}")
    raise RunError(f"the command '{program}' does not exist", "check its spelling, and that it is on PATH")


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the command, passing signals on; return its exit code as a shell would."""

    def forward(number: int, _frame: object) -> None:
        # Ctrl-C reaches the whole foreground group: passing it on would interrupt the command twice.
        if number == signal.SIGINT and _in_foreground():
            return
        try:
            process.send_signal(number)
        except OSError:
            pass

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        try:
            before[number] = signal.signal(number, forward)
        except ValueError:
            pass  # only the main thread may handle signals
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _in_foreground() -> bool:
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _finish(run: Path, manifest: Manifest, code: int) -> None:
    """Note how the command ended and convert what it recorded; a fault must not hide the exit code."""
    status = "finished" if code == 0 else "killed" if code > 128 else "failed"
    try:
        write_manifest(run, manifest.with_(status=status, exit_code=code, ended=time.time()))
        from tcrules.instrument.seal import seal

        seal(run)
    except Exception as fault:
        sys.stderr.write(f"tcrules: the recorded run could not be converted yet: {fault}\n")
