"""`record` and `run`: the command is passed through, and whatever happens to it, a run can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import FAULTY, tcrules

PYTHON = sys.executable


def record(folder: Path, source: str, *flags: str, run: str = "run") -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(source)
    return tcrules("record", "-o", run, "--", PYTHON, "script.py", *flags, cwd=folder)


def check(folder: Path, run: str = "run") -> tuple[int, dict]:
    done = tcrules("check", run, "--format", "json", cwd=folder)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_output_and_arguments_pass_through(tmp_path: Path):
    done = record(
        tmp_path, "import sys; print(*sys.argv[1:]); print('oops', file=sys.stderr)", "--o", "-v", "a b"
    )
    assert done.stdout == "--o -v a b\n"
    assert "oops" in done.stderr
    assert "next: tcrules check run" in done.stderr
    assert done.returncode == 0


def test_binary_output_passes_through(tmp_path: Path):
    (tmp_path / "script.py").write_text("import sys; sys.stdout.buffer.write(bytes(range(256)))")
    command = [PYTHON, "-m", "tcrules", "record", "-o", "run", "--", PYTHON, "script.py"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=100)
    assert done.stdout == bytes(range(256))


def test_failing_script_leaves_a_run(tmp_path: Path):
    done = record(tmp_path, FAULTY + "\nraise SystemExit(7)\n")
    assert done.returncode == 7
    assert "exit code 7" in done.stderr
    code, data = check(tmp_path)
    assert code == 1
    assert data["notes"]


def test_missing_command(tmp_path: Path):
    done = tcrules("record", "-o", "run", "--", "no-such-program", cwd=tmp_path)
    assert done.returncode in (2, 127)
    assert "no-such-program" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_script(tmp_path: Path):
    done = tcrules("record", "-o", "run", "--", PYTHON, "missing.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "missing.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_existing_run_is_kept_without_overwrite(tmp_path: Path):
    assert record(tmp_path, FAULTY).returncode == 0
    again = record(tmp_path, FAULTY)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    done = tcrules("record", "-o", "run", "--overwrite", "--", PYTHON, "script.py", cwd=tmp_path)
    assert done.returncode == 0


def test_script_that_does_not_train_is_not_clean(tmp_path: Path):
    assert record(tmp_path, "print('hello')").returncode == 0
    done = tcrules("check", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "CLEAN" not in done.stdout


def test_forking_script(tmp_path: Path):
    fork = "import os\npid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)\n"
    assert record(tmp_path, fork + FAULTY).returncode == 0
    assert check(tmp_path)[0] == 1


def test_killed_run_is_checked_up_to_the_kill(tmp_path: Path):
    endless = FAULTY.replace("range(5)", "range(10**9)").replace(
        "    loss.backward()", "    print('.', flush=True)\n    loss.backward()"
    )
    (tmp_path / "script.py").write_text(endless + "\n")
    source = "import os, subprocess\n"
    pids = tmp_path / "pid"
    (tmp_path / "script.py").write_text(
        f"import os\nopen({str(pids)!r}, 'w').write(str(os.getpid()))\n{source}{endless}"
    )
    command = [PYTHON, "-m", "tcrules", "record", "-o", "run", "--", PYTHON, "script.py"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(30):
        process.stdout.readline()
    os.kill(int(pids.read_text()), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    code, data = check(tmp_path)
    assert code == 1
    assert any("kill" in note for note in data["notes"]), data["notes"]
    assert {"gradients-start-empty"} <= {violation["rule"] for violation in data["violations"]}


def test_run_reports_and_returns_the_verdict(tmp_path: Path):
    (tmp_path / "script.py").write_text(FAULTY)
    done = tcrules("run", "-o", "a", "--", PYTHON, "script.py", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("FAULTY")
    assert "next: tcrules explain a V1" in done.stderr
    fixed = tcrules("run", "--", PYTHON, "script.py", "--fixed", cwd=tmp_path)
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    assert fixed.stdout.startswith("CLEAN")
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_run_refuses_faulty_rules_before_training(tmp_path: Path):
    (tmp_path / "bad.tcr").write_text("invariant x {")
    begin = time.monotonic()
    done = tcrules("run", "--rules", "bad.tcr", "--", "sleep", "30", cwd=tmp_path)
    assert done.returncode == 2
    assert time.monotonic() - begin < 20


TWO_RANKS = """
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3 if dist.get_rank() else 6):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_of_different_length_are_noted(tmp_path: Path):
    (tmp_path / "script.py").write_text(TWO_RANKS)
    launch = ["torchrun", "--standalone", "--nproc-per-node=2", "script.py"]
    path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    done = tcrules("record", "-o", "run", "--", *launch, cwd=tmp_path, PATH=path)
    assert done.returncode == 0, done.stderr
    code, data = check(tmp_path)
    assert code in (0, 1)
    assert any("rank" in note and "step" in note for note in data["notes"]), data["notes"]


def test_run_uses_settings_and_suppressions_of_the_folder(tmp_path: Path):
    (tmp_path / "script.py").write_text(FAULTY)
    (tmp_path / "tcrules.toml").write_text('rules = ["meant.tcr"]\nonly = ["gradients-start-empty"]\n')
    (tmp_path / "meant.tcr").write_text('suppress gradients-start-empty because "on purpose"\n')
    done = tcrules("run", "-o", "a", "--", PYTHON, "script.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 violation suppressed (1 reason)" in done.stdout
    (tmp_path / "tcrules.toml").write_text('only = ["no-such-rule"]\n')
    done = tcrules("run", "-o", "b", "--", PYTHON, "script.py", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "b").exists()


def test_a_command_that_does_not_train_is_told(tmp_path: Path):
    done = record(tmp_path, "print(1)")
    assert done.returncode == 0
    assert "no process of the command imported torch" in done.stderr
