"""Segments become Parquet: ranks, names, call ids, notes, and every kind of broken folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tcrules.instrument import runs
from tcrules.instrument.errors import RunError
from tcrules.instrument.layout import USER
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.instrument.names import Names
from tcrules.instrument.runs import coverage, open_run, read_run
from tcrules.instrument.schema import RELATIONS, TYPES
from tcrules.instrument.sink import Sink
from tcrules.instrument.userfacts import encode_fact

DEAD = 2**22 + 1  # beyond the largest process id of Linux


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    create_run(path, ["python", "train.py", "--lr", "0.1", "--hf-token", "s3cret"])
    return path


def process(run: Path, pid: int, *, steps: int = 2, close: bool = True, **meta: Any) -> Sink:
    """Write the segment of a process with some steps and calls, and one parameter."""
    about = {
        "pid": pid, "ppid": 1, "started": float(pid), "status": "finished" if close else "running", "role": "trainer",
        "rank": 0, "world_size": 1, "distributed": False, "covers": ["step", "call", "parameter"],
        "argv": ["python", "-u", "train.py", "--lr", "0.1"], "torch": "2.13.0", **meta,
    }  # fmt: skip
    sink = Sink(run / "segments" / f"{pid}-1", describe=lambda: about)
    names = Names(lambda data: sink.append("names.bin", data))
    for step in range(steps):
        sink.writer("step")(step, 10 * step, 10 * step + 9)
        sink.writer("call")(step + 1, "api", "", step, step, 0, 1, False)
    handle = names._next("m")
    names._record(handle, "", "Net")
    param = names._next("p")
    names._record(param, handle, "fc.weight")
    sink.writer("trainability")(param, 0, 1, True)
    if close:
        sink.close()
    return sink


def finish(run: Path, status: str = "finished", code: int = 0) -> None:
    write_manifest(run, read_manifest(run).with_(status=status, exit_code=code, pid=DEAD))


def rows(folder: runs.RunFolder, relation: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        path = str(folder.facts / f"{relation}.parquet")
        return connection.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY fact", [path]).fetchall()


def test_two_ranks(run: Path):
    for rank in (1, 0):
        process(run, 100 + rank, rank=rank, world_size=2, distributed=True)
    finish(run)
    folder = open_run(run)
    assert folder.notes == () and coverage(folder).complete
    assert rows(folder, "step", "rank, step") == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert rows(folder, "call", "call, parent") == [
        (1, 0),
        (2, 1),
        ((1 << 40) + 1, 0),
        ((1 << 40) + 2, (1 << 40) + 1),
    ]
    assert rows(folder, "trainability", "rank, param") == [(0, "fc.weight"), (1, "fc.weight")]
    assert rows(folder, "process", "rank, pid, role, world_size") == [
        (0, 100, "trainer", 2),
        (1, 101, "trainer", 2),
    ]
    assert rows(folder, "config", "rank, key, value") == [(0, "lr", "0.1"), (1, "lr", "0.1")]
    assert rows(folder, "run", "run, command, status, torch") == [
        ("run", "python train.py --lr 0.1 --hf-token '…'", "finished", "2.13.0")
    ]
    assert not (run / "segments").exists() and read_run(run).manifest == folder.manifest
    assert folder.describe().startswith("2 processes, 2 steps, 15 facts, ")


def test_every_relation_has_its_columns_and_facts_have_unique_ids(run: Path):
    process(run, 7)
    finish(run)
    folder = open_run(run)
    sql = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}
    ids = []
    with duckdb.connect() as connection:
        for relation in RELATIONS:
            path = str(folder.relations()[relation.name])
            columns = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
            expected = [("fact", "BIGINT"), *((c.name, sql[TYPES[c.type]]) for c in relation.columns)]
            assert [column[:2] for column in columns] == expected
            ids += [row[0] for row in rows(folder, relation.name, "fact")]
    assert len(ids) == len(set(ids)) > 0


def test_a_rank_that_was_killed_or_is_missing_is_noted(run: Path):
    process(run, DEAD, steps=3, rank=0, world_size=3, distributed=True)
    process(run, DEAD + 1, steps=1, rank=1, world_size=3, distributed=True, close=False)
    finish(run, "failed", 1)
    folder = open_run(run)
    assert folder.notes == (
        "the command failed with exit code 1", "rank 1 was killed", "rank 2 of 3 is missing",
        "rank 1 has 1 steps, rank 0 has 3",
    )  # fmt: skip
    assert not coverage(folder).complete


def test_independent_processes_and_workers(run: Path):
    process(run, 10)
    process(run, 11)
    worker = Sink(
        run / "segments" / "12-1", describe=lambda: {"pid": 12, "ppid": 11, "started": 12.0, "role": "worker"}
    )
    worker.writer("worker_rng")("DataLoader#0", 0, 0, "torch", 1, True)
    worker.close()
    launcher = Sink(run / "segments" / "9-1", describe=lambda: {"pid": 9, "started": 9.0})
    launcher.writer("seed")(1, "torch.manual_seed", 0, 0, 0)
    launcher.close()
    finish(run)
    folder = open_run(run)
    assert rows(folder, "process", "rank, pid, role") == [
        (0, 10, "trainer"),
        (1, 11, "trainer"),
        (1, 12, "worker"),
    ]
    assert folder.notes == ("another process reported rank 0 too; it is shown as rank 1 (pid 11)",)
    assert rows(folder, "worker_rng", "rank") == [(1,)]
    assert rows(folder, "seed") == []


def test_user_facts(run: Path):
    sink = process(run, 5, close=False)
    facts: list[tuple[str, dict[str, Any]]] = [
        ("metric", {"step": 3, "name": "loss", "value": float("nan")}), ("mine", {"a": 1, "b": True}),
        ("mine", {"a": 2.5, "c": "x"}), ("mine", {"a": "text"}),
    ]  # fmt: skip
    for name, fact in facts[:3]:
        sink.append(USER, encode_fact(name, fact))
    sink.append(USER, b'["torn", {"a"')
    sink.close()
    finish(run)
    folder = open_run(run)
    assert [(step, str(value)) for step, value in rows(folder, "metric", "step, value")] == [(3, "nan")]
    assert rows(folder, "mine", "rank, a, b, c") == [(0, 1.0, True, ""), (0, 2.5, False, "x")]
    assert {"mine", "metric"} <= coverage(folder).recorded
    assert "mine: facts without b, c were given the neutral value" in folder.notes


def test_a_run_that_goes_on_is_read_without_touching_it(run: Path):
    sink = process(run, os.getpid(), close=False)
    before = sorted(str(path) for path in run.rglob("*"))
    folder = open_run(run)
    assert len(rows(folder, "step")) == 2 and "the run is still going on" in folder.notes
    sink.writer("step")(2, 0, 0)
    assert len(rows(open_run(run), "step")) == 3
    assert sorted(str(path) for path in run.rglob("*")) == before and not coverage(folder).complete


def test_a_run_whose_recorder_was_killed(run: Path):
    process(run, DEAD, close=False)
    write_manifest(run, read_manifest(run).with_(pid=DEAD, host=platform.node()))
    folder = open_run(run)
    assert folder.notes[0] == "the run was killed" and len(rows(folder, "step")) == 2


def test_a_run_of_another_host_is_left_alone(run: Path):
    process(run, 5, close=False)
    write_manifest(run, read_manifest(run).with_(pid=DEAD, host="elsewhere"))
    folder = open_run(run)
    assert folder.notes[0] == "the run has not ended, or was killed, on host elsewhere"
    assert len(rows(folder, "step")) == 2 and (run / "segments" / "5-1").exists()


def test_a_folder_that_cannot_be_written(run: Path, monkeypatch: pytest.MonkeyPatch):
    process(run, 5)
    finish(run)
    monkeypatch.setattr(runs.os, "access", lambda *_: False)  # root may write everywhere
    folder = open_run(run)
    assert folder.facts.parent != run and len(rows(folder, "step")) == 2 and (run / "segments").exists()


def test_a_process_that_still_writes_keeps_its_segment(run: Path):
    sink = process(run, os.getpid(), close=False)
    finish(run)
    assert len(rows(open_run(run), "step")) == 2
    sink.writer("step")(2, 0, 0)
    sink.close()
    assert len(rows(open_run(run), "step")) == 3


def test_junk_in_segments_is_left_out(run: Path):
    process(run, 5)
    junk = run / "segments" / "6-1"
    junk.mkdir()
    (junk / "meta.json").write_bytes(b"\xff\xfe{")
    for name in ("call.rows", "strings.bin", "names.bin", "user.bin", "unknown.rows"):
        (run / "segments" / "5-1" / name).open("ab").write(bytes(range(256)) * 9)
    (run / "segments" / "5-1" / "step.rows").write_bytes(os.urandom(9999))
    finish(run)
    folder = open_run(run)
    assert "segments/6-1 is damaged and was left out" in folder.notes
    assert ("fc.weight",) in rows(folder, "trainability", "param")


def test_an_empty_run(run: Path):
    finish(run)
    folder = open_run(run)
    assert folder.notes == ("no process that trains was traced",)
    cover = coverage(folder)
    assert not cover.complete and cover.gaps == ()


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def with_entry(name: str, value: object) -> Callable[[Path], None]:
    return lambda run: rewrite(
        run / "run.json", lambda data: json.dumps({**json.loads(data), name: value}).encode()
    )


def clear(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


#: Ways to break a sealed run.
BREAKS: dict[str, Callable[[Path], object]] = {
    "missing": shutil.rmtree,
    "empty": clear,
    "foreign": lambda run: (run / "run.json").unlink(),
    "foreign json": lambda run: rewrite(run / "run.json", lambda _: b"[1]"),
    "truncated": lambda run: rewrite(run / "run.json", lambda data: data[:50]),
    "binary": lambda run: rewrite(run / "run.json", lambda _: os.urandom(500)),
    "deep": lambda run: rewrite(run / "run.json", lambda _: b"[" * 100_000),
    "version": with_entry("schema", 99),
    "types": with_entry("status", 3),
    "no facts": lambda run: shutil.rmtree(run / "facts"),
    "a relation is missing": lambda run: (run / "facts" / "step.parquet").unlink(),
    "cut facts": lambda run: rewrite(run / "facts" / "step.parquet", lambda data: data[:-9]),
    "short facts": lambda run: rewrite(run / "facts" / "step.parquet", lambda _: b"P"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_unusable_folders_are_explained(run: Path, how: str):
    process(run, 5)
    finish(run)
    open_run(run)
    BREAKS[how](run)
    with pytest.raises(RunError) as caught:
        open_run(run)
    assert str(run) in caught.value.message and caught.value.help


def test_a_file_is_no_run(run: Path):
    with pytest.raises(RunError, match=r"run\.json' is a file"):
        open_run(run / "run.json")


def nested_calls(run: Path, number: int) -> None:
    """A process with calls as a training loop leaves them: 24 in a step, nested, written when they end."""
    about = {
        "pid": 1,
        "started": 1.0,
        "status": "finished",
        "role": "trainer",
        "covers": ["call", "location"],
    }
    sink = Sink(run / "segments" / "1-1", describe=lambda: about)
    call, location = sink.writer("call"), sink.writer("location")
    time = 0
    for first in range(1, number, 24):
        for place in [*range(1, 24), 0]:  # the outermost call is the last one to end
            time += 1 + (first * place) % 5
            parent = 0 if place == 0 else first
            begin = time - (3 + (first + place) % 7)
            call(
                first + place,
                f"torch.api_{place}",
                f"Model.layer{place % 9}",
                parent,
                first // 24,
                begin,
                time,
                False,
            )
            location(first + place, "/work/train.py", 40 + place, "main")
    sink.close()


def test_call_facts_are_small(run: Path):
    nested_calls(run, 48_000)
    finish(run)
    facts = open_run(run).facts
    size = sum((facts / f"{name}.parquet").stat().st_size for name in ("call", "location"))
    assert size / 48_000 < 6  # a million calls with their lines: below 10 MB
