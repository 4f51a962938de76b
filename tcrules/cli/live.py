"""Live checking for commands: in a thread beside the training that is launched, or of a run that goes on elsewhere."""

from __future__ import annotations

import gc
import signal
import struct
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from tcrules.cli.common import error_console, remark
from tcrules.pace import Pace, step_aside
from tcrules.report.model import SEVERITIES
from tcrules.report.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from tcrules.engine.ir import Program
    from tcrules.following import Divided, Sighting
    from tcrules.instrument.attach import Command
    from tcrules.selection import Selection

#: Seconds that a command has to end after SIGINT, before SIGTERM.
GRACE_S = 20.0
#: How often it is looked whether a run has begun: it costs one look into a folder.
BEGIN_S = 0.25
#: Seconds that the end of a run waits for what reads it; it notices within milliseconds.
PATIENCE_S = 10.0


class Live:
    """Follows one run and tells what is violated.

    Args:
        run: the run folder.
        selection: the rules that were chosen, and `program` made of them.
        stop_on: severity from which on a violation ends the training; "" for none.

    Attributes:
        stopped_by: the rule for which the training was ended, "" where it was not.
        steps: called with the number of steps that are over, and of rules that are violated, when it was looked.
    """

    def __init__(self, run: Path, selection: Selection, program: Program, stop_on: str = "") -> None:
        self._run, self._selection, self._program = run, selection, program
        self._severities = SEVERITIES[: SEVERITIES.index(stop_on) + 1] if stop_on else ()
        self._violated: set[str] = set()
        self._console: Console | None = None
        #: The training writes to the same terminal, and may be in the middle of a line.
        self._is_shared = True
        self.stopped_by = ""
        self.steps: Callable[[int, int], None] = lambda _steps, _violated: None

    def follow(self, done: Done, stop: Callable[[], None] = lambda: None) -> None:
        """Follow the run until it is done. A fault is told in a line, and ends only this.

        `stop` is called when a violation is to end the training.
        """
        try:
            while not done.is_set() and not _has_begun(self._run):
                done.wait(BEGIN_S)
            if not done.is_set():
                self._follow(done, stop)
        except Exception as fault:
            with suppress(OSError):
                remark(
                    f"tcrules: live checking has ended ({type(fault).__name__}: {fault}); "
                    "the run goes on and is checked at its end"
                )

    def _follow(self, done: Done, stop: Callable[[], None]) -> None:
        pace = Pace()
        # not before there is something to do: the training starts meanwhile
        from tcrules.following import Following
        from tcrules.rechecking import Rechecking

        following = Following(self._run, self._program, self._tell)
        gc.freeze()  # else the collector walks through all rules every few dozen steps
        self._say(f"tcrules: {_when(following.divided)}")
        with closing(Rechecking(self._run, self._selection, following.divided.between, pace)) as rechecking:
            while not done.is_set():
                more = following.read()
                following.tell(rechecking.look(following.steps))
                self.steps(following.steps, len(self._violated))
                if self.stopped_by:
                    stop()
                    return
                done.wait(pace.pause(more))

    @contextmanager
    def status_line(self) -> Iterator[None]:
        """Show on a terminal how far the run is; for a run whose own output goes elsewhere."""
        self._console, self._is_shared = error_console(), False
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("waiting for the first step", refresh_per_second=4) as status:

            def update(steps: int, violated: int) -> None:
                found = f"{counted(violated, 'rule')} violated" if violated else "no violation"
                status.update(f"{counted(steps, 'step')} · {found}")

            self.steps = update
            yield

    def _tell(self, sighting: Sighting) -> None:
        from tcrules.report import live

        violation = sighting.violation
        self._violated.add(violation.rule)
        if sighting.first:
            options = "".join(f" --rules {path}" for path in self._selection.rules)
            command = f"tcrules explain {self._run}{options} {violation.rule}"
            text = live.first(violation, sighting.count, sighting.step, command)
        else:
            text = live.again(violation, sighting.count, sighting.step)
        self._say(text)
        if violation.severity in self._severities:
            self.stopped_by = self.stopped_by or violation.rule

    def _say(self, text: Text | str) -> None:
        if self._console is None:
            self._console = error_console()
        if self._is_shared and self._console.is_terminal:
            self._console.line()
        self._console.print(text)


class Done(Protocol):
    """Whether there is nothing more to follow; an `Event` is one."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float) -> object: ...


@contextmanager
def beside(live: Live, command: Command) -> Iterator[None]:
    """Follow the run of a command that was launched, in a thread, until the block is left."""
    done = threading.Event()

    def run() -> None:
        step_aside()
        live.follow(done, stop)

    def stop() -> None:
        remark(f"tcrules: {live.stopped_by} is violated: the training is ended, as --stop-on asks")
        command.signal(signal.SIGINT)
        if not done.wait(GRACE_S):
            remark(
                f"tcrules: the training has not ended within {GRACE_S:.0f} s: it is told again, by SIGTERM"
            )
            command.signal(signal.SIGTERM)

    thread = threading.Thread(target=run, name="tcrules-live", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE_S)


class RunEnd:
    """Whether a run that another process records is over."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def is_set(self) -> bool:
        """Nobody writes any more."""
        from tcrules.instrument.manifest import read_manifest
        from tcrules.instrument.seal import is_written

        manifest = read_manifest(self._run)
        return manifest.sealed or not is_written(self._run, manifest)

    def wait(self, timeout: float) -> None:
        """Sleep; the end of the run wakes nobody."""
        time.sleep(timeout)


def follow_run(run: Path, selection: Selection) -> None:
    """Follow a run until it ends or the user ends it by Ctrl-C; on a terminal a line tells how far it is.

    Raises:
        TcrError, SelectionError, RunError: the rules or the run cannot be used.
    """
    from tcrules.instrument.manifest import read_manifest
    from tcrules.selection import load_selection

    live = Live(run, selection, load_selection(selection))
    read_manifest(run)
    try:
        with live.status_line():
            live.follow(RunEnd(run))
    except KeyboardInterrupt:
        remark("tcrules: not followed any more; this is what was found so far")


def _has_begun(run: Path) -> bool:
    """Whether a process has written the fact of its first step: its last byte says that it is whole."""
    from tcrules.instrument.layout import MARK, row_format
    from tcrules.instrument.schema import BY_NAME

    size = struct.calcsize(row_format(BY_NAME["step"]))
    for path in (run / "segments").glob("*/step.rows"):
        with suppress(OSError), path.open("rb") as file:
            if file.read(size)[-1:] == bytes([MARK]):
                return True
    return False


def _when(divided: Divided) -> str:
    """Which rules are decided when, in a sentence."""
    live, between, at_end = len(divided.live), len(divided.between), len(divided.at_end)
    now_and_then = f", {between} now and then" if between else ""
    return f"{live} of {live + between + at_end} rules are checked with each step{now_and_then}, {at_end} at the end"
