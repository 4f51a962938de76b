"""Storage that fails: full, read-only, shared, damaged. Training goes on, and what was written can be read."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from click.testing import CliRunner
from tcrules.instrument import runs
from tcrules.instrument import session as sessions
from tcrules.instrument import sink as sinks
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import create_run, read_manifest, write_manifest
from tcrules.instrument.runs import coverage, open_run
from tcrules.instrument.seal import seal
from tcrules.instrument.segments import Segment, read_segments
from tcrules.instrument.session import Session
from tcrules.instrument.sink import Sink
from tcrules.instrument.watching import watch
from torch import nn

from tcrules.cli.main import cli


def train(steps: int = 12, after: Callable[[int], object] = lambda _step: None) -> list[Any]:
    """Train; returns what it leaves behind. Each step names something new."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        session = sessions.current()
        if session is not None:
            session.put("zero_grad")(0, f"thing {step}", session.clock.step, 0, True)
        after(step)
    return [losses, [p.tolist() for p in model.parameters()], torch.get_rng_state().tolist()]


def rows(facts: Path, relation: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        path = str(facts / f"{relation}.parquet")
        return connection.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY fact", [path]).fetchall()


# ---------------------------------------------------------------------------- full


def assert_whole(segment: Segment) -> None:
    """No fact has a text that could not be written."""
    texts = segment.names(frozenset())
    named = [texts[row[1]] for row in segment.rows("zero_grad").tolist()]
    assert [name for name in named if name.startswith("thing")] == [
        f"thing {n}" for n in range(sum(name.startswith("thing") for name in named))
    ]
    assert all(name.startswith(("thing", "Adam#0")) for name in named)


@pytest.mark.parametrize("seed", range(8))
def test_a_disk_that_is_full_at_some_moment(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever is reserved or written fails from a random moment on."""
    expected, chance = train(), random.Random(seed)
    budget = chance.randrange(300)
    left = [budget]

    def limited(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "no space")
            return original(*arguments)

        return call

    run = tmp_path / "run"
    create_run(run, ["python"])
    for owner, name in ((os, "write"), (os, "posix_fallocate")):
        monkeypatch.setattr(owner, name, limited(getattr(owner, name)))
    session = sessions.start(run, {"overhead": 0})
    try:
        assert train() == expected
    finally:
        sessions.stop()
    monkeypatch.undo()
    found, notes = read_segments(run)
    if found:
        assert_whole(found[0])
        texts = found[0].texts
        gaps = {(texts[row[0]], texts[row[-2]]) for row in found[0].rows("instrument_gap").tolist()}
        assert left[0] >= 0 or ("*", sinks.WHY_SPACE) in gaps or {why for _, why in gaps} == {sinks.WHY_SPACE}
        assert sum(len(found[0].rows(name)) for name in ("forward", "update")) or budget < 250
    else:
        assert not session.sink.folder.exists() or notes
    folder = open_run(run)
    assert not coverage(folder).complete or left[0] >= 0 or coverage(folder).gaps


def test_a_budget_that_ends_in_a_text(tmp_path: Path):
    """A fact whose text does not fit is not written with another one in its place."""
    for limit in range(40_000, 70_000, 1_700):
        sink = Sink(tmp_path / str(limit), limit=limit)
        told: list[tuple[str, str]] = []
        sink.on_stop = lambda relation, why, told=told: told.append((relation, why))
        write = sink.writer("zero_grad")
        for n in range(3000):
            write(n, f"thing {n}", 0, 0, True)
        sink.close()
        assert told and {why for _, why in told} == {sinks.WHY_LIMIT}
        assert_whole(Segment(sink.folder, {}))


def test_gaps_have_room_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    session = Session(tmp_path / "run")
    session.put("step")(0, 1, 2)
    monkeypatch.setattr(sinks, "_reserve", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    for n in range(sessions.MAX_GAPS):
        session.gap("step", f"reason {n}")
    assert len(Segment(session.sink.folder, {}).rows("instrument_gap")) == sessions.MAX_GAPS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_real_disk_that_is_full(small_disk: Path):
    expected = train(100)
    with watch(run=small_disk / "run"):
        assert train(100) == expected
    folder = open_run(small_disk / "run")
    assert folder.facts.parent != small_disk / "run", "the facts find room elsewhere"
    gaps = coverage(folder).gaps
    assert sinks.WHY_SPACE in {gap.why for gap in gaps}
    assert len(rows(folder.facts, "forward")) > 5
    result = CliRunner().invoke(cli, ["check", str(small_disk / "run"), "--only", "optimizer"])
    assert result.exit_code in (0, 2), result.output
    assert "itself failed" not in result.output


def test_a_limit_on_the_size_of_files(tmp_path: Path):
    script = f"""
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40000, resource.RLIM_INFINITY))
from pathlib import Path
from tcrules.instrument.session import Session
session = Session(Path({str(tmp_path / "run")!r}))
put = session.put("step")
for step in range(5000):
    put(step, 0, 0)
session.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    (segment,), _ = read_segments(tmp_path / "run")
    assert len(segment.rows("step")) > 1000 and segment.meta["status"] == "finished"
    assert [segment.texts[row[-2]] for row in segment.rows("instrument_gap").tolist()] == [sinks.WHY_SPACE]
    assert resource.getrlimit(resource.RLIMIT_FSIZE) and signal.SIGXFSZ


def test_a_folder_that_cannot_be_written_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected, run = train(), tmp_path / "run"
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(run)):
            raise OSError(errno.EROFS, "read-only")
        return real(path, flags, *rest)

    create_run(run, ["python"])
    sessions.start(run, {"overhead": 0})
    try:
        found = train(after=lambda step: step == 3 and monkeypatch.setattr(os, "open", read_only))
    finally:
        sessions.stop()
        monkeypatch.undo()
    assert found == expected
    (segment,), _ = read_segments(run)
    assert_whole(segment)


def test_a_folder_that_was_removed(tmp_path: Path):
    expected, run = train(), tmp_path / "run"
    create_run(run, ["python"])
    sessions.start(run, {"overhead": 0})
    try:
        assert train(after=lambda step: step == 3 and shutil.rmtree(run)) == expected
    finally:
        sessions.stop()
    assert not run.exists()


def test_descriptors_that_the_program_closed(tmp_path: Path):
    """A daemon closes all that it did not open; what it opens then has the numbers of ours."""
    sink = Sink(tmp_path / "segment")
    write = sink.writer("zero_grad")
    write(0, "thing 0", 0, 0, True)
    descriptor, _ = sink._files["strings.bin"]
    os.close(descriptor)
    other = os.open(tmp_path / "precious", os.O_CREAT | os.O_RDWR)
    assert other == descriptor, "the lowest free number"
    write(1, "thing 1", 0, 0, True)
    os.close(other)
    write(2, "thing 2", 0, 0, True)
    sink.close()
    assert (tmp_path / "precious").read_bytes() == b""
    assert_whole(Segment(sink.folder, {}))


# ---------------------------------------------------------------------------- shared


def test_two_runs_do_not_begin_in_one_folder(tmp_path: Path):
    for attempt in range(20):
        run, faults = tmp_path / str(attempt), []
        begin = threading.Barrier(4)

        def create(run: Path = run, faults: list[Any] = faults, begin: threading.Barrier = begin) -> None:
            begin.wait()
            try:
                create_run(run, ["python"])
            except RunError as refused:
                faults.append(refused.help)

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(faults) == 3 and all(faults)
        assert read_manifest(run).status == "running"


def test_a_run_that_goes_on_is_not_replaced(tmp_path: Path):
    run = tmp_path / "run"
    with watch(run=run):
        with pytest.raises(RunError, match="still going on"):
            create_run(run, ["python"], overwrite=True)
        with pytest.raises(RunError, match="exists"):
            create_run(run, ["python"])
        train(3)
    # its recorder has ended, but a process that it left behind records on
    session = Session(run)
    session.put("step")(9, 1, 2)
    with pytest.raises(RunError, match="still going on"):
        create_run(run, ["python"], overwrite=True)
    session.close()
    write_manifest(run, read_manifest(run).with_(status="running", host="elsewhere", pid=1))
    with pytest.raises(RunError, match="elsewhere"):
        create_run(run, ["python"], overwrite=True)
    write_manifest(run, read_manifest(run).with_(status="finished"))
    create_run(run, ["python"], overwrite=True)
    assert not (run / "facts").exists()


def test_ranks_do_not_join_a_job_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = tmp_path / "run"
    create_run(run, ["python"])
    with watch(run=run):
        pass  # created by the other rank, which is alive
    write_manifest(run, read_manifest(run).with_(status="running", pid=2**22 + 1))
    with pytest.raises(RunError, match="exists"), watch(run=run):
        pass


def test_two_processes_never_share_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every container has a process of this number, and a clock may stand still."""
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    first, second = Session(tmp_path / "run"), Session(tmp_path / "run")
    first.put("step")(1, 0, 0)
    second.put("step")(2, 0, 0)
    first.put("step")(3, 0, 0)
    found = [
        [row[0] for row in segment.rows("step").tolist()] for segment in read_segments(tmp_path / "run")[0]
    ]
    assert found == [[1, 3], [2]]


def test_readers_that_convert_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = tmp_path / "run"
    create_run(run, ["python"])
    session = Session(run)
    for step in range(100):
        session.put("step")(step, 0, 0)
    session.close()
    write_manifest(run, read_manifest(run).with_(status="finished"))
    removing = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: (time.sleep(0.02), removing(*a, **k)))
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(rows(open_run(run).facts, "step"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [100] * 4 and len(rows(open_run(run).facts, "step")) == 100


def test_a_process_that_begins_while_its_run_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = tmp_path / "run"
    create_run(run, ["python"])
    session = Session(run)
    session.put("step")(0, 0, 0)
    session.close()
    write_manifest(run, read_manifest(run).with_(status="finished"))
    from tcrules.instrument import seal as sealing

    late, original = Session(run), sealing.write_facts
    monkeypatch.setattr(sealing, "write_facts", lambda *a: (original(*a), late.put("step")(1, 0, 0))[0])
    assert not seal(run).sealed
    monkeypatch.undo()
    late.close()
    assert len(rows(open_run(run).facts, "step")) == 2


# ---------------------------------------------------------------------------- clocks, readers


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [2_000_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "time_ns", lambda: int(now[0] * 1e9))

    def back(_step: int) -> None:
        now[0] -= 3600

    with watch(run=tmp_path / "run"):
        train(4, after=back)
        worker = Session(tmp_path / "run")  # as a loader's worker would, an hour before its parent
        worker.mark_worker()
        worker.put("worker_rng")("DataLoader#0", 0, 0, "torch", 1, True)
        worker._describe = dict  # type: ignore[method-assign]
        worker.close()
    folder = open_run(tmp_path / "run")
    assert folder.manifest.status == "finished" and coverage(folder).complete
    begins = [row[0] for row in rows(folder.facts, "step", "begin")]
    assert begins == sorted(begins) and len(begins) == 4
    assert folder.describe()


def test_a_live_run_is_read_again_and_again(tmp_path: Path):
    """Also by commands, which leave it as it is; and once more when it has ended."""
    run, counts, codes = tmp_path / "run", [], []

    def read(step: int) -> None:
        if step % 10 != 5:
            return
        files = sorted(run.rglob("*"))
        counts.append(len(rows(open_run(run).facts, "optimizer_step")))
        asked = CliRunner().invoke(cli, ["query", str(run), "optimizer_step(nth: N)"])
        checked = CliRunner().invoke(cli, ["check", str(run), "--only", "optimizer"])
        codes.extend([asked.exit_code, checked.exit_code])
        assert sorted(run.rglob("*")) == files

    with watch(run=run):
        train(30, after=read)
    assert counts == [6, 16, 26] and set(codes) == {0}
    folder = open_run(run)
    assert len(rows(folder.facts, "optimizer_step")) == 30 and folder.notes == ()
    assert CliRunner().invoke(cli, ["check", str(run), "--only", "optimizer"]).exit_code == 0
    assert runs.read_run(run).manifest.sealed
