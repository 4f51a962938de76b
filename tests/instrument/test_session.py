"""A session protects the run, nests calls and follows forks."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from tcrules.instrument import session as sessions
from tcrules.instrument.segments import Segment, read_segments
from tcrules.instrument.session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / "run")


def facts(session: Session, relation: str) -> list[tuple[Any, ...]]:
    segment = Segment(session.sink.folder, {})
    return [row[:-1] for row in segment.rows(relation).tolist()]


def gaps(session: Session) -> list[tuple[str, int, int, str]]:
    texts = Segment(session.sink.folder, {}).texts
    return [(texts[r], first, last, texts[w]) for r, first, last, w in facts(session, "instrument_gap")]


def test_a_failing_probe_is_disabled_and_leaves_gaps(session: Session):
    calls = []

    @session.guard("lossy", "loss_call")
    def probe(value: int) -> int:
        """Documented."""
        calls.append(value)
        if value == 2:
            raise ValueError("boom")
        return value

    session.covers("backward", probe="lossy")
    assert probe.__doc__ == "Documented."
    assert [probe(1), probe(2), probe(3)] == [1, None, None]
    assert calls == [1, 2] and session.is_disabled("lossy")
    assert [gap[0] for gap in gaps(session)] == ["backward", "loss_call"]
    why = gaps(session)[0][3]
    assert why.startswith("probe lossy failed: ValueError at ")
    assert "boom" not in why, "the text of an exception may quote anything"
    assert not session.local.inside


def test_an_interrupt_of_the_user_passes(session: Session):
    @session.guard("p")
    def probe() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe()
    assert not session.local.inside and not session.is_disabled("p")


def test_probes_do_not_see_themselves(session: Session):
    seen = []

    @session.guard("p")
    def probe(depth: int) -> None:
        seen.append(depth)
        if depth:
            probe(depth - 1)

    probe(3)
    session.paused = True
    probe(0)
    assert seen == [3]


def test_calls_nest_and_point_at_the_line(session: Session):
    outer = session.enter("outer", "O")
    inner = session.enter("inner")
    lost = session.enter("lost")
    session.leave(inner, raised=True)
    session.leave(outer)
    session.leave(None)
    assert lost.parent == inner.call
    texts = Segment(session.sink.folder, {}).texts
    rows = [
        (call, texts[api], texts[o], parent, raised)
        for call, api, o, parent, _, _, _, raised in facts(session, "call")
    ]
    assert rows == [(2, "inner", "", 1, 1), (1, "outer", "O", 0, 0)]
    (_, file, line, function), *_ = facts(session, "location")
    assert texts[file] == __file__ and texts[function] == "test_calls_nest_and_point_at_the_line"
    assert "session.leave(inner" in Path(__file__).read_text().splitlines()[line - 1]


def test_gaps_are_told_once(session: Session):
    for _ in range(3):
        session.gap("step", "because")
    assert gaps(session) == [("step", 0, -1, "because")]


def test_a_wrong_emit_is_a_gap(session: Session):
    session.emit("mine", {"x": object()})
    session.emit("metric", {"name": "loss"})
    session.emit("metric", {"name": "loss", "value": 1})
    assert {gap[0] for gap in gaps(session)} == {"mine", "metric"}
    assert list(Segment(session.sink.folder, {}).user_facts()) == [
        ("metric", {"step": 0, "name": "loss", "value": 1.0})
    ]


def test_closing_twice_and_writing_after(session: Session):
    closed = []
    session.on_close(lambda: closed.append(1))
    session.on_close(lambda: 1 / 0)
    session.put("step")(0, 1, 2)
    session.close()
    session.close()
    session.put("step")(1, 1, 2)
    session.emit("mine", {"x": 1})
    assert closed == [1] and len(facts(session, "step")) == 1
    (segment,), _ = read_segments(session.run)
    assert segment.meta["status"] == "finished"


def test_a_silent_session_leaves_nothing(session: Session):
    session.enter("x")
    session.covers("step")
    session.names.optimizer(session)
    session.close()
    assert not session.run.exists()


@pytest.fixture
def started(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(sessions, "_current", session)
    sessions._register_once()
    return session


def test_a_forked_child_has_a_segment_of_its_own(started: Session):
    write = started.put("zero_grad")
    handle = started.names._next("m")
    started.names._record(handle, "", "Net")
    write(1, handle, 0, 0, True)
    pid = os.fork()
    if not pid:
        write(2, handle, 0, 0, True)
        os._exit(0)
    os.waitpid(pid, 0)
    write(3, handle, 0, 0, True)
    segments = {segment.pid: segment for segment in read_segments(started.run)[0]}
    assert set(segments) == {pid, os.getpid()}
    for process, calls in ((pid, [2]), (os.getpid(), [1, 3])):
        rows = segments[process].rows("zero_grad").tolist()
        assert [row[0] for row in rows] == calls
        assert all(segments[process].names(frozenset())[row[1]] == "Net" for row in rows)


def test_children_of_multiprocessing_end_well(started: Session):
    process = multiprocessing.get_context("fork").Process(target=started.put("step"), args=(1, 2, 3))
    process.start()
    process.join()
    (segment,), _ = read_segments(started.run)
    assert segment.pid == process.pid and segment.meta["status"] == "finished"
    assert not started.closed


def test_the_rank_outlives_the_process_group(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sessions, "_distributed", lambda: (1, 2, True))
    session.put("step")(0, 1, 2)
    monkeypatch.setattr(sessions, "_distributed", lambda: (0, 1, False))
    session.close()
    (segment,), _ = read_segments(session.run)
    assert [segment.meta[key] for key in ("rank", "world_size", "distributed")] == [1, 2, True]
