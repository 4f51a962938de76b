"""A compacted run has the same facts, whatever state it was in and wherever it was killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from tcrules.instrument import compacting
from tcrules.instrument.compacting import compact, disk_size
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.instrument.runs import coverage, open_run
from tcrules.instrument.sink import Sink
from tcrules.instrument.userfacts import encode_fact

DEAD = 2**22 + 1


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two processes that was killed: segments, nothing sealed."""
    path = tmp_path / "run 'a' [1]*"
    create_run(path, ["python", "train.py"])
    for rank in (0, 1):
        about = {"pid": DEAD, "started": float(rank), "status": "running", "role": "trainer", "rank": rank,
                 "world_size": 2, "distributed": True, "covers": ["step", "call", "metric"]}  # fmt: skip
        sink = Sink(path / "segments" / f"{DEAD}-{rank}", describe=lambda about=about: about)
        for number in range(1, 1000):
            sink.writer("call")(
                number, f"api{number % 7}", "thing", 0, number // 10, number, number + 3, False
            )
            sink.writer("metric")(number // 10, "loss", float("nan") if number % 5 == 0 else 1 / number)
        sink.append("user.bin", encode_fact("mine", {"x": 1, "text": "ä\n'", "value": float("inf")}))
        sink.close()
    write_manifest(path, read_manifest(path).with_(status="killed", pid=DEAD))
    return path


def exactly(path: Path) -> str:
    """The path as a pattern that matches only itself."""
    return "".join(f"[{c}]" if c in "[*?" else c for c in str(path))


def everything(run: Path) -> dict[str, list[tuple[object, ...]]]:
    """All facts by relation, as texts: NaN is no number that equals itself."""
    found = {}
    for name, path in open_run(run).relations().items():
        rows = duckdb.read_parquet(exactly(path)).order("fact")
        found[name] = [tuple(map(str, row)) for row in rows.fetchall()]
        found[f"{name} columns"] = list(zip(rows.columns, map(str, rows.types), strict=True))
    return found


def test_every_fact_stays(run: Path):
    aside = run.parent / "aside" / run.name
    shutil.copytree(run, aside)
    expected = everything(aside)  # sealed by opening, not compacted
    sizes = compact(run)
    assert everything(run) == expected
    assert coverage(open_run(run)) == coverage(open_run(aside))
    assert sizes.after == disk_size(run) < sizes.before
    assert sorted(path.name for path in run.iterdir()) == ["facts", "run.json"]
    assert compact(run).after == sizes.after  # nothing left to do


def test_files_of_older_versions_become_smaller(run: Path):
    facts = open_run(run).facts
    expected = everything(run)
    with duckdb.connect() as connection:
        for path in sorted(facts.glob("*.parquet")):
            order = "api" if path.stem == "call" else "fact"
            rows = connection.read_parquet(exactly(path)).order(order)
            rows.write_parquet(str(run.parent / path.name), compression="uncompressed")
    for path in sorted(facts.glob("*.parquet")):
        os.replace(run.parent / path.name, path)
    sizes = compact(run)
    assert sizes.after < sizes.before / 3
    assert everything(run) == expected


@pytest.mark.parametrize("after", [0, 2, 4, 5, 6, 7, 9])
def test_a_kill_in_the_middle_leaves_the_run_whole(run: Path, after: int, monkeypatch: pytest.MonkeyPatch):
    expected = everything(shutil.copytree(run, run.parent / "aside" / run.name))
    left = [after]

    def dying(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object, **more: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            function(*arguments, **more)

        return call

    with monkeypatch.context() as patched:
        for name in ("replace", "rename"):
            patched.setattr(os, name, dying(getattr(os, name)))
        patched.setattr(shutil, "rmtree", dying(shutil.rmtree))
        try:
            compact(run)
        except KeyboardInterrupt:
            pass
    assert everything(run) == expected
    compact(run)
    assert everything(run) == expected


def test_leftovers_of_killed_writers_go_and_those_of_others_stay(run: Path):
    for name in (
        f".facts-{DEAD}",
        f".old-{DEAD}",
        f".compact-{DEAD}",
        f".facts-{os.getppid()}",
        "mine",
        ".git",
    ):
        (run / name).mkdir()
    (run / f".run.json.{DEAD}").write_text("{}")
    compact(run)
    assert {path.name for path in run.iterdir()} == {
        "facts",
        "run.json",
        f".facts-{os.getppid()}",
        "mine",
        ".git",
    }


def test_what_cannot_be_compacted(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RunError, match="there is no run"):
        compact(tmp_path / "none")
    create_run(tmp_path / "going", ["python"])
    with pytest.raises(RunError, match="still being written"):
        compact(tmp_path / "going")
    compact(run)
    before = everything(run)
    monkeypatch.setattr(
        compacting,
        "SMALLEST",
        compacting.SMALLEST.replace("zstd", "gzip").replace(", COMPRESSION_LEVEL 15", ""),
    )
    monkeypatch.setattr(compacting, "_digest", lambda _connection, path: path)
    monkeypatch.setattr(compacting, "_is_smaller", lambda new, old: True)
    with pytest.raises(RunError, match="reads differently"):
        compact(run)
    assert everything(run) == before
