"""Checks what a run has written so far in a process of its own: for rules that no single step decides.

A run that goes on is checked like one that was killed at that moment, so what is found stays true. All of it is read
anew each time: how often that happens is a matter of what it costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Any

from tcrules.engine.show import show_value
from tcrules.grammar.ast import Constant
from tcrules.instrument.seal import IN_MEMORY
from tcrules.pace import NICE
from tcrules.report.model import Location, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tcrules.engine.ir import Invariant, Value
    from tcrules.pace import Pace
    from tcrules.selection import Selection

#: CPU seconds that the first check is expected to take; the next are expected to take half as much again as the last.
FIRST_S, GROWTH = 2.0, 1.5


class Rechecking:
    """At most one check at a time, begun when the pace allows it.

    Args:
        run: the run folder.
        selection: the rules that were chosen.
        rules: those of them to check.
        pace: who pays.
    """

    def __init__(self, run: Path, selection: Selection, rules: Sequence[Invariant], pace: Pace) -> None:
        self._run, self._pace, self._wanted = run, pace, bool(rules)
        self._command = [
            *(sys.executable, "-m", "tcrules", "check", str(run), "--format", "json"),
            "--library" if selection.library else "--no-library",
            *(word for path in selection.rules for word in ("--rules", str(path))),
            *(word for rule in rules for word in ("--only", rule.id)),
            *(word for name, value in selection.parameters.items() for word in ("--param", _given(name, value))),
        ]  # fmt: skip
        self._expected, self._steps = FIRST_S, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def look(self, steps: int) -> Iterator[Violation]:
        """Yield what a check found that has ended, or begin one if steps are new and their cost may be paid."""
        if self._process is not None:
            before = _children()
            if self._process.poll() is not None:
                yield from self._found(_children() - before)
        elif self._wanted and steps > self._steps and self._pace.left() > self._expected and self._is_small():
            self._steps = steps
            self._begin()

    def close(self) -> None:
        """End a check that goes on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _begin(self) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (read, and closed, when the check has ended)
        # in a session of its own: Ctrl-C means the training
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if hasattr(os, "setpriority"):
            try:
                os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
            except OSError:
                pass

    def _found(self, spent: float) -> Iterator[Violation]:
        """What the check that has ended found; nothing where it failed: the rules are decided at the end as well."""
        assert self._process is not None and self._output is not None, "a check was begun"
        self._process, output = None, self._output
        self._pace.charge(spent)
        self._expected = GROWTH * spent
        with output:
            output.seek(0)
            try:
                report = json.load(output)
            except ValueError:
                return
        for found in report["violations"]:
            yield _violation(found)

    def _is_small(self) -> bool:
        """Whether it can be converted in memory: a larger run is not read again and again."""
        sizes = (path.stat().st_size for path in (self._run / "segments").glob("*/*.rows"))
        return sum(sizes) <= IN_MEMORY


def _children() -> float:
    """CPU seconds of the children that have ended and were waited for; the training is none of them yet."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _given(name: str, value: Value | Constant) -> str:
    return f"{name}={show_value(value.value if isinstance(value, Constant) else value)}"


def _violation(found: dict[str, Any]) -> Violation:
    place = found["location"]
    return Violation(
        id="",
        rule=found["rule"],
        severity=found["severity"],
        first_step=found["first_step"],
        last_step=found["last_step"],
        count=found["count"],
        ranks=tuple(found["ranks"]),
        subjects=tuple(found["subjects"]),
        message=found["message"],
        location=Location(place["file"], place["line"]) if place else None,
        instance=0,
    )
