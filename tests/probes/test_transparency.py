"""The recorder changes nothing that the program can see."""

from __future__ import annotations

import copy
import io
import pickle
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.probes.helping import scaled_step


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(functional.relu(self.norm(self.first(x)))))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(16, 8), torch.randint(0, 3, (16,))


def loop(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4) -> list[float]:
    losses = []
    for _ in range(steps):
        x, y = batch()
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def plain(optimizer: str, **options: Any) -> list[Any]:
    model = Net()
    return [loop(model, getattr(torch.optim, optimizer)(model.parameters(), lr=0.01, **options)), model]


def closure() -> list[Any]:
    model = Net()
    lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=3)
    x, y = batch()

    def evaluate() -> torch.Tensor:
        lbfgs.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return [[lbfgs.step(evaluate).item() for _ in range(3)], model]


def scaled() -> list[Any]:
    model = Net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
    scales = []
    for _ in range(5):
        x, y = batch()
        sgd.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(model(x), y)
        scaled_step(model, sgd, scaler, loss)
        scales.append(scaler.get_scale())
    return [scales, model]


def loaded() -> list[Any]:
    model = Net()
    data = TensorDataset(torch.randn(40, 8), torch.randint(0, 3, (40,)))
    adam = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(adam, 0.1, total_steps=20)
    averaged = copy.deepcopy(model)
    losses = []
    for _ in range(2):
        for x, y in DataLoader(data, batch_size=8, shuffle=True):
            adam.zero_grad()
            loss = functional.cross_entropy(model(x + np.random.normal() + random.random()), y)
            loss.backward()
            adam.step()
            scheduler.step()
            losses.append(loss.item())
        with torch.no_grad():
            for old, new in zip(averaged.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.1)
    return [losses, averaged, model]


LOOPS: list[Callable[[], list[Any]]] = [
    lambda: plain("SGD", momentum=0.9),
    lambda: plain("Adam", fused=True),
    lambda: plain("AdamW", foreach=True),
    closure,
    scaled,
    loaded,
]


@pytest.mark.parametrize("train", LOOPS)
def test_training_is_bit_identical(same: Any, train: Callable[[], list[Any]]):
    same(train)


def test_nothing_is_printed(record: Any, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder):
    record(scaled)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn if "scheduler" not in str(warning.message)] == []


def test_everything_is_taken_back(record: Any):
    watched = [
        (nn.Module, "__call__"),
        (nn.Module, "train"),
        (torch, "save"),
        (torch, "manual_seed"),
        (torch, "compile"),
        (torch.Tensor, "backward"),
        (torch.optim.Optimizer, "__init__"),
        (torch.optim.SGD, "step"),
        (functional, "dropout"),
        (functional, "cross_entropy"),
        (nn.utils, "clip_grad_norm_"),
        (copy, "deepcopy"),
        (np.random, "seed"),
        (random, "seed"),
        (DataLoader, "__iter__"),
        (torch.optim.lr_scheduler.StepLR, "step"),
        (torch.amp.GradScaler, "step"),
        (torch.utils.data._utils.worker, "_worker_loop"),
    ]
    torch.optim.SGD(Net().parameters())  # torch itself wraps the step of a class on first use
    before = [vars(owner).get(name) for owner, name in watched]
    record(lambda: plain("SGD"))
    assert [vars(owner).get(name) for owner, name in watched] == before
    assert not nn.modules.module._global_parameter_registration_hooks


def test_models_can_be_copied_and_saved(record: Any):
    def train() -> None:
        model = Net()
        attributes = set(model.__dict__)
        adam = torch.optim.Adam(model.parameters())
        loop(model, adam)
        assert set(model.__dict__) == attributes
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        for twin in (
            copy.deepcopy(model),
            pickle.loads(pickle.dumps(model)),
            torch.load(buffer, weights_only=False),
        ):
            assert all(map(torch.equal, twin.parameters(), model.parameters()))
        loop(model, copy.deepcopy(adam), 1)
        pickle.loads(pickle.dumps(adam))

    record(train)


def test_exceptions_pass_through(record: Any):
    class Fragile(nn.Linear):
        fails = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.fails:
                raise KeyError("forward")
            return super().forward(x)

    class FragileSGD(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            raise KeyError("step")

    def train() -> None:
        model = Fragile(8, 3)
        broken, sound = FragileSGD(model.parameters()), torch.optim.SGD(model.parameters())
        for _ in range(2):
            model.fails = True
            with pytest.raises(KeyError, match="forward"):
                model(torch.ones(1, 8))
            model.fails = False
            model(torch.ones(1, 8)).sum().backward()
            with pytest.raises(KeyError, match="step"):
                broken.step()
            with pytest.raises(RuntimeError):
                torch.ones(1).backward()
            sound.step()

    facts = record(train)
    assert (
        facts("call", "api", where="raised")
        == ["torch.nn.Module.forward", "torch.optim.Optimizer.step", "torch.Tensor.backward"] * 2
    )
    assert facts("optimizer_step", "optimizer", "nth") == [("SGD#0", 0), ("SGD#0", 1)]
    assert facts.sql("SELECT DISTINCT parent FROM call") == [(0,)]


def test_threads_have_their_own_forwards(record: Any):
    def train() -> None:
        models = [Net() for _ in range(3)]
        threads = [
            threading.Thread(target=loop, args=(model, torch.optim.SGD(model.parameters(), lr=0.1), 5))
            for model in models
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # a thread that is late leaves a gap: of its parameters the others know the optimizer, and not yet the model
    facts = record(train, gaps=True)
    assert sorted(facts.sql("SELECT module, count(*) FROM forward GROUP BY ALL")) == [
        ("Net", 5),
        ("Net#1", 5),
        ("Net#2", 5),
    ]
    assert facts.sql("SELECT count(*) FROM optimizer_step") == [(15,)]


def test_gradients_that_another_thread_writes_are_not_read(record: Any):
    """Reading one while it is written is a crash of the process."""
    models = [nn.Sequential(*[nn.Linear(64, 64) for _ in range(16)]) for _ in range(4)]
    loose = [nn.Parameter(torch.ones(64, requires_grad=True)) for _ in models]

    def steps(model: nn.Module, scale: nn.Parameter) -> None:
        optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            model(torch.ones(16, 64)).mul(scale).square().mean().backward()
            optimizer.step()

    def train() -> None:
        threads = [threading.Thread(target=steps, args=pair) for pair in zip(models, loose, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    facts = record(train, gaps=True)
    assert len(facts("backward", "call")) == 4 * 60
    assert facts.sql("SELECT count(*) FROM accumulate WHERE param LIKE '%.weight'") == [(4 * 60 * 16,)]
    assert (
        "several threads train"
        in facts.sql("SELECT why FROM instrument_gap WHERE relation = 'accumulate'")[0][0]
    )


def test_modes_of_the_user_see_only_the_users_operations(record: Any):
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Functions(TorchFunctionMode):
        count = 0

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return function(*args, **(kwargs or {}))

    class Dispatches(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return function(*args, **(kwargs or {}))

    def count() -> list[int]:
        model = Net()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        loop(model, sgd, 1)
        with Functions() as functions:
            loop(model, sgd, 2)
        with Dispatches() as dispatches:
            loop(model, sgd, 2)
        return [functions.count, dispatches.count]

    expected = count()
    found: list[int] = []
    record(lambda: found.extend(count()))
    assert found == expected
