"""Mixed precision and recomputed activations: what is recorded, and that recording changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from tests.probes.helping import scaled_step


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(6, 4), torch.randint(0, 3, (6,))


def test_autocast_bfloat16(same: Any):
    def train() -> Any:
        model, losses = net(), []
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            x, y = batch()
            sgd.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = functional.cross_entropy(model(x), y)
            loss.backward()
            sgd.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            return losses, model, model(batch()[0])

    facts = same(train)
    assert facts("forward", "autocast", "grad") == [("bfloat16", True)] * 3 + [("", False)]
    layers = facts("module_call", "module", "input_dtype", "weight_dtype", "output_dtype", where="step = 0")
    assert layers[0] == ("Sequential.0", "float32", "float32", "bfloat16")
    assert layers[-1] == ("Sequential.4", "bfloat16", "float32", "bfloat16")
    # cross entropy is computed in float32, the weights and their gradients stay float32
    assert set(facts("parameter", "dtype")) == {"float32"}
    assert facts("optimizer_step", "skipped") == [False] * 3


def test_a_scaler_that_overflows(same: Any):
    """float16 with a scale that is too large: the first steps are skipped, and change nothing."""

    def train() -> Any:
        model, losses = net(), []
        adam = torch.optim.Adam(model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2, backoff_factor=2.0**-60)
        for _ in range(5):
            x, y = batch()
            adam.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                loss = functional.cross_entropy(model(x), y)
            scaled_step(model, adam, scaler, loss)
            losses.append(loss.item())
        return losses, model, adam, scaler

    facts = same(train)
    skipped = facts("optimizer_step", "skipped")
    assert skipped == facts("scaler_step", "skipped")
    assert skipped[0] and not skipped[-1]
    assert facts("optimizer_step", "step", "nth") == [(n, n) for n in range(5)]
    assert facts("scaler_unscale", "optimizer", "step") == [("Adam#0", n) for n in range(5)]
    scales = facts("scaler_update", "before", "after")
    assert [after < before for before, after in scales] == skipped
    assert facts("scaler_scale", "scale") == [before for before, _ in scales]
    stepped = facts.sql("SELECT DISTINCT step FROM update ORDER BY step")
    assert [step for (step,) in stepped] == [step for step in range(5) if not skipped[step]]
    kept = facts.sql(
        "SELECT a.step, bool_and(a.data = b.data) FROM param_state a JOIN param_state b USING (param) "
        "WHERE b.step = a.step + 1 GROUP BY ALL ORDER BY ALL"
    )
    assert [same for _, same in kept] == skipped[:4]


class Segmented(nn.Module):
    """Recomputes its body in the backward."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3))
        self.head = nn.Linear(8, 3)
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=self.reentrant))


def recomputed(model: nn.Module, run: Any) -> Any:
    sgd, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(3):
        x, y = batch()
        sgd.zero_grad()
        loss = functional.cross_entropy(run(model, x.requires_grad_()), y)
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses, model, sgd


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed_parts_count_once(same: Any, reentrant: bool):
    facts = same(lambda: recomputed(Segmented(reentrant), lambda model, x: model(x)))
    assert facts("forward", "module", "step", "grad") == [("Segmented", step, True) for step in range(3)]
    layers = ["Segmented.body.0", "Segmented.body.1", "Segmented.body.2", "Segmented.head"]
    # the first pass of a reentrant one runs without gradients, which are computed all the same
    assert facts("module_call", "module", "grad") == [(layer, True) for layer in layers] * 3
    assert facts("dropout_call", "module", "step", "grad") == [(layers[2], step, True) for step in range(3)]
    assert facts("accumulate", "step", where="param = 'body.0.weight'") == [0, 1, 2]
    # the recomputation moves running statistics once more, after the forward
    moved = facts.sql(
        "SELECT a.after = b.before FROM buffer_state a JOIN buffer_state b USING (buffer) "
        "WHERE b.step = a.step + 1 AND a.buffer LIKE '%running_mean'"
    )
    assert moved == [(False,), (False,)]


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_model_that_is_recomputed_as_a_whole(same: Any, reentrant: bool):
    facts = same(lambda: recomputed(net(), lambda model, x: checkpoint(model, x, use_reentrant=reentrant)))
    assert facts("forward", "module", "step", "grad") == [("Sequential", step, True) for step in range(3)]
    assert facts("param_state", "step", where="param = '0.weight'") == [0, 1, 2]
    assert facts("dropout_call", "module") == ["Sequential.3"] * 3


def test_segments_of_a_model(same: Any):
    """The model itself is not called: its parts are, and go by their names in it."""
    facts = same(
        lambda: recomputed(net(), lambda model, x: checkpoint_sequential(model, 2, x, use_reentrant=True))
    )
    assert facts("backward", "step") == facts("step", "step") == [0, 1, 2]
    assert set(facts("forward", "module", "grad")) == {(f"Sequential.{index}", True) for index in (0, 1, 4)}
    assert facts("accumulate", "step", where="param = '4.weight'") == [0, 1, 2]
