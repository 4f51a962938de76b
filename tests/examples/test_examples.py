"""Every example: the faulty program is found, the fixed one is silent, and the page shows what really is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.evidence import faults_of, reader

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: Example -> the rule that must find it, as its root cause.
EXPECTED = {
    "missing-zero-grad": "gradients-start-empty",
    "eval-dropout": "training-mode-is-restored",
    "clip-scaled-gradients": "clip-after-unscale",
    "ddp-drift": "forward-through-wrapper",
}
PROCESSES = {"ddp-drift": 2}
BIN = Path(sys.executable).parent


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(arguments, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


def record(name: str, folder: Path, *flags: str) -> Path:
    run = folder / ("fixed" if flags else "faulty")
    launch = [sys.executable]
    if name in PROCESSES:
        launch = [str(BIN / "torchrun"), "--standalone", f"--nproc-per-node={PROCESSES[name]}"]
    command = [sys.executable, "-m", "tcrules", "record", "-o", str(run), "--", *launch, "train.py", *flags]
    done = call(*command, cwd=EXAMPLES / name)
    assert done.returncode == 0, done.stderr
    return run


def check(run: Path, *more: str) -> tuple[int, dict]:
    done = call(sys.executable, "-m", "tcrules", "check", str(run), "--format", "json", *more, cwd=run.parent)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_faulty_is_found_and_fixed_is_silent(name: str, tmp_path: Path):
    run = record(name, tmp_path)
    code, data = check(run)
    assert code == 1
    for violation in data["violations"][:5]:
        command = [sys.executable, "-m", "tcrules", "explain", str(run), violation["id"], "--json"]
        assert faults_of(json.loads(call(*command, cwd=tmp_path).stdout), reader(run)) == []
    assert EXPECTED[name] in {violation["rule"] for violation in data["violations"] if violation["root"]}
    code, data = check(record(name, tmp_path, "--fixed"))
    loud = [violation for violation in data["violations"] if violation["severity"] != "note"]
    assert (code, loud) == (0, [])


@pytest.mark.parametrize("name", EXPECTED)
def test_page_names_the_rule(name: str):
    page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert EXPECTED[name] in page
    assert re.search(r"^FAULTY  ", page, re.MULTILINE)


def test_every_example_is_tested():
    assert {path.parent.name for path in EXAMPLES.glob("*/train.py")} == set(EXPECTED)


def test_first_rules_can_be_checked(tmp_path: Path):
    run = record("missing-zero-grad", tmp_path, "--fixed")
    rules = EXAMPLES / "first-rules" / "project.tcr"
    code, data = check(run, "--rules", str(rules), "--no-library")
    assert code == 0, data
    assert data["verdicts"]["rate-does-not-rise"]["status"] == "held"


def test_the_page_about_plain_datalog_shows_what_is_printed():
    folder = EXAMPLES / "plain-datalog"
    page = (folder / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    parts = re.split(r"^\$ tcrules (.*)\n", block, flags=re.MULTILINE)[1:]
    assert len(parts) == 6
    for command, printed in zip(parts[::2], parts[1::2], strict=True):
        done = call(sys.executable, "-m", "tcrules", *shlex.split(command), cwd=folder)
        assert done.returncode == 0, done.stderr
        assert [line.rstrip() for line in done.stdout.splitlines()] == printed.splitlines()
