"""Schedulers, scalers, clipping, seeding, losses, dropout, checkpoints, closures."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.checkpoint import checkpoint


def made(rate: float = 1.0) -> tuple[nn.Module, torch.optim.SGD]:
    model = nn.Linear(2, 2)
    return model, torch.optim.SGD(model.parameters(), lr=rate)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def test_schedulers(record: Any):
    class Half(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:  # type: ignore[override]
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    def train() -> None:
        model, sgd = made()
        schedulers = [
            Half(sgd),
            lr_scheduler.SequentialLR(
                sgd, [lr_scheduler.ConstantLR(sgd, 0.5), lr_scheduler.ExponentialLR(sgd, 0.9)], milestones=[1]
            ),
            lr_scheduler.ReduceLROnPlateau(sgd),
        ]
        for _ in range(2):
            step(model, sgd)
            schedulers[0].step()
        schedulers[1].step()
        schedulers[2].step(1.0)

    facts = record(train)
    assert facts("scheduler", "scheduler", "class", "optimizer") == [
        ("Half#0", "Half", "SGD#0"),
        ("SequentialLR#0", "SequentialLR", "SGD#0"),
        ("ReduceLROnPlateau#0", "ReduceLROnPlateau", "SGD#0"),
    ]
    steps = facts("scheduler_step", "scheduler", "nth", "step")
    assert steps == [
        ("Half#0", 0, 0),
        ("Half#0", 1, 1),
        ("SequentialLR#0", 0, 1),
        ("ReduceLROnPlateau#0", 0, 1),
    ]
    half = facts("scheduler_step", "before", "after", where="scheduler = 'Half#0'")
    assert half[1] == (0.5, 0.25)
    assert len(facts("call", "call", where="api LIKE '%LRScheduler.step'")) == 4


def test_a_scaler_that_skips(record: Any):
    def train() -> None:
        model, sgd = made()
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=100)
        torch.amp.GradScaler("cpu", enabled=False).scale(torch.ones(1))
        for number in range(3):
            sgd.zero_grad()
            loss = model(torch.ones(1, 2)).sum() * (float("inf") if number == 1 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()

    facts = record(train)
    assert facts("scaler", "scaler", "enabled") == [("GradScaler#0", True), ("GradScaler#1", False)]
    assert facts("scaler_scale", "step", "scale") == [(0, 4.0), (1, 4.0), (2, 2.0)]
    assert facts("scaler_step", "step", "skipped") == [(0, False), (1, True), (2, False)]
    assert facts("optimizer_step", "nth", "step", "skipped") == [(0, 0, False), (1, 1, True), (2, 2, False)]
    assert facts("scaler_update", "before", "after") == [(4.0, 4.0), (4.0, 2.0), (2.0, 2.0)]
    assert facts.sql(
        "SELECT count(*) FROM scaler_unscale u JOIN call c USING (call) WHERE c.parent <> 0"
    ) == [(3,)]
    assert facts("backward", "finite") == [True, False, True]


def test_clipping(record: Any):
    def train() -> None:
        model, sgd = made()
        step(model, sgd)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        nn.utils.clip_grad_value_(list(model.parameters()), clip_value=0.1)
        assert norm.item() == pytest.approx(6**0.5)
        with pytest.warns(UserWarning, match="empty generator"):
            nn.utils.clip_grad_norm_((p for p in ()), 1.0)

    facts = record(train)
    assert facts("clip", "kind", "optimizer", "limit", "params") == [
        ("norm", "SGD#0", 0.5, 2),
        ("value", "SGD#0", pytest.approx(0.1), 2),
        ("norm", "", 1.0, 0),
    ]
    assert facts("clip", "norm")[:2] == [pytest.approx(6**0.5), -1.0]


def test_seeding(record: Any):
    def train() -> None:
        torch.manual_seed(3)
        torch.random.manual_seed(seed=4)
        np.random.seed(5)
        random.seed(6)
        random.seed("text")
        torch.manual_seed(2**63 + 1)
        with torch.random.fork_rng():
            torch.Generator().manual_seed(7)

    facts = record(train)
    assert facts("seed", "api", "value") == [
        ("torch.manual_seed", 3),
        ("torch.manual_seed", 4),
        ("numpy.random.seed", 5),
        ("random.seed", 6),
        ("random.seed", -1),
        ("torch.manual_seed", -(2**63) + 1),
    ]


def test_losses(record: Any):
    def train() -> None:
        logits = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
        target = torch.tensor([0, 1])
        functional.cross_entropy(logits, target)
        nn.CrossEntropyLoss()(logits.softmax(1), target)
        with torch.no_grad():
            functional.binary_cross_entropy_with_logits(input=logits, target=torch.ones(2, 2))

    facts = record(train)
    assert facts("loss_call", "api", "grad", "input_shape", "target_shape", "target_dtype", "normalised") == [
        ("torch.nn.functional.cross_entropy", True, "2x2", "2", "int64", False),
        ("torch.nn.functional.cross_entropy", True, "2x2", "2", "int64", True),
        ("torch.nn.functional.binary_cross_entropy_with_logits", False, "2x2", "2x2", "float32", False),
    ]
    assert facts("loss_call", "low", "high")[0] == (-1.0, 3.0)


def test_dropout(record: Any):
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, dropout=0.25, batch_first=True)
            self.rnn = nn.LSTM(4, 4, num_layers=2, dropout=0.125, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.rnn(self.attention(x, x, x)[0])
            return functional.scaled_dot_product_attention(y, y, y, dropout_p=0.5)

    def train() -> None:
        model = Attend()
        model(torch.randn(1, 3, 4))
        model.eval()(torch.randn(1, 3, 4))

    facts = record(train)
    prefix = "torch.nn.functional."
    assert facts("dropout_call", "module", "api", "p", "module_training", "root_training") == [
        ("Attend.attention", f"{prefix}multi_head_attention_forward", 0.25, True, True),
        ("Attend.rnn", "torch.nn.LSTM.forward", 0.125, True, True),
        ("Attend", f"{prefix}scaled_dot_product_attention", 0.5, True, True),
        ("Attend", f"{prefix}scaled_dot_product_attention", 0.5, False, False),
    ]


@pytest.mark.parametrize("kind", ["path", "buffer", "copied buffer"])
def test_saving_and_loading(record: Any, tmp_path: Path, kind: str):
    def train() -> None:
        model, sgd = nn.Sequential(nn.Linear(2, 2)), None
        sgd = torch.optim.SGD(model.parameters(), lr=1.0)
        step(model, sgd)
        target: Any = tmp_path / "state.pt" if kind == "path" else io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": sgd.state_dict(), "epoch": 3}, target)
        if kind != "path":
            target = io.BytesIO(target.getvalue()) if kind == "copied buffer" else target
            target.seek(0)
        state = torch.load(target)
        model.load_state_dict({**state["model"], "extra": torch.ones(1)}, strict=False)
        sgd.load_state_dict(state["optimizer"])
        model.load_state_dict(model.state_dict())

    facts = record(train)
    path = str(tmp_path / "state.pt") if kind == "path" else ""
    assert facts("checkpoint_saved", "path", "model", "optimizer", "tensors") == [(path, True, True, 2)]
    assert facts("checkpoint_loaded", "path", "model", "optimizer", "saved_here") == [
        (path, True, True, True)
    ]
    (call,) = facts("checkpoint_loaded", "call")
    assert facts("model_loaded", "module", "checkpoint", "keys", "missing", "unexpected") == [
        ("Sequential", call, 3, 0, 1),
        ("Sequential", 0, 2, 0, 0),
    ]
    assert facts("optimizer_loaded", "optimizer", "checkpoint") == [("SGD#0", call)]


def test_a_foreign_file_is_not_saved_here(record: Any, tmp_path: Path):
    torch.save(torch.ones(3), tmp_path / "data.pt")
    facts = record(lambda: torch.load(tmp_path / "data.pt"))
    assert facts("checkpoint_loaded", "model", "optimizer", "saved_here") == [(False, False, False)]


def test_closures_belong_to_their_step(record: Any):
    def train() -> None:
        model = nn.Linear(2, 2)
        lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=2)

        def closure() -> torch.Tensor:
            lbfgs.zero_grad()
            loss = (model(torch.ones(1, 2)) - 3).square().sum()
            loss.backward()
            return loss

        for _ in range(2):
            lbfgs.step(closure)

    facts = record(train)
    steps = facts("optimizer_step", "call", where="closure")
    assert len(steps) == 2
    assert sorted(set(facts("backward", "closure"))) == steps
    assert facts.sql("SELECT DISTINCT step FROM forward ORDER BY step") == [(0,), (1,)]
    assert set(facts("update", "class")) == {"nonzero"}


def test_recomputation_is_no_forward(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        outer = nn.Linear(2, 2)
        checkpoint(model, outer(torch.ones(1, 2)), use_reentrant=False).sum().backward()

    assert record(train)("forward", "module") == ["Linear", "Sequential"]


def test_a_step_that_the_user_replaced(record: Any, monkeypatch: pytest.MonkeyPatch):
    original = torch.optim.SGD.step

    def train() -> None:
        for early in (True, False):
            model, sgd = (None, None) if early else made()
            monkeypatch.setattr(torch.optim.SGD, "step", lambda self, closure=None: original(self, closure))
            if sgd is None or model is None:
                model, sgd = made()
            step(model, sgd)
            step(model, sgd)

    facts = record(train)
    assert facts("optimizer_step", "optimizer", "nth") == [
        ("SGD#0", 0),
        ("SGD#0", 1),
        ("SGD#1", 0),
        ("SGD#1", 1),
    ]


def test_two_steps_for_one_gradient_are_two_steps(record: Any):
    def train() -> None:
        model, sgd = made()
        step(model, sgd)
        sgd.step()

    assert record(train)("optimizer_step", "nth") == [0, 1]


def test_autocast(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(torch.ones(1, 2)).sum().backward()

    facts = record(train)
    assert facts("forward", "autocast") == ["bfloat16"]
    assert facts("module_call", "class", "autocast", "input_dtype", "weight_dtype", "output_dtype") == [
        ("Linear", "bfloat16", "float32", "float32", "bfloat16"),
        ("LayerNorm", "bfloat16", "bfloat16", "float32", "bfloat16"),
    ]


def test_a_failing_probe_leaves_a_gap_and_the_run_alone(record: Any, monkeypatch: pytest.MonkeyPatch):
    from tcrules.instrument.probes.updates import Updates

    def fail(self: Any, taken: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(Updates, "after", fail)
    facts = record(lambda: step(*made()), gaps=True)
    assert facts.gaps("relation") == ["gradient", "optimizer_state", "update"]
    assert facts("optimizer_step", "nth") == [0]
