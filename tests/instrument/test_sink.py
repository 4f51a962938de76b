"""Facts survive whatever happens to the process that writes them."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from tcrules.instrument import sink as sinks
from tcrules.instrument.layout import row_dtype
from tcrules.instrument.schema import BY_NAME
from tcrules.instrument.segments import Segment
from tcrules.instrument.sink import Sink


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "segments" / "1-1"


def steps(folder: Path) -> list[int]:
    return [int(step) for step in Segment(folder, {}).rows("step")["c0"]]


def test_nothing_is_created_before_the_first_fact(folder: Path):
    sink = Sink(folder)
    sink.writer("step")
    sink.write_meta()
    sink.close()
    assert not folder.exists()


def test_round_trip_of_all_types(folder: Path):
    sink = Sink(folder)
    sink.writer("backward")(1, 2, 3, 4, float("-inf"), False, -(2**63))
    sink.writer("zero_grad")(7, "AdamW#0", 8, 9, True)
    sink.close()
    segment = Segment(folder, {})
    assert segment.rows("backward")[0].tolist() == (1, 2, 3, 4, float("-inf"), 0, -(2**63), 1)
    call, name, *rest = segment.rows("zero_grad")[0].tolist()
    assert (call, segment.texts[name], rest) == (7, "AdamW#0", [8, 9, 1, 1])
    assert (folder / "step.rows").exists() is False
    assert (folder / "backward.rows").stat().st_size == row_dtype(BY_NAME["backward"]).itemsize


def test_files_grow_and_keep_the_order(folder: Path):
    sink = Sink(folder)
    write = sink.writer("step")
    for step in range(50_000):
        write(step, 0, 0)
    assert steps(folder) == list(range(50_000)), "readable while it is being written"
    sink.close()
    assert steps(folder) == list(range(50_000))
    write(1, 2, 3)
    assert len(steps(folder)) == 50_000, "nothing is written after the end"


def test_a_wrong_fact_is_refused_and_harms_no_other(folder: Path):
    sink = Sink(folder)
    write, gap = sink.writer("step"), sink.writer("instrument_gap")
    write(1, 0, 0)
    for wrong in [(2, 0), ("x", 0, 0), (2**63, 0, 0), (None, 0, 0)]:
        with pytest.raises((TypeError, struct.error)):
            write(*wrong)
    for text in [None, 3, ["a"]]:
        with pytest.raises(TypeError):
            gap(text, 0, 0, "why")
    write(2, 0, 0)
    with pytest.raises(KeyError):
        sink.writer("no_such_relation")
    assert steps(folder) == [1, 2]


def test_torn_rows_and_texts_are_left_out(folder: Path):
    sink = Sink(folder)
    write, zero = sink.writer("step"), sink.writer("zero_grad")
    for step in range(4):
        write(step, 0, 0)
        zero(step, f"object {step}", 0, 0, False)
    sink.close()
    size = row_dtype(BY_NAME["step"]).itemsize
    data = bytearray((folder / "step.rows").read_bytes())
    data[2 * size - 1] = 0
    (folder / "step.rows").write_bytes(data[:-1])
    assert steps(folder) == [0, 2]
    texts = (folder / "strings.bin").read_bytes()
    (folder / "strings.bin").write_bytes(texts[:-3])
    assert [int(call) for call in Segment(folder, {}).rows("zero_grad")["c0"]] == [0, 1, 2]


def test_threads_lose_and_mix_nothing(folder: Path):
    sink = Sink(folder)
    write = sink.writer("zero_grad")

    def work(thread: int) -> None:
        for i in range(3000):
            write(thread * 10_000 + i, f"{thread}.{i % 700}", thread, i, False)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    segment = Segment(folder, {})
    rows = segment.rows("zero_grad").tolist()
    assert sorted(row[0] for row in rows) == [n * 10_000 + i for n in range(4) for i in range(3000)]
    assert all(segment.texts[row[1]] == f"{row[2]}.{row[3] % 700}" for row in rows)
    per_thread = [[row[3] for row in rows if row[2] == n] for n in range(4)]
    assert all(a < b for order in per_thread for a, b in pairwise(order))


def test_kill_9_loses_nothing(tmp_path: Path):
    script = f"""
import os, signal
from pathlib import Path
from tcrules.instrument.sink import Sink
sink = Sink(Path({str(tmp_path / "s")!r}))
write = sink.writer("zero_grad")
for i in range(12345):
    write(i, f"name {{i % 5000}}", 0, 0, True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", script], check=False)
    assert result.returncode == -signal.SIGKILL
    segment = Segment(tmp_path / "s", {})
    rows = segment.rows("zero_grad").tolist()
    assert [row[0] for row in rows] == list(range(12345))
    assert all(segment.texts[row[1]] == f"name {row[0] % 5000}" for row in rows)


def test_a_full_disk_stops_recording_with_a_gap(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    sink = Sink(folder)
    stopped: list[tuple[str, str]] = []
    sink.on_stop = lambda relation, why: stopped.append((relation, why))
    write = sink.writer("step")
    write(0, 0, 0)
    monkeypatch.setattr(sinks, "_reserve", full)
    for step in range(1, 5000):
        write(step, 0, 0)
    kept = steps(folder)
    assert kept == list(range(len(kept))) and 100 < len(kept) < 5000
    assert stopped == [("step", sinks.WHY_SPACE)]
    monkeypatch.setattr(os, "write", full)
    sink.writer("zero_grad")(1, "a new name", 0, 0, False)
    assert stopped[1:] == [("*", sinks.WHY_SPACE)]


def test_the_budget_is_kept(folder: Path):
    sink = Sink(folder, limit=100_000)
    stopped: list[str] = []
    sink.on_stop = lambda relation, _why: stopped.append(relation)
    write = sink.writer("step")
    for step in range(20_000):
        write(step, 0, 0)
    assert stopped == ["step"]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 110_000


def test_many_texts_do_not_fill_memory(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sinks, "MAX_STRINGS", 200)
    sink = Sink(folder)
    stopped: list[tuple[str, str]] = []
    sink.on_stop = lambda relation, why: stopped.append((relation, why))
    for i in range(500):
        sink.writer("zero_grad")(i, f"name {i}", 0, 0, True)
    segment = Segment(folder, {})
    names = [segment.texts[row[1]] for row in segment.rows("zero_grad").tolist()]
    assert names[0] == "name 0" and names[-1] == "…" and len(segment.texts) <= 200
    assert stopped == [("*", sinks.WHY_STRINGS)]


def test_unusual_texts(folder: Path):
    sink = Sink(folder)
    for text in ["", "a\0b", "\udc80", "→ 漢字", "x" * 10_000]:
        sink.writer("zero_grad")(0, text, 0, 0, True)
    segment = Segment(folder, {})
    found = [segment.texts[row[1]] for row in segment.rows("zero_grad").tolist()]
    assert found == ["", "a\0b", "\\udc80", "→ 漢字", "x" * 4000]


def test_an_unwritable_folder_is_silent(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    sink = Sink(tmp_path / "file" / "segment")
    sink.writer("step")(1, 2, 3)
    sink.writer("zero_grad")(1, "x", 2, 3, True)
    sink.close()


def test_a_reset_sink_writes_elsewhere_through_the_same_writers(tmp_path: Path):
    sink = Sink(tmp_path / "a")
    write = sink.writer("zero_grad")
    write(1, "x", 0, 0, True)
    sink.reset(tmp_path / "b")
    write(2, "y", 0, 0, True)
    assert [row[0] for row in Segment(tmp_path / "a", {}).rows("zero_grad").tolist()] == [1]
    other = Segment(tmp_path / "b", {})
    assert [(row[0], other.texts[row[1]]) for row in other.rows("zero_grad").tolist()] == [(2, "y")]
