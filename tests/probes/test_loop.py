"""A plain training loop, fact by fact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional


def train(steps: int = 3, zero_grad: bool = True, **optimizer: float) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, **optimizer)
    for _ in range(steps):
        if zero_grad:
            sgd.zero_grad()
        functional.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 3, (6,))).backward()
        sgd.step()


NAMES = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]


def test_calls_of_a_step_in_their_order(record: Any):
    facts = record(train)
    apis = facts.sql("SELECT api FROM call WHERE step = 1 ORDER BY begin")
    assert [api for (api,) in apis] == [
        "torch.optim.Optimizer.zero_grad",
        "torch.nn.Module.forward",
        "torch.nn.functional.cross_entropy",
        "torch.Tensor.backward",
        "torch.optim.Optimizer.step",
    ]
    assert facts("step", "step") == [0, 1, 2]
    assert set(facts.sql("SELECT function FROM location l JOIN call USING (call) WHERE step = 1")) == {
        ("train",)
    }


def test_structure(record: Any):
    facts = record(train)
    assert facts("module", "module", "class", "kind") == [
        ("Sequential", "Sequential", "other"),
        ("Sequential.0", "Linear", "linear"),
        ("Sequential.1", "BatchNorm1d", "batch_norm"),
        ("Sequential.2", "Dropout", "dropout"),
        ("Sequential.3", "Linear", "linear"),
    ]
    assert facts("parameter", "param", "root", "size", "trainable", "owners", "split", "trained_before") == [
        (name, "Sequential", size, True, 1, False, False)
        for name, size in zip(NAMES, (32, 8, 8, 8, 24, 3), strict=True)
    ]
    assert facts("buffer", "buffer") == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert facts("trainability", "param", "step") == [(name, 0) for name in NAMES]
    created = facts("parameter", "created")
    assert created == sorted(created) and created[0] > 0


def test_forward_and_layers(record: Any):
    facts = record(train)
    columns = (
        "module",
        "class",
        "step",
        "training",
        "grad",
        "autocast",
        "mode_on",
        "mode_off",
        "frozen",
        "loader",
    )
    assert facts("forward", *columns) == [
        ("Sequential", "Sequential", step, True, True, "", 2, 0, 0, "") for step in range(3)
    ]
    assert len(set(facts("forward", "input"))) == 3
    calls = facts("module_call", "module", "input_dtype", "weight_dtype", "output_dtype", where="step = 0")
    assert calls == [
        ("Sequential.0", *["float32"] * 3),
        ("Sequential.1", *["float32"] * 3),
        ("Sequential.2", "float32", "", "float32"),
        ("Sequential.3", *["float32"] * 3),
    ]
    assert facts(
        "dropout_call", "module", "api", "p", "module_training", "root_training", where="step = 0"
    ) == [("Sequential.2", "torch.nn.functional.dropout", 0.5, True, True)]
    rng = facts.sql("SELECT before, after FROM rng WHERE source = 'torch' ORDER BY step")
    assert all(before != after for before, after in rng)
    # between two forwards the loop draws inputs and labels
    assert len({value for pair in rng for value in pair}) == 6


def test_gradients_and_updates(record: Any):
    facts = record(train)
    assert facts("accumulate", "param", "optimizer", "nth", "onto") == [
        (name, "SGD#0", nth, "none") for nth in range(3) for name in NAMES
    ]
    assert set(facts("gradient", "class", "trainable", "data")) == {("nonzero", True, 0)}
    assert facts("update", "param", "nth", "lr", "finite") == [
        (name, nth, 0.1, True) for nth in range(3) for name in NAMES
    ]
    # the gradient of a bias before batch norm is rounding noise: its update may round to nothing
    assert {name for (name,) in facts.sql("SELECT param FROM update WHERE before = after")} <= {"0.bias"}
    assert facts.sql(
        "SELECT count(*) FROM update a JOIN update b USING (param) WHERE b.nth = a.nth + 1 AND a.after <> b.before"
    ) == [(0,)]
    assert facts.sql(
        "SELECT count(*) FROM update u JOIN param_state s USING (param, step) WHERE u.before = s.data"
    ) == [(18,)]
    assert facts("backward", "step", "finite", "closure") == [(step, True, 0) for step in range(3)]
    assert facts("zero_grad", "object", "step", "set_to_none") == [("SGD#0", step, True) for step in range(3)]


def test_optimizer(record: Any):
    facts = record(lambda: train(momentum=0.9, weight_decay=0.01))
    assert facts("optimizer", "optimizer", "class") == [("SGD#0", "SGD")]
    assert facts("member", "param", "group") == [(name, 0) for name in NAMES]
    assert facts("optimizer_step", "nth", "step", "skipped", "closure") == [
        (n, n, False, False) for n in range(3)
    ]
    assert facts("param_group", "nth", "group", "lr", "weight_decay") == [(n, 0, 0.1, 0.01) for n in range(3)]
    assert facts("optimizer_state", "nth", "filled", "counter") == [(n, 6, -1) for n in range(3)]


def test_gradients_that_are_never_cleared(record: Any):
    facts = record(lambda: train(zero_grad=False))
    assert facts.sql("SELECT DISTINCT nth, onto FROM accumulate ORDER BY nth") == [
        (0, "none"),
        (1, "nonzero"),
        (2, "nonzero"),
    ]


@pytest.mark.parametrize("set_to_none", [True, False])
def test_how_gradients_are_cleared(record: Any, set_to_none: bool):
    def loop() -> None:
        layer = nn.Linear(2, 2)
        adam = torch.optim.Adam(layer.parameters())
        for _ in range(3):
            layer(torch.ones(1, 2)).sum().backward()
            adam.step()
            layer.zero_grad(set_to_none=set_to_none)

    facts = record(loop)
    assert facts("zero_grad", "object", "set_to_none") == [("Linear", set_to_none)] * 3
    later = "none" if set_to_none else "zero"
    assert facts("accumulate", "onto") == ["none"] * 2 + [later] * 4
    assert facts("optimizer_state", "filled", "counter") == [(2, 1), (2, 2), (2, 3)]


def test_classes_of_gradients(record: Any):
    def step() -> None:
        params = [nn.Parameter(torch.ones(3)) for _ in range(5)]
        params[0].grad = torch.zeros(3)
        params[1].grad = torch.tensor([1.0, float("nan"), 0.0])
        params[2].grad = torch.full((3,), 1e-30)
        params[3].grad = torch.full((3,), 1e30)
        torch.optim.SGD(params, lr=0.0).step()

    facts = record(step)
    assert facts("gradient", "param", "class") == [
        (f"SGD#0.group0[{index}]", kind)
        for index, kind in enumerate(["zero", "nonfinite", "nonzero", "nonzero", "none"])
    ]
    assert facts("update", "finite") == [True, False, True, True, True]


def test_frozen_and_thawed(record: Any):
    def loop() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(3):
            model[0].requires_grad_(step == 2)
            sgd.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            sgd.step()

    facts = record(loop)
    assert facts("forward", "frozen") == [2, 2, 0]
    assert facts("trainability", "param", "step", "trainable", where="step > 0") == [
        ("0.weight", 2, True),
        ("0.bias", 2, True),
    ]
    assert facts("gradient", "step", "class", "trainable", where="param = '0.weight'") == [
        (0, "none", False),
        (1, "none", False),
        (2, "nonzero", True),
    ]


def test_evaluation_between_steps(record: Any):
    def loop() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            model.train()
            sgd.zero_grad()
            model(torch.randn(4, 2)).sum().backward()
            sgd.step()
            model.eval()
            model[0].train()  # a part: no change of the model's mode
            with torch.no_grad():
                model(torch.randn(4, 2))

    facts = record(loop)
    assert facts("mode_change", "module", "training") == [("Sequential", True), ("Sequential", False)] * 2
    assert facts("forward", "step", "training", "grad", "mode_on", "mode_off") == [
        (0, True, True, 1, 0),
        (0, False, False, 0, 1),
        (1, True, True, 1, 0),
        (1, False, False, 0, 1),
    ]
    moved = facts.sql(
        "SELECT f.training, count(*) FROM buffer_state b JOIN forward f ON b.forward = f.call "
        "WHERE b.before <> b.after GROUP BY ALL"
    )
    assert moved == [(True, 6)]


def test_initialisation(record: Any):
    def loop() -> None:
        layer = nn.Linear(4, 4)
        nn.init.normal_(layer.weight, std=0.5)
        layer.weight.data.uniform_(-1, 1)
        torch.empty(3).normal_()
        layer(torch.ones(1, 4)).sum().backward()
        layer.weight.data.normal_()  # training has begun

    facts = record(loop)
    assert facts("init_call", "param", "api", "arguments", where="param = 'weight'")[1:] == [
        ("weight", "torch.Tensor.normal_", "0.0, 0.5"),
        ("weight", "torch.Tensor.uniform_", "-1, 1"),
    ]
    assert "normal_" not in vars(torch.Tensor)
