"""Watched objects that are copied, stored, or left in the middle by an exception."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument.probes.context import Context, context
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset


class Net(nn.Module):
    """At module level, so that it can be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.head = nn.Linear(8, 3)
        self.fails = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        if self.fails == "forward":
            raise KeyError("forward")
        if self.fails == "interrupt":
            raise KeyboardInterrupt
        return self.head(Fragile.apply(x, self.fails))


class Fragile(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fails: str) -> torch.Tensor:
        ctx.fails = fails
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        if ctx.fails == "backward":
            raise KeyError("backward")
        return grads[0], None


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 3, (6,)))
    loss.backward()
    optimizer.step()
    return loss.item()


def stored(thing: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


COPIES: dict[str, Any] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "save": lambda thing: torch.load(io.BytesIO(stored(thing)), weights_only=False),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_train_on_as_the_originals_would(same: Any, how: str):
    def train() -> Any:
        model = Net()
        adam = torch.optim.Adam(model.parameters())
        losses = [step(model, adam) for _ in range(2)]
        twin, other = COPIES[how]((model, adam))  # together: the copied optimizer owns the copied parameters
        assert all(map(torch.equal, twin.parameters(), model.parameters()))
        losses += [step(twin, other) for _ in range(2)]
        return losses, model, adam, twin, other

    facts = same(train)
    assert facts("forward", "module", "step") == [("Net", 0), ("Net", 1), ("Net#1", 2), ("Net#1", 3)]
    names = ["Net.head.weight", "Net#1.head.weight"]
    weights = facts("update", "param", "before", "after", where="param LIKE '%head.weight'")
    assert [name for name, _, _ in weights] == [names[0]] * 2 + [names[1]] * 2
    # the copy begins where the original stopped
    assert all(later[1] == earlier[2] for earlier, later in itertools.pairwise(weights))
    assert facts("optimizer_state", "counter") == [1, 2, 3, 4]


def test_no_trace_of_the_recorder_in_what_is_stored(record: Any):
    found: list[bytes] = []

    def train() -> None:
        model = Net()
        adam = torch.optim.Adam(model.parameters())
        decay = torch.optim.lr_scheduler.StepLR(adam, 1)
        attributes = [set(vars(thing)) for thing in (model, model.head, adam, decay, model.head.weight)]
        for _ in range(2):
            step(model, adam)
            decay.step()
        later = [set(vars(thing)) for thing in (model, model.head, adam, decay, model.head.weight)]
        assert [new - old for old, new in zip(attributes, later, strict=True)] <= [
            set(),
            set(),
            {"_opt_called"},
            {"_is_initial"},
            set(),
        ] or later == attributes
        whole = model, adam, decay.state_dict(), model.state_dict()
        found.extend([stored(whole), pickle.dumps(whole), pickle.dumps(copy.deepcopy(whole))])

    record(train)
    assert len(found) == 3
    assert all(b"tcrules" not in data for data in found)
    model = pickle.loads(found[1])[0]
    assert model(torch.ones(2, 4)).shape == (2, 3)


def test_models_of_whole_files(same: Any, tmp_path: Path):
    def train() -> Any:
        model = Net()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        step(model, sgd)
        torch.save(model, tmp_path / "model.pt")
        return model, torch.load(tmp_path / "model.pt", weights_only=False)

    facts = same(train)
    assert facts("checkpoint_saved", "path", "model", "optimizer") == [
        (str(tmp_path / "model.pt"), True, False)
    ]
    assert facts("checkpoint_loaded", "saved_here") == [True]


class Breaking(Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise KeyError("data")
        return torch.ones(4)


def neutral() -> None:
    """Nothing of a call that was left by an exception remains."""
    fresh = vars(Context())
    assert {name: value for name, value in vars(context).items() if name != "calls" and name != "layers"} == {
        name: value for name, value in fresh.items() if name != "calls" and name != "layers"
    }


def broken(what: str, model: Net, optimizer: torch.optim.Optimizer) -> None:
    """Break a training step in the middle of `what`."""
    model.fails = what
    x = torch.randn(6, 4)
    if what == "closure":
        optimizer.step(lambda: {}["closure"])
    elif what == "data":
        for _ in DataLoader(Breaking()):
            pass
    elif what == "save":
        torch.save(lambda: None, io.BytesIO())
    elif what == "checkpoint":
        model.fails = "forward"
        checkpoint(model, x.requires_grad_(), use_reentrant=True)
    elif what == "scaler":
        torch.amp.GradScaler("cpu").step(optimizer)
    elif what == "deepcopy":
        model.lock = open(__file__)  # noqa: SIM115  (cannot be copied)
        try:
            copy.deepcopy(model)
        finally:
            model.lock.close()
            del model.lock
    else:
        model(x).sum().backward()


WHERE = ["forward", "interrupt", "backward", "closure", "data", "save", "checkpoint", "scaler", "deepcopy"]


@pytest.mark.parametrize("what", WHERE)
def test_after_an_exception_everything_is_recorded_again(same: Any, what: str):
    def train() -> Any:
        model = Net()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        losses = [step(model, sgd)]
        with pytest.raises(
            (KeyError, KeyboardInterrupt, AssertionError, AttributeError, TypeError, pickle.PicklingError)
        ):
            broken(what, model, sgd)
        model.fails = ""
        neutral()
        losses += [step(model, sgd) for _ in range(2)]
        return losses, model, sgd

    facts = same(train)
    last = facts.sql("SELECT max(step) FROM step")[0][0]
    assert facts("optimizer_step", "nth", "skipped") == [(n, False) for n in range(3)]
    for step_number in (last - 1, last):
        apis = facts.sql(
            f'SELECT api, parent FROM call WHERE step = {step_number} AND NOT raised ORDER BY "begin"'
        )
        assert apis[-5:] == [
            ("torch.optim.Optimizer.zero_grad", 0),
            ("torch.nn.Module.forward", 0),
            ("torch.nn.functional.cross_entropy", 0),
            ("torch.Tensor.backward", 0),
            ("torch.optim.Optimizer.step", 0),
        ]
        layers = facts("module_call", "module", where=f"step = {step_number}")
        assert layers[-4:] == ["Net.body.0", "Net.body.1", "Net.body.2", "Net.head"]
        assert len(facts("update", "param", where=f"step = {step_number}")) == 6
    # rates of change go on from value to value
    assert facts.sql(
        "SELECT count(*) FROM update a JOIN update b USING (param) WHERE b.nth = a.nth + 1 AND a.after <> b.before"
    ) == [(0,)]
