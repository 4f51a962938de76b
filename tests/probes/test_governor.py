"""Recording keeps within its share of tiny steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tcrules.instrument.probes import governor
from torch import nn

FULL = governor.FULL_STEPS
TOTAL = FULL + 400


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(governor, "perf_counter", lambda: self.now)


class Session:
    def __init__(self, **options: float) -> None:
        self.options = options
        self.gaps: list[tuple[str, int]] = []

    def gap(self, relation: str, why: str, first_step: int) -> None:
        assert why == governor.WHY
        self.gaps.append((relation, first_step))


def detailed(clock: Clock, session: Any, cost: float, steps: int = TOTAL) -> list[int]:
    """Return the steps with details, where recording them takes `cost` of the time of a step and others 1 %."""
    found = governor.Governor(session)
    result = []
    for step in range(steps):
        spent = cost if found.detail else 0.01
        if found.detail:
            result.append(step)
        clock.now += 1.0 + spent
        found.spent += spent
        found.step_over(step)
    return result


def test_cheap_recording_is_complete(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    assert detailed(Clock(monkeypatch), session, 0.09) == list(range(TOTAL))
    assert session.gaps == []


def test_dear_recording_is_thinned_to_pairs(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    steps = detailed(Clock(monkeypatch), session, 0.5)
    later = [step for step in steps if step >= TOTAL - 200]
    assert steps[:FULL] == list(range(FULL))
    assert len(later) * 0.5 < 0.1 * 200
    assert {step + 1 for step in later if step % 2 == 0} <= {*later, TOTAL}
    assert {relation for relation, _ in session.gaps} == set(governor.RELATIONS)
    first = session.gaps[0][1]
    assert set(range(first)) <= set(steps)


def test_the_limit_is_an_option(monkeypatch: pytest.MonkeyPatch):
    assert detailed(Clock(monkeypatch), Session(overhead=0.0), 5.0) == list(range(TOTAL))
    assert len(detailed(Clock(monkeypatch), Session(overhead=0.01), 0.05)) < FULL + 100


def test_a_run_of_tiny_steps(record: Any):
    def train() -> None:
        model = nn.Linear(2, 2)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(FULL + 300):
            sgd.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            sgd.step()

    facts = record(train, gaps=True)
    assert facts.sql("SELECT count(*) FROM optimizer_step") == [(FULL + 300,)]
    assert facts.sql("SELECT count(*) FROM forward") == [(FULL + 300,)]
    steps = set(facts("update", "step"))
    assert steps >= set(range(FULL)) and len(steps) < FULL + 200
    gaps = facts("instrument_gap", "relation", "first_step")
    assert {relation for relation, _ in gaps} == set(governor.RELATIONS)
    assert all(set(range(first)) <= steps for _, first in gaps)
