"""Gradients on their way to the step, and the state that optimizers hold."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import nn


def test_gradients_at_each_point(record: Any):
    def train() -> None:
        model = nn.Linear(3, 2, bias=False)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for x in (torch.ones(1, 3), torch.full((1, 3), math.inf)):
            sgd.zero_grad()
            scaler.scale(model(x).sum()).backward()
            scaler.unscale_(sgd)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(sgd)
            scaler.update()

    facts = record(train)
    points = facts("gradient_point", "point", "step", "class", "nth", where="optimizer = 'SGD#0'")
    assert points == [
        *[(point, 0, "nonzero", 0) for point in ("backward", "unscaled", "clipped")],
        *[(point, 1, "nonfinite", 1) for point in ("backward", "unscaled", "clipped")],
    ]
    norms = facts("gradient_point", "norm", where="step = 0")
    assert norms == pytest.approx([8 * 6**0.5, 6**0.5, 1.0], rel=1e-4)
    # the norm that clipping reports is that of what was unscaled; what the step uses is what was clipped
    assert facts.sql(
        "SELECT abs(c.norm - p.norm) < 1e-4 FROM clip c JOIN gradient_point p USING (step) "
        "WHERE point = 'unscaled' AND step = 0"
    ) == [(True,)]
    assert facts.sql(
        "SELECT g.norm = p.norm FROM gradient g JOIN gradient_point p USING (step, param) WHERE point = 'clipped' "
        "AND step = 0"
    ) == [(True,)]
    assert facts.sql(
        "SELECT DISTINCT point, api FROM gradient_point JOIN call USING (call) ORDER BY point"
    ) == [
        ("backward", "torch.Tensor.backward"),
        ("clipped", "torch.nn.utils.clip_grad_norm_"),
        ("unscaled", "torch.amp.GradScaler.unscale_"),
    ]


def test_gradients_between_accumulated_backwards(record: Any):
    def train() -> None:
        model = nn.Linear(2, 1, bias=False)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            sgd.zero_grad()
            for _ in range(2):
                model(torch.ones(1, 2)).sum().backward()
            sgd.step()

    facts = record(train)
    found = facts("gradient_point", "step", "norm")
    sampled = [0, 1, 2, 16]
    assert [step for step, _ in found] == [step for step in sampled for _ in range(2)]
    assert [norm for _, norm in found] == pytest.approx([2**0.5, 2 * 2**0.5] * 4)
    assert {(data, reduced) for data, reduced in facts("gradient_point", "data", "reduced")} == {(0, "")}


def test_what_an_optimizer_holds(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        model[1].bias.requires_grad_(False)
        adam = torch.optim.Adam(model.parameters(), lr=0.1)
        for number in range(5):
            if number == 4:
                buffer = io.BytesIO()
                torch.save(adam.state_dict(), buffer)
                buffer.seek(0)
                adam.load_state_dict(torch.load(buffer))
            adam.zero_grad()
            # the first layer has no gradient in step 1
            model[1](model[0](torch.ones(1, 2)) if number != 1 else torch.ones(1, 3)).sum().backward()
            adam.step()

    facts = record(train)
    names = ["0.weight", "0.bias", "1.weight"]
    found = facts("optimizer_slot", "step", "param", "counter")
    assert found == [
        *[(0, name, 1) for name in names],
        *[(1, name, count) for name, count in zip(names, (1, 1, 2), strict=True)],
        *[(2, name, count) for name, count in zip(names, (2, 2, 3), strict=True)],
        *[(4, name, count) for name, count in zip(names, (4, 4, 5), strict=True)],  # after loading
    ]
    assert set(facts("optimizer_slot", "kinds", "dtype", "fits", "data")) == {
        ("exp_avg,exp_avg_sq,step", "float32", True, 0)
    }


class Rowwise(torch.optim.Optimizer):
    """It counts per group and keeps one number per row."""

    def step(self, closure: Any = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                group["step"] = group.get("step", 0) + 1
                for weight in group["params"]:
                    rows = self.state[weight].setdefault(
                        "rows", torch.zeros(len(weight), dtype=torch.float64)
                    )
                    rows += weight.grad.square().sum(1)
                    weight -= 0.1 * weight.grad


def test_a_state_of_another_form(record: Any):
    def train() -> None:
        weight = nn.Parameter(torch.ones(4, 3))
        optimizer = Rowwise([weight], {})
        for _ in range(2):
            optimizer.zero_grad()
            weight.sum().backward()
            optimizer.step()

    assert record(train)("optimizer_slot", "kinds", "dtype", "fits", "counter") == [
        ("rows", "float64", False, 1),
        ("rows", "float64", False, 2),
    ]
