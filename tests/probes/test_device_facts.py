"""Facts about tensors on a device are those about the same tensors in host memory: the same bits, steps and times."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

#: Numbers that are computed in another order, and equal up to rounding.
ROUNDED = frozenset({"norm", "loss", "low", "high"})
#: Relations whose facts are made of values, and those that wait for them.
READ = (
    *("param_state", "buffer_state", "gradient", "gradient_point", "update", "optimizer_state"),
    *("accumulate", "backward", "forward", "forward_argument", "optimizer_step", "param_group", "step"),
)


def loop(steps: int = 6, **optimizer: Any) -> None:
    """A plain loop, with a layer that has buffers."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    adam = torch.optim.AdamW(model.parameters(), lr=0.1, **optimizer)
    for _ in range(steps):
        adam.zero_grad(set_to_none=False)
        functional.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 3, (6,))).backward()
        adam.step()


def counted_by_tensors() -> None:
    """Rates that are tensors, a fused optimizer, a schedule."""
    torch.manual_seed(2)
    model = nn.Linear(4, 2)
    sgd = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1))
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1 / (step + 1))
    fused = torch.optim.Adam(nn.Linear(2, 2).parameters(), fused=True)
    for _ in range(4):
        for group in fused.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        fused.step()
        sgd.zero_grad()
        model(torch.randn(3, 4)).sum().backward()
        sgd.step()
        schedule.step()


def scaled() -> None:
    """A scaler that skips a step, clipping, gradients that are not finite."""
    torch.manual_seed(3)
    model = nn.Linear(3, 2, bias=False)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for x in (torch.ones(1, 3), torch.full((1, 3), math.inf), torch.zeros(1, 3)):
        sgd.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.unscale_(sgd)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(sgd)
        scaler.update()


def overflowing() -> None:
    """A fused optimizer that looks for an overflow by itself."""
    torch.manual_seed(4)
    model = nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for x in (torch.ones(1, 3), torch.full((1, 3), math.nan), torch.ones(1, 3)):
        adam.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.step(adam)
        scaler.update()


def closure() -> None:
    """An optimizer that computes gradients inside of its step."""
    torch.manual_seed(5)
    model = nn.Linear(3, 1)
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    x, y = torch.randn(5, 3), torch.randn(5, 1)

    def evaluate() -> torch.Tensor:
        lbfgs.zero_grad()
        loss = functional.mse_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(3):
        lbfgs.step(evaluate)


def loaded() -> None:
    """Batches with constant and exotic fields, evaluation, an average, checkpoints."""
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    average = copy.deepcopy(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = TensorDataset(
        torch.randn(20, 4), torch.randint(0, 3, (20,)), torch.ones(20), torch.randn(20, 2).cfloat()
    )
    for _ in range(2):
        for x, y, _, _ in DataLoader(data, 5, shuffle=True):
            sgd.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            sgd.step()
            with torch.no_grad():
                for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
                    mine.lerp_(theirs, 0.5)
        model.eval()
        with torch.inference_mode():
            model(torch.randn(3, 4))
        model.train()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": sgd.state_dict()}, file)
    state = torch.load(io.BytesIO(file.getvalue()))
    model.load_state_dict(state["model"])
    sgd.load_state_dict(state["optimizer"])


def averaged() -> None:
    """A copy of a model that is trained already; what it inherits is known only when the updates are."""
    torch.manual_seed(8)
    model = nn.Linear(3, 2)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    average = None
    for step in range(6):
        sgd.zero_grad()
        model(torch.randn(4, 3)).sum().backward()
        sgd.step()
        if step == 2:
            average = copy.deepcopy(model)
    assert average is not None


def mixed() -> None:
    """Autocast, narrow, empty, double and complex parameters; one that is written through `.data`."""
    torch.manual_seed(7)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow = nn.Parameter(torch.randn(3, 4, dtype=torch.float16))
            self.brain = nn.Parameter(torch.randn(5, dtype=torch.bfloat16))
            self.nothing = nn.Parameter(torch.empty(0, 3))
            self.wide = nn.Parameter(torch.randn(7, dtype=torch.float64))
            self.pair = nn.Parameter(torch.randn(3, dtype=torch.complex64))
            self.register_buffer("flags", torch.tensor([True, False, True]))
            self.register_buffer("small", torch.randn(5).to(torch.float8_e4m3fn))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = (
                self.narrow.float().sum(),
                self.brain.float().sum(),
                self.nothing.sum(),
                self.wide.sum().float(),
            )
            return x * sum(parts) + self.pair.abs().sum()

    model = Model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(4):
        sgd.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            model(torch.ones(2)).sum().backward()
        sgd.step()
        if step == 1:
            model.wide.data.fill_(math.inf)


TRAININGS = (loop, counted_by_tensors, scaled, overflowing, closure, loaded, averaged, mixed)


def rows(facts: Any, relation: str) -> list[dict[str, Any]]:
    columns = [name for name, *_ in facts.sql(f'DESCRIBE "{relation}"') if name != "fact"]
    found = [dict(zip(columns, row, strict=True)) for row in facts(relation, *columns)]
    return sorted(found, key=lambda row: repr([row[name] for name in columns if name not in ROUNDED]))


def assert_equal(left: Any, right: Any) -> None:
    relations = [name for (name,) in left.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal")]
    for relation in sorted({*relations} - {"run", "process", "config", "setting", "location"}):
        expected, found = rows(left, relation), rows(right, relation)
        assert len(expected) == len(found), relation
        for a, b in zip(expected, found, strict=True):
            for name, value in a.items():
                wanted = pytest.approx(value, rel=1e-3, nan_ok=True) if name in ROUNDED else value
                assert b[name] == wanted, (relation, name, a, b)


@pytest.mark.parametrize("train", TRAININGS, ids=lambda train: train.__name__)
def test_the_same_facts(record_on: Any, devices: Any, train: Callable[[], None]):
    host = record_on(train)
    assert_equal(host, record_on(train, devices.StandIn(devices.every(9))))
    if train is loop:
        assert all(rows(host, relation) for relation in READ)


@pytest.mark.parametrize("pace", [1, 40])
def test_however_late_they_come(record_on: Any, devices: Any, pace: int):
    assert_equal(record_on(loop), record_on(loop, devices.StandIn(devices.every(pace))))


def test_at_the_end(record_on: Any, devices: Any):
    kit = devices.StandIn(devices.told)

    def train() -> None:
        devices.told.over = False
        loop()
        devices.told.over = True

    assert_equal(record_on(loop), record_on(train, kit))


def test_the_generator_of_the_device(record_on: Any, devices: Any):
    kit = devices.StandIn()
    kit.states = [torch.tensor([1, offset], dtype=torch.uint8) for offset in (0, 4, 4, 4)]
    facts = record_on(lambda: loop(2), kit)
    moved = facts.sql("SELECT step, before = after FROM rng WHERE source = 'cuda' ORDER BY fact")
    assert moved == [(0, False), (1, True)]
