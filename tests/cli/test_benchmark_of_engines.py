"""The benchmark of Datalog engines: our results are right, and one that is not would be told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tcrules.grammar.parser import parse

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def python(code: str) -> str:
    """Run code that sees the modules of the benchmark."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER, timeout=120
    )
    return done.stdout


def test_small_programs_are_right():
    command = [sys.executable, "engine.py", "--only", "chain,generation,unreachable", "--engines", "tcrules"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER, timeout=120)
    assert "tcrules: 3 of 3 right" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("output", "status"),
    [("path\t499500", ""), ("path\t499499", "wrong: path 499499, not 499500"), ("", "wrong: path missing, not 499500"),
     ("all\t500499", ""), ("all\t500498", "wrong: all 500498, not 500499")],
)  # fmt: skip
def test_wrong_results_are_told(output: str, status: str):
    code = (
        "from engine import _checked, TASKS; from engine_run import Measured; "
        f"print(_checked(TASKS[0], TASKS[0].make(), Measured(1, 1, 1, '', {output!r})).status)"
    )
    assert python(code).strip() == status


def test_limits_of_time_and_memory():
    code = (
        "import sys; from engine_run import Limits, run\n"
        "def status(code, limits): return run([sys.executable, '-c', code], limits, {}).status\n"
        "print(status('while True: pass', Limits(seconds=0.5)))\n"
        "print(status('b = bytearray(10**9)', Limits(memory=500 * 2**20)))\n"
        "print(status('raise SystemExit(3)', Limits()))\n"
        "found = run([sys.executable, '-c', 'b = b\"x\" * 10**8; print(len(b))'], Limits(), {})\n"
        "print(found.status == '' and found.peak > 100 and 0 < found.cpu < 5, found.output.strip())"
    )
    assert python(code).splitlines() == [
        "out of time",
        "out of memory",
        "failed: exit code 3",
        "True 100000000",
    ]


def test_programs_parse():
    for path in (FOLDER / "programs").glob("*.tcr"):
        assert parse(path.read_text(), str(path)).program is not None, path
