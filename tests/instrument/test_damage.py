"""A run whose files are damaged is read as far as it goes, or refused with a message; never a traceback."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tcrules.instrument import session as sessions
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.instrument.runs import coverage, open_run
from torch import nn

from tcrules.cli.main import cli


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randint(1, 40))


def blank(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at : at + 64] = bytes([chance.choice([0, 1, 255])]) * len(data[at : at + 64])


def swap(data: bytearray, chance: random.Random) -> None:
    """Values of JSON become other values."""
    for _ in range(3):
        old = chance.choice([b"1", b"true", b'"', b"[", b"null", b"{", b":", b"e"])
        data[:] = data.replace(
            old, chance.choice([b"null", b"9" * 25, b'"\\ud800"', b"[]", b"-1", b"1e999", b"{}"]), 2
        )


HOWS: list[Callable[[bytearray, random.Random], None]] = [flip, truncate, insert, blank, swap]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small training that was not sealed yet."""
    run = tmp_path_factory.mktemp("damage") / "run"
    create_run(run, ["python", "train.py", "--lr", "0.1"])
    session = sessions.start(run, {"overhead": 0})
    try:
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(4):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            session.emit("mine", {"x": step, "name": "a", "flag": True})
            session.emit("metric", {"name": "loss", "value": 1.5})
    finally:
        sessions.stop()
    write_manifest(run, read_manifest(run).with_(status="finished", ended=1.0))
    return run


def damaged(recorded: Path, target: Path, chance: random.Random, files: list[str]) -> str:
    """Copy the run and damage one or two of its files; returns what was done."""
    shutil.copytree(recorded, target)
    done = []
    for name in chance.sample(files, min(len(files), chance.choice([1, 1, 2]))):
        how, path = chance.choice(HOWS), target / name
        data = bytearray(path.read_bytes())
        how(data, chance)
        path.write_bytes(data)
        done.append(f"{how.__name__} {name}")
    return ", ".join(done)


def files_of(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize("seed", range(6))
def test_damaged_segments(seed: int, recorded: Path, tmp_path: Path):
    chance = random.Random(seed)
    told = [name for name in files_of(recorded) if not name.endswith(".rows")]
    for number in range(8):
        # every row file is alike; those that hold texts and JSON are the interesting ones
        files = told if number % 2 else files_of(recorded)
        what = damaged(recorded, tmp_path / str(number), chance, files)
        try:
            folder = open_run(tmp_path / str(number))
            coverage(folder)
            folder.describe()
        except RunError as fault:
            assert fault.help, what
            assert "run.json" in what, f"{what}: {fault}"
        except Exception as fault:
            raise AssertionError(what) from fault


def command(words: list[Any]) -> int:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code in (0, 1, 2), result.exception
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "itself failed" not in result.output, result.output
    assert result.exit_code < 2 or result.output
    return result.exit_code


def test_commands_on_damaged_segments(recorded: Path, tmp_path: Path):
    chance, codes = random.Random(99), []
    for number in range(6):
        run = tmp_path / str(number)
        damaged(recorded, run, chance, files_of(recorded))
        codes.append(command(["check", run, "--only", "optimizer"]))
        codes.append(command(["query", run, "optimizer_step(nth: N)"]))
    assert codes.count(0) > 2, "most of a run is still there"


def test_commands_on_damaged_facts(recorded: Path, tmp_path: Path):
    shutil.copytree(recorded, tmp_path / "sealed")
    open_run(tmp_path / "sealed")
    chance = random.Random(5)
    files = ["facts/optimizer_step.parquet", "facts/step.parquet", "facts/instrument_gap.parquet", "run.json"]
    for number in range(10):
        run = tmp_path / str(number)
        damaged(tmp_path / "sealed", run, chance, files)
        command(["check", run, "--only", "optimizer"])


def test_names_from_a_segment_do_not_leave_the_folder(recorded: Path, tmp_path: Path):
    """Neither as paths of files nor as SQL."""
    shutil.copytree(recorded, tmp_path / "run")
    (segment,) = (tmp_path / "run" / "segments").iterdir()
    hostile = [
        "../../x",
        'x" (a INT); DROP TABLE step; --',
        "x'y",
        "/tmp/x",
        "",
        "step",
        "incoming",
        "a.b",
        3,
        None,
    ]
    lines = [json.dumps([name, {"x": 1}]) for name in hostile]
    lines += [json.dumps(["fine", {name: 1}]) for name in ('a" INT', "fact", "rank", "A", "a b") if name]
    lines += [
        "[" * 100_000,
        '["deep", ' + '{"a":' * 50_000,
        '["fine", {"x": [1]}]',
        '["fine", {"x": null}]',
        '["fine", {"x": 1}]',
    ]
    (segment / "user.bin").write_text("\n".join(lines) + "\n")
    meta = json.loads((segment / "meta.json").read_text())
    meta |= {
        "rank": 10**30,
        "world_size": 10**12,
        "covers": [{}],
        "argv": [3],
        "pid": "x",
        "started": float("nan"),
    }
    (segment / "meta.json").write_text(json.dumps(meta | {"distributed": True}))
    folder = open_run(tmp_path / "run")
    assert sorted(folder.relations().keys() - {path.stem for path in _schema()}) == ["fine", "incoming"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert len(coverage(folder).gaps) < 100 and len(folder.notes) < 100


def _schema() -> list[Path]:
    from tcrules.instrument.schema import RELATIONS

    return [Path(relation.name) for relation in RELATIONS]
