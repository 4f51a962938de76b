"""Recording keeps within its share of tiny steps, and what it leaves out is told."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tcrules.instrument import session as sessions
from tcrules.instrument.probes import governor
from tcrules.instrument.probes.governor import ALL, EVALUATIONS, RELATIONS, STRETCH, WARM_UP
from tcrules.instrument.runs import coverage, open_run
from tcrules.instrument.schema import BY_NAME, SAMPLED, SPARSE
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

TOTAL = WARM_UP + 1200


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(governor, "perf_counter", lambda: self.now)


class Session:
    def __init__(self, **options: float) -> None:
        self.options = options
        self.clock = SimpleNamespace(step=0, stepped=True, wait=lambda steps: None)
        self.gaps: list[tuple[str, int]] = []
        self.sparse: list[tuple[str, int]] = []
        self.looked: list[tuple[int, str]] = []
        self._last: dict[int, int] = {}

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """Each is told anew while it grows."""
        return list(self._last.items())

    def gap(self, relation: str, why: str, first_step: int) -> None:
        (self.gaps if why == SAMPLED else self.sparse).append((relation, first_step))

    def put(self, relation: str) -> Any:
        assert relation == "recorded_steps"
        return self._stretch

    def _stretch(self, first: int, last: int, whose: str) -> None:
        if whose == ALL:
            self._last[first] = last
        else:
            assert first == last
            self.looked.append((first, whose))

    def on_close(self, callback: object) -> None:
        pass

    def on_fork(self, callback: object) -> None:
        pass


def recorded(clock: Clock, session: Any, cost: Any, steps: int = TOTAL, hidden: float = 0.0) -> list[int]:
    """The steps that are recorded, where callbacks take `cost` of the time of a step and `hidden` comes on top."""
    found = governor.Governor(session)
    result = []
    for step in range(steps):
        spent = (cost(step) if callable(cost) else cost) if found.open else 0.0
        if found.open:
            result.append(step)
        clock.now += 1.0 + spent + (hidden if found.open else 0.0)
        found.spent += spent
        session.clock.step = step
        found.round_over(step)
        found.step_over(step)
    found.close()
    return result


def test_cheap_recording_is_complete(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    assert recorded(Clock(monkeypatch), session, 0.019) == list(range(TOTAL))
    assert session.gaps == session.stretches == []


@pytest.mark.parametrize("cost", [0.05, 0.5, 3.0])
def test_dear_recording_is_thinned_to_pairs(monkeypatch: pytest.MonkeyPatch, cost: float):
    session = Session()
    steps = recorded(Clock(monkeypatch), session, cost)
    later = [step for step in steps if step >= WARM_UP]
    assert steps[:WARM_UP] == list(range(WARM_UP))
    assert len(later) * cost <= 0.02 * (TOTAL - WARM_UP) + STRETCH * cost
    (first,) = {step for _, step in session.gaps}
    assert [relation for relation, _ in session.gaps] == list(RELATIONS)
    assert WARM_UP <= first <= WARM_UP + STRETCH
    kept = {*range(first), *(step for a, b in session.stretches for step in range(a, b + 1))}
    assert kept == set(steps)
    assert all(last - first == STRETCH - 1 for first, last in session.stretches[:-1])


@pytest.mark.parametrize(("hidden", "period"), [(0.0, 64), (0.5, 128), (5.0, 128)])
def test_what_recording_costs_beside_its_callbacks_counts(
    monkeypatch: pytest.MonkeyPatch, hidden: float, period: int
):
    """By what recorded steps take longer than others; a step that took long for another reason is not believed."""
    session = Session()
    recorded(Clock(monkeypatch), session, 0.5, 4000, hidden=hidden)
    begins = [first for first, _ in session.stretches if first >= 2000]
    assert {after - before for before, after in itertools.pairwise(begins)} == {period}


def test_recording_that_becomes_cheap_is_complete_again(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    steps = recorded(Clock(monkeypatch), session, lambda step: 0.5 if step < 600 else 0.001, 5000)
    assert steps[-1000:] == list(range(4000, 5000))
    assert session.stretches[-1][1] == 4999


def test_budget_and_warm_up_are_options(monkeypatch: pytest.MonkeyPatch):
    assert recorded(Clock(monkeypatch), Session(overhead=0.0), 5.0) == list(range(TOTAL))
    assert recorded(Clock(monkeypatch), Session(overhead=0.5), 0.4) == list(range(TOTAL))
    assert len(recorded(Clock(monkeypatch), Session(warm_up=100), 0.5)) < 200


def test_what_nothing_counts_is_never_left_out(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    session.clock.stepped = False
    assert recorded(Clock(monkeypatch), session, 5.0) == list(range(TOTAL))


@pytest.mark.parametrize("cost", [0.0, 0.5])
def test_what_is_looked_at_now_and_then_says_when(monkeypatch: pytest.MonkeyPatch, cost: float):
    session = Session()

    def spends(step: int) -> float:
        assert found.looks(step, "rng") is (step in (0, 1, 2) or step % 16 == 0)
        return cost

    found = governor.Governor(session)
    monkeypatch.setattr(governor, "Governor", lambda _: found)
    steps = recorded(Clock(monkeypatch), session, spends)
    assert session.sparse == [("rng", 3)]
    assert session.looked == [(step, "rng") for step in steps if step and step % 16 == 0]


def test_a_forked_process_tells_its_own_gaps(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    recorded(Clock(monkeypatch), session, 0.5, WARM_UP + 3)
    found = governor.Governor(session)
    found.looks(7, "rng")
    found.open, found._gap = False, True
    session.sparse.clear()
    session.clock.step = 40
    found.after_fork()
    assert found.open and not found.looks(41, "rng")
    assert session.sparse == [("rng", 41)]
    found._shut(50)
    assert session.gaps[-1] == (RELATIONS[-1], 51)


# ------------------------------------------------------------------------------------------------ real runs

MOMENTS = frozenset({"call", "time"})


def train(period: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AMP training with evaluation; after a few steps only a stretch of each period is recorded."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler, scaler = StepLR(optimizer, 5), torch.amp.GradScaler("cpu", init_scale=4.0)
    data = DataLoader(TensorDataset(torch.randn(40, 4), torch.arange(40) % 2), batch_size=4, shuffle=True)
    for epoch in range(4):
        model.train()
        for number, (inputs, labels) in enumerate(data):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), labels)
            scaled = scaler.scale(loss) * (float("inf") if (epoch, number) == (1, 3) else 1.0)
            scaled.backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            for inputs, _ in data:
                model(inputs)


def rows(facts: Any, relation: str, steps: set[int] | None) -> list[tuple[Any, ...]]:
    columns = [column.name for column in BY_NAME[relation].columns if column.type not in MOMENTS]
    columns = [name for name in columns if name not in ("begin", "end", "at", "since", "created", "total")]
    found = facts(relation, *columns) if len(columns) > 1 else [(row,) for row in facts(relation, *columns)]
    if steps is not None and "step" in columns:
        found = [row for row in found if row[columns.index("step")] in steps]
    return [tuple(repr(value) for value in row) for row in found]


def test_recorded_steps_hold_all_facts_and_nothing_else_is_lost(
    record: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
):
    whole = record(lambda: train(None, monkeypatch))
    monkeypatch.setattr(governor, "WARM_UP", 8)
    monkeypatch.setattr(governor, "WINDOW", 1)
    monkeypatch.setattr(governor, "BUDGET", 1e-9)
    monkeypatch.setattr(governor, "LONGEST", 8)
    some = record(lambda: train(8, monkeypatch), gaps=True)
    stretches = some("recorded_steps", "first_step", "last_step", where="relation = '*'")
    (begin,) = set(some.gaps("first_step"))
    steps = {*range(begin), *(step for first, last in stretches for step in range(first, last + 1))}
    assert 12 < len(steps) < 25
    assert set(some.gaps("relation")) == set(RELATIONS)
    for relation in BY_NAME:
        if relation in ("run", "process", "config", "instrument_gap", "recorded_steps", "location", "metric"):
            continue
        wanted = rows(whole, relation, steps if relation in RELATIONS else None)
        found = rows(some, relation, steps if relation in RELATIONS else None)
        if relation == "call":
            assert len(wanted) == len(found)
            continue
        assert found == wanted, relation
    evaluations = "SELECT count(*) FROM forward WHERE NOT training GROUP BY step ORDER BY step"
    assert {n for (n,) in some.sql(evaluations)} <= {EVALUATIONS, 10}
    assert len(some.sql(evaluations)) == 4
    assert whole.sql("SELECT max(nth) FROM optimizer_step") == [(39,)]


def test_the_reader_knows_which_steps_were_recorded(
    record: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
):
    monkeypatch.setattr(governor, "WARM_UP", 8)
    monkeypatch.setattr(governor, "WINDOW", 1)
    monkeypatch.setattr(governor, "BUDGET", 1e-9)
    facts = record(lambda: train(8, monkeypatch), gaps=True)
    known = coverage(open_run(tmp_path / "run0"))
    (gap,) = (gap for gap in known.gaps if gap.relation == "forward" and gap.why == SAMPLED)
    assert gap.first_step == 8 and gap.last_step == -1
    # the last row of a stretch has all of it
    told = dict(facts("recorded_steps", "first_step", "last_step", where="relation = '*'"))
    assert list(gap.recorded) == list(told.items())
    own = {gap.relation: gap for gap in known.gaps if gap.why == SPARSE}
    assert {"module_call", "loss_call", "rng", "gradient_point"} <= own.keys()
    kept = {*range(8), *(step for first, last in gap.recorded for step in range(first, last + 1))}
    for relation, sparse in own.items():
        assert sparse.first_step == 3
        assert set(sparse.recorded) == {(step, step) for step in (16, 32) if step in kept}, relation
    assert sessions.current() is None
