"""A run that is read while it grows gives the facts of the sealed run, each after the step that it belongs to."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pytest
from tcrules.instrument.attach import environment
from tcrules.instrument.descendants import descendants
from tcrules.instrument.following import Follower, News
from tcrules.instrument.growing import Rows, Stop, Texts
from tcrules.instrument.layout import MARK, META, NAMES, STRINGS, row_dtype
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.instrument.schema import BY_NAME, RELATIONS
from tcrules.instrument.seal import seal

#: A second model makes the names of the first one ambiguous at step 6; the script reports facts of its own.
TRAIN = """
import torch
from torch import nn
import tcrules

class Net(nn.Sequential):
    pass

def make():
    model = Net(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.01)

torch.manual_seed(0)
pairs = [make()]
for step in range(12):
    if step == 6:
        pairs.append(make())
    for model, optimizer in pairs:
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
    tcrules.emit("metric", name="loss", value=float("nan") if step == 3 else 0.5)
    tcrules.emit("own", place="here", number=step)
"""
STEPS = 13  # that of iteration 6 is two: a second optimizer opens a round of its own
EVERY = [relation.name for relation in RELATIONS] + ["own"]


def recorded(folder: Path, source: str, **options: object) -> Path:
    """A run that was recorded and not sealed: as one that goes on looks."""
    run = folder / "run"
    (folder / "train.py").write_text(source)
    command = [sys.executable, "train.py"]
    create_run(run, command)
    subprocess.run(command, cwd=folder, env=environment(run, options), check=True, timeout=100)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("recorded"), TRAIN)


def sealed(run: Path, folder: Path) -> dict[str, Counter[tuple[str, ...]]]:
    """The facts of a run after it was sealed, by relation."""
    copy = folder / "sealed"
    shutil.copytree(run, copy)
    write_manifest(copy, read_manifest(copy).with_(status="finished"))
    seal(copy)
    return {
        path.stem: Counter(
            tuple(map(repr, row))
            for row in duckdb.sql(f"SELECT * EXCLUDE fact FROM read_parquet('{path}')").fetchall()
        )
        for path in (copy / "facts").glob("*.parquet")
    }


class Reader:
    """Takes what a follower hands on."""

    def __init__(self, run: Path) -> None:
        self.follower = Follower(run, EVERY)
        self.facts: dict[str, Counter[tuple[str, ...]]] = {}
        self.until = -1.0
        self.again = 0

    def read(self) -> News:
        news = self.follower.read()
        if news.again:
            self.facts, self.until = {}, -1.0
            self.again += 1
        for relation, columns in news.facts:
            rows = zip(*(column.tolist() for column in columns.values()), strict=True)
            self.facts.setdefault(relation, Counter()).update(tuple(map(repr, row)) for row in rows)
        for gap in news.gaps:
            self.facts.setdefault("instrument_gap", Counter())[tuple(map(repr, gap[:5]))] += 1
        if news.until is not None:
            assert news.until > self.until
            self.until = news.until
        return news

    def drain(self) -> None:
        """Read until nothing is new."""
        while True:
            news = self.read()
            if not news.more:
                return


def compare(found: dict[str, Counter], wanted: dict[str, Counter], until: float = math.inf) -> None:
    """All facts up to a step were handed on, and none that is not there."""
    for name, facts in wanted.items():
        if name in ("run", "process", "instrument_gap", "recorded_steps"):
            continue
        mine = found.get(name, Counter())
        assert not mine - facts, name
        columns = BY_NAME[name].columns if name in BY_NAME else ()
        steps = [at for at, column in enumerate(columns) if column.type == "step"]
        missing = facts - mine
        if until < math.inf:
            missing = Counter({row: n for row, n in missing.items() if steps and int(row[steps[0]]) <= until})
        assert not missing, name


def test_a_run_that_is_over_is_read_as_a_whole(run: Path, tmp_path: Path):
    reader = Reader(run)
    reader.drain()
    assert reader.until == math.inf and reader.follower.steps == STEPS
    wanted = sealed(run, tmp_path)
    compare(reader.facts, wanted)
    assert wanted["own"] and wanted["metric"] and wanted["dropout_call"]
    assert any("Net#1.0.weight" in row for row in map(str, reader.facts["gradient"]))
    assert "own" in reader.follower.covered and "run" not in reader.follower.covered
    # the unfinished step may lack facts
    assert ("0", "'*'", str(STEPS), "-1", "'the run was cut off in this step'") in reader.facts[
        "instrument_gap"
    ]


def test_a_run_that_grows_is_read_step_by_step(run: Path, tmp_path: Path):
    """After each step the files are as a process leaves them in the middle of the next one."""
    wanted = sealed(run, tmp_path)
    at = [column.name for column in BY_NAME["gradient"].columns].index("step")
    second = min(int(row[at]) for row in wanted["gradient"] if "Net#1" in str(row))
    (segment,) = (run / "segments").iterdir()
    growing = tmp_path / "growing"
    create_run(growing, ["python"])
    target = growing / "segments" / segment.name
    target.mkdir(parents=True)
    reader = Reader(growing)
    chance = random.Random(0)
    for step in range(STEPS):
        grow(segment, target, step, chance, named=step >= second)
        reader.drain()
        assert reader.until == step
        assert reader.follower.steps == step + 1
        compare(reader.facts, wanted if step >= second else while_alone(wanted), step)
        # at the beginning, when the script's own relation was met, and when names became ambiguous
        assert reader.again == 2 + (step >= second)
    meta = json.loads((segment / META).read_text())
    for path in segment.iterdir():
        shutil.copy(path, target)
    (target / META).write_text(json.dumps(meta | {"status": "finished"}))
    reader.drain()
    assert reader.until == math.inf
    compare(reader.facts, wanted)


def grow(segment: Path, target: Path, step: int, chance: random.Random, *, named: bool) -> None:
    """Make the files what they may have been when a step was just over."""
    meta = json.loads((segment / META).read_text())
    (target / META).write_text(json.dumps(meta | {"pid": os.getpid(), "status": "running"}))
    shutil.copy(segment / STRINGS, target)
    names = (segment / NAMES).read_bytes()
    (target / NAMES).write_bytes(names if named else names[: names.index(b"Net#1") - 20])
    shutil.copy(segment / "user.bin", target)
    for path in segment.glob("*.rows"):
        relation = BY_NAME[path.stem]
        rows = np.fromfile(path, row_dtype(relation))
        columns = [c for c in relation.columns if c.name != "rank"]
        steps = [at for at, column in enumerate(columns) if column.type == "step"]
        if steps:
            later = rows[f"c{steps[0]}"] > step
            cut = int(np.argmax(later)) if later.any() else len(rows)
        else:
            cut = len(rows)
        if path.stem != "step":
            cut = min(len(rows), cut + chance.randrange(3))
        data = rows[:cut].tobytes()
        torn = rows[cut : cut + 1].tobytes()[:-1][: chance.randrange(20)]
        (target / path.name).write_bytes((data + torn).ljust(len(data) + 4096, b"\0"))


def while_alone(facts: dict[str, Counter]) -> dict[str, Counter]:
    """Some facts with the names that parameters had while the first model was the only one."""
    return {
        name: Counter(
            {tuple(text.replace("'Net.", "'") for text in row): n for row, n in facts[name].items()}
        )
        for name in ("gradient", "update", "optimizer_step", "step")
    }


def test_nothing_is_read_before_a_step_is_over(tmp_path: Path):
    run = tmp_path / "run"
    create_run(run, ["python"])
    assert Follower(run, EVERY).read() == News()
    (run / "segments" / "1-1").mkdir(parents=True)
    assert Follower(run, EVERY).read() == News()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_run_that_is_sealed_while_it_is_read_gives_nothing_more(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
):
    """Its segments are removed: what is missing then is no fact that is not there."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    reader = Reader(copy)
    assert reader.read().again

    def removed(*_given: object) -> None:
        write_manifest(copy, read_manifest(copy).with_(sealed=True))
        shutil.rmtree(copy / "segments")

    if when == "before":
        removed()
    else:
        read = Follower._read
        monkeypatch.setattr(Follower, "_read", lambda follower: removed() or read(follower))
    assert reader.read() == reader.read() == News()
    assert not reader.facts and reader.until == -1


class Segment:
    """A segment with one relation, written by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.relation = BY_NAME["metric"]
        self.dtype = row_dtype(self.relation)
        self.rows = np.zeros(6, self.dtype)
        self.rows["c0"] = range(6)
        self.rows["mark"] = MARK
        (folder / STRINGS).write_bytes(b"\1\0\0\0a")
        self.reader, self.texts = Rows(folder, self.relation), Texts(folder)
        self.write()

    def write(self) -> None:
        (self.folder / "metric.rows").write_bytes(self.rows.tobytes() + bytes(4096))

    def read(self, until: float = math.inf, *, final: bool = False) -> tuple[list[int], Stop]:
        data, stop = self.reader.read(until, self.texts, final=final)
        return data["c0"].tolist(), stop


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    return Segment(tmp_path)


def test_rows_are_read_up_to_a_step(segment: Segment):
    assert segment.read(2) == ([0, 1, 2], Stop.LATER)
    assert segment.read(2) == ([], Stop.LATER)
    assert segment.read() == ([3, 4, 5], Stop.END)
    assert segment.read() == ([], Stop.END)


def test_a_row_that_is_being_written_is_waited_for(segment: Segment, monkeypatch: pytest.MonkeyPatch):
    segment.rows["mark"][2] = 0
    segment.write()
    assert segment.read() == ([0, 1], Stop.TORN)
    assert segment.read() == ([], Stop.TORN)
    segment.rows["mark"][2] = MARK
    segment.write()
    assert segment.read() == ([2, 3, 4, 5], Stop.END)


@pytest.mark.parametrize("final", [True, False])
def test_a_row_that_nobody_will_complete_is_left_out(
    segment: Segment, monkeypatch: pytest.MonkeyPatch, final: bool
):
    segment.rows["mark"][2] = 0
    segment.write()
    if not final:
        assert segment.read() == ([0, 1], Stop.TORN)
        monkeypatch.setattr("tcrules.instrument.growing.PATIENCE_S", 0.0)
        assert segment.read() == ([3, 4, 5], Stop.END)
    else:
        assert segment.read(final=True) == ([0, 1, 3, 4, 5], Stop.END)


def test_a_row_waits_for_its_text(segment: Segment):
    segment.rows["c1"][4:] = 1
    segment.write()
    assert segment.read() == ([0, 1, 2, 3], Stop.END)
    with (segment.folder / STRINGS).open("ab") as file:
        file.write(b"\1\0\0\0b")
    assert segment.read() == ([4, 5], Stop.END)


def test_long_files_are_read_in_portions(segment: Segment):
    segment.rows = np.tile(segment.rows, 2000)
    segment.rows["c0"] = range(len(segment.rows))
    segment.write()
    found: list[int] = []
    stop = Stop.MORE
    while stop is Stop.MORE:
        rows, stop = segment.read()
        found += rows
    assert found == list(range(12000)) and stop is Stop.END


def test_names_that_were_used_must_not_change(tmp_path: Path):
    def block(value: object) -> bytes:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return len(data).to_bytes(4, "little") + data

    (tmp_path / STRINGS).write_bytes(block(b"\1p1") + block(b"\1p2"))
    texts = Texts(tmp_path)
    texts.read()
    assert texts.name({}) and texts.table.tolist() == ["param?1", "param?2", ""]
    texts.use(np.array([0]))
    assert texts.name({"\1p2": "b"})
    assert not texts.name({"\1p1": "a", "\1p2": "b"})


def test_descendants():
    source = "import subprocess, sys; subprocess.run(['sh', '-c', 'sleep 30; true'])"
    process = subprocess.Popen([sys.executable, "-c", source], start_new_session=True)
    try:
        found: list[int] = []
        while len(found) < 2:
            found = descendants(process.pid)
            assert process.poll() is None
        assert os.getpid() not in found and process.pid not in found
        assert process.pid in descendants(os.getpid())
    finally:
        os.killpg(process.pid, 9)
        process.wait()
