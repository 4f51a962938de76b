"""Libraries that run the loop on the user's behalf. Skipped where they are not installed (extra `frameworks`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.slow

LAYERS = ["0", "1", "4"]
PARAMS = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]
WINDOW = ["none", "nonzero"]


@pytest.fixture(autouse=True)
def calm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def data() -> TensorDataset:
    return TensorDataset(torch.randn(16, 4), torch.randint(0, 3, (16,)))


def check_windows(facts: Any, prefix: str = "") -> None:
    """Four steps of two batches each, clipped, scheduled, and cleared in between."""
    assert (
        facts("step", "step")
        == facts("optimizer_step", "step")
        == facts("optimizer_step", "nth")
        == [0, 1, 2, 3]
    )
    (optimizer,) = facts("optimizer", "optimizer")
    assert facts("backward", "step") == [0, 0, 1, 1, 2, 2, 3, 3]
    name = f"{prefix}0.weight"
    onto = facts("accumulate", "optimizer", "nth", "onto", where=f"param = '{name}'")
    assert onto == [(optimizer, n, kind) for n in range(4) for kind in WINDOW]
    assert set(facts("member", "param")) == {prefix + param for param in PARAMS}
    assert facts("update", "nth", where=f"param = '{name}' AND before <> after") == [0, 1, 2, 3]
    assert set(facts("clip", "optimizer", "kind", "limit")) == {(optimizer, "norm", 1.0)}
    assert set(facts("scheduler", "optimizer")) == {optimizer}
    train = facts("forward", "step", "loader", where="grad")
    assert [step for step, _ in train] == [0, 0, 1, 1, 2, 2, 3, 3]
    (loader,) = {loader for _, loader in train}
    described = facts("loader", "shuffle", "batch_size", "length", where=f"loader = '{loader}'")
    assert described == [(True, 4, 4)]
    assert facts("batch", "epoch", "index", where=f"loader = '{loader}'") == [
        (epoch, index) for epoch in range(2) for index in range(4)
    ]


def test_accelerate(same: Any):
    accelerate = pytest.importorskip("accelerate")

    def train() -> Any:
        helper = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model, losses = net(), []
        adam = torch.optim.AdamW(model.parameters(), lr=0.01)
        parts = model, adam, DataLoader(data(), 4, True), torch.optim.lr_scheduler.StepLR(adam, 1)
        model, adam, loader, decay = helper.prepare(*parts)
        for _ in range(2):
            for x, y in loader:
                with helper.accumulate(model):
                    loss = functional.cross_entropy(model(x), y)
                    helper.backward(loss)
                    helper.clip_grad_norm_(model.parameters(), 1.0)
                    adam.step()
                    decay.step()
                    adam.zero_grad()
                    losses.append(loss.item())
        return losses, model, adam

    facts = same(train)
    check_windows(facts)
    assert facts("optimizer", "optimizer", "class") == [("AdamW#0", "AdamW")]
    assert facts("scheduler_step", "step", "nth") == [(n, n) for n in range(4)]


class Wrapped(nn.Module):
    """A model as the Trainer of Transformers wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def test_transformers_trainer(same: Any, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    def train() -> Any:
        samples = [{"x": x, "labels": int(y)} for x, y in data()]
        arguments = transformers.TrainingArguments(
            str(tmp_path), per_device_train_batch_size=4, num_train_epochs=2, gradient_accumulation_steps=2,
            eval_strategy="epoch", save_steps=2, logging_strategy="no", report_to=[], use_cpu=True,
            disable_tqdm=True,
        )  # fmt: skip
        trainer = transformers.Trainer(Wrapped(), arguments, train_dataset=samples, eval_dataset=samples[:4])
        return trainer.train().training_loss, trainer.model, trainer.optimizer

    facts = same(train)
    check_windows(facts, "net.")
    assert facts("optimizer", "optimizer", "class") == [("AdamW#0", "AdamW")]
    assert facts("scheduler_step", "step", "nth") == [(n, n) for n in range(4)]
    assert set(facts("zero_grad", "object")) == {"Wrapped"}  # it clears through the model
    # it evaluates after each epoch, when the next step has been cleared for
    assert facts("forward", "step", "training", where="NOT grad") == [(2, False), (4, False)]
    saved = facts("checkpoint_saved", "path", where="optimizer")
    assert [Path(path).parent.name for path in saved] == ["checkpoint-2", "checkpoint-4"]


def test_lightning(same: Any, tmp_path: Path):
    lightning = pytest.importorskip("pytorch_lightning")

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            adam = torch.optim.Adam(self.parameters(), lr=0.01)
            return [adam], [torch.optim.lr_scheduler.StepLR(adam, 1)]

    def train() -> Any:
        trainer = lightning.Trainer(
            max_epochs=2, accumulate_grad_batches=2, gradient_clip_val=1.0, accelerator="cpu", logger=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        samples, model = data(), Lit()
        trainer.fit(model, DataLoader(samples, 4, True), DataLoader(samples, 8))
        return model, trainer.optimizers

    facts = same(train)
    check_windows(facts, "net.")
    # the last batch of a window is computed inside of the step, as a closure; the schedule moves once an epoch
    assert facts("optimizer_step", "closure") == [True] * 4
    assert [call > 0 for call in facts("backward", "closure")] == [False, True] * 4
    assert facts("scheduler_step", "step") == [1, 3]
    # the user calls a part of the module; an evaluation comes first
    modes = facts("forward", "module", "step", "training", "grad")
    evaluated = [("Lit.net", step, False, False) for step in (0, 0, 2, 2, 4, 4)]
    assert [mode for mode in modes if not mode[3]] == evaluated
    assert modes[:2] == evaluated[:2]
    assert facts("checkpoint_saved", "model", "optimizer") == [(True, True)] * 2
