"""kill -9 at any moment loses nothing that was written, and what is left can be checked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tcrules.instrument import open_run
from tcrules.instrument.layout import stored_columns
from tcrules.instrument.schema import BY_NAME, RELATIONS, TYPES
from tcrules.instrument.segments import Segment, read_segments

from tcrules.checking import check_run
from tcrules.selection import Selection

STEPS, KILLS = 148, 20

#: A training that tells by itself, past the recorder, which step has returned.
TRAIN = """
import os, random, sys
import numpy, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def train(progress, steps):
    for seed in (torch.manual_seed, numpy.random.seed, random.seed):
        seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 50)
    loader = DataLoader(TensorDataset(torch.randn(32, 4), torch.randint(0, 3, (32,))), batch_size=8, shuffle=True)
    step = 0
    while step < steps:
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            os.write(progress, b"%d\\n" % step)
            scheduler.step()
            step += 1
"""

#: Forks trainings from one warm process and kills them after so many of their steps and seconds.
SERVER = (
    TRAIN
    + """
import json, signal, time
from pathlib import Path
from tcrules.instrument import session as sessions
from tcrules.instrument.manifest import create_run
import torch._dynamo  # as optimizers do; imported once, not in each child
from tcrules.instrument.probes import registry

torch.set_num_threads(1)
for name, steps, seconds in json.loads(sys.argv[1]):
    run = Path(name)
    create_run(run, ["python", "train.py"])
    progress = os.open(name + ".progress", os.O_CREAT | os.O_RDWR)
    child = os.fork()
    if not child:
        sessions.start(run, {"overhead": 0})
        train(progress, int(sys.argv[2]))
        sessions.stop()
        os._exit(0)
    if steps is not None:
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.fstat(progress).st_size < steps and not os.waitid(os.P_PID, child, ended):
            time.sleep(0.0005)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(progress)
"""
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that came to its end and others that were killed."""
    folder = tmp_path_factory.mktemp("killed")
    chance = random.Random(4)
    # the first bytes of progress are there when the first step has returned; 0: while the recorder starts
    kills = [
        (f"run{n}", chance.choice([0, 1, chance.randint(1, 2 * STEPS)]), chance.random() * 0.02)
        for n in range(KILLS)
    ]
    (folder / "server.py").write_text(SERVER)
    plan = json.dumps([("reference", None, 0), *kills])
    subprocess.run([sys.executable, "server.py", plan, str(STEPS)], cwd=folder, check=True, timeout=120)
    return folder


Rows = list[tuple[Any, ...]]


def rows_of(segment: Segment) -> dict[str, Rows]:
    """Return the facts of a process as they are stored: with handles, as names may be known only later."""
    texts = (*segment.texts, "")
    found: dict[str, Rows] = {}
    for relation in RELATIONS:
        kinds = [TYPES[column.type] for column in stored_columns(relation)]
        found[relation.name] = [
            tuple(
                texts[value] if kind == "string" else value for value, kind in zip(row, kinds, strict=False)
            )
            for row in segment.rows(relation.name).tolist()
        ]
    return found


def step_column(relation: str) -> int | None:
    names = [column.name for column in stored_columns(BY_NAME[relation])]
    return names.index("step") if "step" in names else None


def read(run: Path) -> tuple[dict[str, Rows], int]:
    """Return the facts of a run that was not sealed, and the last step that its training told; -1: none."""
    segments, notes = read_segments(run)
    assert not notes and len(segments) <= 1
    told = (run.parent / f"{run.name}.progress").read_text().split("\n")
    assert told[-1] == "", "one write is whole or not there"
    return rows_of(segments[0]) if segments else {}, int(told[-2]) if len(told) > 1 else -1


#: Written before `optimizer.step` has returned.
BEFORE_RETURN = (
    "forward",
    "loss_call",
    "backward",
    "clip",
    "optimizer_step",
    "update",
    "gradient",
    "zero_grad",
)


def test_nothing_that_was_written_is_lost(runs: Path):
    reference, last = read(runs / "reference")
    assert last == STEPS - 1 and len(reference["optimizer_step"]) == STEPS
    ends = []
    for number in range(KILLS):
        found, last = read(runs / f"run{number}")
        ends.append(last)
        for relation, rows in reference.items():
            if relation == "config":  # values of variables, which differ: the server's own among them
                continue
            kept = found.get(relation, [])
            assert kept == rows[: len(kept)], f"{relation} is not as it was written"
            at = step_column(relation)
            if at is not None:
                done = last if relation in BEFORE_RETURN else last - 1
                assert len(kept) >= sum(row[at] <= done for row in rows), f"{relation} has lost facts"
        calls = {row[0] for row in found.get("location", [])}
        assert all(row[0] in calls for row in found.get("call", [])[:-1])
    assert -1 in ends and any(0 < end < STEPS - 1 for end in ends), "the moments differ"


def test_every_killed_run_can_be_checked(runs: Path):
    decided = 0
    for number in range(KILLS):
        _, last = read(runs / f"run{number}") if (runs / f"run{number}" / "segments").exists() else ({}, None)
        with check_run(runs / f"run{number}", Selection(only=("optimizer",))) as checked:
            report = checked.report
        assert any("was killed" in note for note in report.notes)
        assert not report.violations, "what is cut off is no fault"
        decided += report.exit_code == 0
        assert last is None or last < 1 or report.exit_code == 0
    assert decided > KILLS / 4


SCRIPT = TRAIN + "train(os.open('progress', os.O_CREAT | os.O_WRONLY), 10**6)\n"


@pytest.mark.parametrize(("command", "recorder_too"), [("record", False), ("run", True)])
def test_a_real_command_is_killed(command: str, recorder_too: bool, tmp_path: Path):
    (tmp_path / "train.py").write_text("import os\nopen('pid', 'w').write(str(os.getpid()))\n" + SCRIPT)
    words = [sys.executable, "-m", "tcrules", command, "-o", "run", "--", sys.executable, "train.py"]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    progress = tmp_path / "progress"
    deadline = time.monotonic() + 60
    while not (progress.exists() and progress.stat().st_size > 400) and time.monotonic() < deadline:
        time.sleep(0.005)
    if recorder_too:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert process.wait(60) == (-signal.SIGKILL if recorder_too else 128 + signal.SIGKILL)
    last = int(progress.read_text().split("\n")[-2])
    folder = open_run(tmp_path / "run")
    assert folder.notes[0] == "the run was killed"
    assert int(folder.describe().split(" steps")[0].split()[-1].replace(",", "")) >= last
    done = subprocess.run(
        [sys.executable, "-m", "tcrules", "check", "run", "--format", "json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["summary"]
