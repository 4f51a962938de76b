"""Objects of the user that raise when they are looked at: training does not notice, and what is lost is told."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument import session as sessions
from tcrules.instrument.runs import open_run
from tcrules.instrument.watching import watch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Seen(Exception):
    """Somebody looked."""


class Hostile:
    """Raises whatever is done with it."""

    def _raise(self, *_: object) -> Any:
        raise Seen

    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __repr__ = __str__ = __format__ = _raise
    __hash__ = __call__ = __getitem__ = __contains__ = __float__ = __int__ = __index__ = __fspath__ = _raise

    def __getattr__(self, name: str) -> Any:
        raise Seen(name)


class Texts(Hostile, str):
    """A text that cannot be compared."""

    __slots__ = ()


class Net(nn.Module):
    """A model whose class raises where a model of the user's may."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.note = nn.Linear(4, 4), Hostile()

    def forward(self, x: torch.Tensor, extra: object = None) -> torch.Tensor:
        return self.fc(x)

    def __repr__(self) -> str:
        raise Seen

    __eq__ = __bool__ = __len__ = __repr__  # type: ignore[assignment]

    __hash__ = nn.Module.__hash__  # torch's own walk of a model needs it

    def __getattr__(self, name: str) -> Any:
        if name in ("_parameters", "_buffers", "_modules", "fc"):
            return super().__getattr__(name)
        raise Seen(name)


class Wary(nn.Parameter):
    """A parameter whose operations must not be called by the recorder."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if sys._getframe(1).f_code.co_filename.startswith(os.path.dirname(sessions.__file__)):
            raise Seen(function)
        return super().__torch_function__(function, types, args, kwargs or {})


class Rows(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Hostile]:
        return torch.full((4,), float(index)), Hostile()


class SGD(torch.optim.SGD):
    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.1)
        self.note = Hostile()
        self.param_groups[0]["note"] = Hostile()

    def __repr__(self) -> str:
        raise Seen

    __eq__ = __hash__ = __repr__  # type: ignore[assignment]


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Any = None) -> list[Any]:
    """Train; returns losses and parameters."""
    losses = []
    for number in range(4):
        optimizer.zero_grad()
        loss = model(torch.full((2, 4), number + 1.0), *(inputs or ())).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(list(nn.Module.parameters(model)), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return [losses, [p.detach().numpy().tobytes() for p in nn.Module.parameters(model)]]


def hostile_model() -> list[Any]:
    model = Net()
    return steps(model, torch.optim.Adam(nn.Module.parameters(model)), (Hostile(),))


def hostile_optimizer() -> list[Any]:
    model = nn.Linear(4, 4)
    return steps(model, SGD(model.parameters()))


def hostile_batches() -> list[Any]:
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for rows, _ in DataLoader(
        Rows(), batch_size=4, collate_fn=lambda rows: (torch.stack([r for r, _ in rows]), rows)
    ):
        model(rows)
    return steps(model, optimizer)


def hostile_parameter() -> list[Any]:
    model = nn.Linear(4, 4)
    model.weight = Wary(model.weight.detach())
    return steps(model, torch.optim.SGD(model.parameters(), lr=0.1))


def hostile_state() -> list[Any]:
    model = nn.Linear(4, 4)
    with pytest.raises(Exception):  # noqa: B017  (not ours: pickle's own)
        torch.save({"note": lambda: 0, "model": Hostile(), Texts("a"): 1}, io.BytesIO())
    with pytest.raises((Seen, AttributeError, RuntimeError)):
        torch.load(Hostile())
    with pytest.raises((Seen, TypeError)):
        model.load_state_dict(Hostile())  # type: ignore[arg-type]
    with pytest.raises(Seen):
        torch.manual_seed(Hostile())  # type: ignore[arg-type]
    torch.manual_seed(3)
    return steps(model, torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    "train", [hostile_model, hostile_optimizer, hostile_batches, hostile_parameter, hostile_state]
)
def test_training_goes_on(record: Any, train: Callable[[], list[Any]]):
    def seeded() -> list[Any]:
        torch.manual_seed(0)
        return train()

    expected, found = seeded(), []
    facts = record(lambda: found.extend(seeded()), gaps=True)
    assert found == expected
    lost = set(facts.gaps("relation"))
    steps = {
        name: len(facts(name, "call"))
        for name in ("forward", "optimizer_step", "backward", "zero_grad", "clip")
    }
    assert all(number >= 4 for number in steps.values())
    assert not lost & {"*", *steps}, "nothing needs to be lost"


@pytest.mark.parametrize("words", [[], [None, object(), b"\xff"], [Texts("a")], [Hostile()], None])
@pytest.mark.parametrize("name", ["argv", "orig_argv"])
def test_command_lines_that_are_none(name: str, words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if words is None:
        monkeypatch.delattr(sys, name)
    else:
        monkeypatch.setattr(sys, name, words)
    with watch(run=tmp_path / "run"):
        steps(model := nn.Linear(4, 4), torch.optim.SGD(model.parameters(), lr=0.1))
    assert "4 steps" in open_run(tmp_path / "run").describe()
    with watch() as default:  # named after the script
        pass
    assert default.run.parent.name == "runs"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_stderr_to_complain_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TCRULES_DEBUG", "1")
    monkeypatch.setattr(sys, "stderr", None)
    session = sessions.Session(tmp_path / "run")
    session.guard("p", "step")(lambda: 1 / 0)()
    assert session.is_disabled("p")


def test_facts_of_the_user_that_are_none(tmp_path: Path):
    with watch(run=tmp_path / "run") as watched:
        session = sessions.current()
        assert session is not None
        for relation in (3, None, ["a"], {}, Hostile(), Texts("mine"), "a b", "x" * 99):
            session.emit(relation, {"x": 1})
        for value in (
            Hostile(),
            Texts("a"),
            None,
            [1],
            2**70,
            float("nan"),
            "\udc80",
            "a\0b",
            b"x",
            torch.ones(3),
        ):
            session.emit("mine", {"x": value})
        session.emit("incoming", {"fact": 1})
        session.emit("incoming", {"x": 1})
    assert "incoming" in open_run(watched.run).relations()
