"""The interactive prompt: a real process on a pseudo terminal, and what needs no terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tcrules.cli.prompt.commands import is_complete, is_statement
from tcrules.names import Names, complete

PROGRAM = """
relation edge(from: int, to: int)
relation path(from: int, to: int)
path(X, Y) :- edge(X, Y).
path(X, Z) :- path(X, Y), edge(Y, Z).
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07|\r")
READY = "tcrules>"


class Terminal:
    """A process on a pseudo terminal; `read` gives what it printed, without control sequences."""

    def __init__(self, *arguments: object, cwd: Path) -> None:
        master, slave = pty.openpty()
        environment = {
            **os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "NO_COLOR": "1", "COLUMNS": "100",
            "XDG_STATE_HOME": str(cwd / "state"),
        }  # fmt: skip
        command = [sys.executable, "-m", "tcrules", "query", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.master = master
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read(self, until: str, seconds: float = 30.0) -> str:
        """What was printed since the last call, up to and with a text."""
        end = time.monotonic() + seconds
        while until not in self.seen:
            assert time.monotonic() < end, f"no {until!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += CONTROL.sub("", os.read(self.master, 65536).decode(errors="replace"))
                except OSError as error:
                    raise AssertionError(f"ended before {until!r}: {self.seen!r}") from error
        before, _, self.seen = self.seen.partition(until)
        return before + until

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "p.tcr").write_text(PROGRAM)
    (tmp_path / "edge.csv").write_text("1,2\n2,3\n3,4\n")
    return tmp_path


@pytest.fixture
def terminal(data: Path):
    opened = Terminal("--facts", data, data / "p.tcr", cwd=data)
    opened.read(READY)
    yield opened
    opened.close()


def test_goals_rules_faults_and_explanations(terminal: Terminal):
    terminal.type("path(2, X)\r")
    assert re.search(r"X\s+3\s+4\s", terminal.read("2 answers"))
    assert re.search(r"\d\.\d{3} s", terminal.read(" s\n"))
    terminal.type("far(X) :- path(1, X), not edge(1, X).\r")
    terminal.read("added: far")
    terminal.type("far(X)\r")
    terminal.read("2 answers")
    terminal.type("pth(1, X)\r")
    fault = terminal.read("did you mean")
    assert "TCR201" in fault and "^" in fault
    terminal.type("?explain far(3)\r")
    terminal.read("from edge(from: 2, to: 3)")
    terminal.type("?relations\r")
    assert "edge(from: int, to: int)" in terminal.read("path(from: int, to: int)  // derived")
    terminal.type("?forget\r")
    terminal.read(READY)
    terminal.type("far(X)\r")
    terminal.read("TCR201")
    terminal.read(READY)
    time.sleep(0.3)  # until the terminal is raw, an end of input is lost
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0


def test_several_lines_completion_and_history(terminal: Terminal, data: Path):
    terminal.type("path(1, X),\r")
    terminal.read("..")
    terminal.type("X > 3\r")
    terminal.read("1 answer")
    terminal.read(READY)
    terminal.type("ed\t")
    terminal.read("ge(")
    terminal.type("fr\t")
    terminal.read("om:")
    terminal.type("1, to: Y)\r")
    terminal.read("1 answer")
    terminal.type("?quit\r")
    assert terminal.process.wait(10) == 0
    history = (data / "state" / "tcrules" / "history").read_text()
    assert "+path(1, X),\n+X > 3\n" in history
    assert "+edge(from: 1, to: Y)\n" in history


def test_control_c_stops_a_query_and_nothing_else(data: Path):
    (data / "edge.csv").write_text("".join(f"{n},{n + 1}\n" for n in range(30_000)))
    terminal = Terminal("--facts", data, data / "p.tcr", cwd=data)
    try:
        terminal.read(READY)
        terminal.type("path(X, Y), X > Y\r")  # 450 million facts
        time.sleep(2)
        terminal.type("\x03")
        terminal.read("cancelled")
        terminal.read(READY)
        terminal.type("edge(7, X)\r")
        terminal.read("1 answer")
    finally:
        terminal.close()


def test_a_recorded_run(runs: Path):
    terminal = Terminal(runs / "faulty", cwd=runs)
    try:
        terminal.read(READY)
        terminal.type("step(step: S), S > 2\r")
        terminal.read("answers")
        terminal.type("late(S) :- step(step: S), S > 3.\r")
        terminal.read("added: late")
        terminal.type("late(S)\r")
        terminal.read("answer")
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("p(X", False),
        ("p(X) :-", False),
        ("p(X) :- q(X).", True),
        ('p("(")', True),
        ("X = 1 +", False),
        ("?help", True),
    ],
)
def test_is_complete(text: str, done: bool):
    assert is_complete(text) is done


def test_is_statement():
    assert is_statement("relation p(x: int)") and is_statement("p(1).") and is_statement("p(X) :-\n q(X).")
    assert not is_statement("relation(X)") and not is_statement("p(X), X = 0.5")


NAMES = Names({"step": ("step", "rank"), "stage": ("stage",)}, ("batch",), ("module",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ste", ["step("]),
        ("step(step: S, ra", ["rank: "]),
        ("step(step: S, st", []),
        ("step(step: Start), S", ["Start"]),
        ("step(step: $", ["$batch"]),
        ('step(step: "st', []),
        ("p(X) :- q(X). // st", []),
        ("step(S), not st", ["step(", "stage(", "starts_with("]),
    ],
)
def test_completion(text: str, expected: list[str]):
    found = [completion.text for completion in complete(text, NAMES)]
    assert [name for name in found if name in expected] == expected
    assert not expected or set(found) - set(expected) <= {"starts_with("}
