"""`--max-memory` and `--max-seconds` end a join that explodes, with a message, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAD = "relation edge(a: int, b: int)\n"
#: A result with 1,000^4 rows, and one that must be looked at but not kept.
KEPT = "all(A, B, C, D) :- edge(A, _), edge(B, _), edge(C, _), edge(D, _).\n"
COUNTED = "few(N) :- N = count { edge(A, _), edge(B, _), edge(C, _), edge(D, _), A + B * C = D + 3 }.\n"
#: The same over a run, which has some hundred events.
RULE = """
many(A, B, C, D, E, F) :-
    call(begin: A), call(begin: B), call(begin: C), call(begin: D), call(begin: E), call(begin: F).

invariant explodes {
    each    many(A, B, C, D, E, F), A <= B, C <= D, E <= F
    expect  many(B, A, C, D, F, E), E > F
    message "{A}"
}
"""
LONGEST = 60
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process limit its data")


def tcrules(*arguments: object) -> tuple[subprocess.CompletedProcess[str], float]:
    """The finished command and how many seconds it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tcrules", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * LONGEST, check=False)
    return done, time.monotonic() - began


def assert_refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2, (done.stdout[-500:], done.stderr[-500:])
    assert message in done.stderr
    assert "raise --max-seconds, --max-memory or --max-facts" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "edge.facts").write_text("".join(f"{n}\t{n + 1}\n" for n in range(1000)))
    return tmp_path


@linux
def test_memory_of_a_query(data: Path) -> None:
    (data / "a.tcr").write_text(HEAD + KEPT)
    done, _ = tcrules("query", "--facts", data, data / "a.tcr", "--count", "--max-memory=200MB")
    assert_refused(done, "error: needs more than 200 MB of memory")


@linux
def test_enough_memory_for_a_query(data: Path) -> None:
    """The limit is of what the command needs, not of what any command needs."""
    (data / "a.tcr").write_text(HEAD + "two(A, B) :- edge(A, B), edge(B, _).\n")
    done, _ = tcrules("query", "--facts", data, data / "a.tcr", "--count", "--max-memory=200MB")
    assert done.returncode == 0, done.stderr
    assert "999" in done.stdout


@pytest.mark.parametrize("text", [KEPT, COUNTED], ids=["kept", "counted"])
def test_seconds_of_a_query(data: Path, text: str) -> None:
    (data / "a.tcr").write_text(HEAD + text)
    limits = ("--max-seconds=1", "--max-memory=2GB")
    done, took = tcrules("query", "--facts", data, data / "a.tcr", "--count", *limits)
    assert_refused(done, "error: not finished after 1 seconds")
    assert took < LONGEST


@linux
def test_memory_of_a_check(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tcr").write_text(RULE)
    done, _ = tcrules(
        "check", runs / "fixed", "--no-library", "--rules", tmp_path / "a.tcr", "--max-memory=200MB"
    )
    assert_refused(done, "error: needs more than 200 MB of memory")


def test_seconds_of_a_check(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tcr").write_text(RULE)
    limits = ("--max-seconds=1", "--max-memory=2GB")
    done, took = tcrules("check", runs / "fixed", "--no-library", "--rules", tmp_path / "a.tcr", *limits)
    assert_refused(done, "error: not finished after 1 seconds")
    assert took < LONGEST
