"""Ways of training in plain Python: what each is recorded as, and that recording changes none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def loss_of(model: nn.Module) -> torch.Tensor:
    return functional.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 3, (6,)))


NAMES = ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]


def test_plain_loop(same: Any):
    def train() -> Any:
        model, losses = net(), []
        adam = torch.optim.AdamW(model.parameters(), lr=0.01)
        decay = torch.optim.lr_scheduler.StepLR(adam, 2)
        for _ in range(4):
            adam.zero_grad()
            loss = loss_of(model)
            loss.backward()
            adam.step()
            decay.step()
            losses.append(loss.item())
        return losses, model, adam, decay

    facts = same(train)
    steps = [0, 1, 2, 3]
    assert facts("step", "step") == steps
    for relation in ("forward", "loss_call", "backward", "optimizer_step", "scheduler_step", "zero_grad"):
        assert (relation, facts(relation, "step")) == (
            relation,
            steps if relation != "loss_call" else [0, 1, 2],
        )
    assert facts("update", "param", "nth") == [(name, nth) for nth in steps for name in NAMES]
    assert facts("param_state", "param", "step") == [(name, step) for step in steps for name in NAMES]


def test_gradient_accumulation(same: Any):
    def train() -> Any:
        model, losses = net(), []
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for number in range(7):
            loss = loss_of(model) / 3
            loss.backward()
            losses.append(loss.item())
            if number % 3 == 2:
                sgd.step()
                sgd.zero_grad()
        return losses, model, sgd

    facts = same(train)
    assert facts("backward", "step") == [0, 0, 0, 1, 1, 1, 2]
    assert facts("optimizer_step", "step", "nth") == [(0, 0), (1, 1)]
    # the first of a window starts from nothing, the others add
    onto = facts("accumulate", "step", "nth", "onto", where="param = '4.bias'")
    window = ["none", "nonzero", "nonzero"]
    assert onto == [(n, n, kind) for n in range(2) for kind in window] + [(2, 2, "none")]


def test_several_optimizers(same: Any):
    """A GAN: the critic is stepped twice for each step of the generator, and passes gradients on to it."""

    def train() -> Any:
        made, critic = nn.Linear(2, 4), nn.Linear(4, 1)
        ours = torch.optim.Adam(made.parameters(), lr=0.01)
        theirs = torch.optim.RMSprop(critic.parameters(), lr=0.01)
        for _ in range(3):
            for _ in range(2):
                theirs.zero_grad()
                (
                    critic(made(torch.randn(5, 2)).detach()).mean() - critic(torch.randn(5, 4)).mean()
                ).backward()
                theirs.step()
            ours.zero_grad()
            (-critic(made(torch.randn(5, 2))).mean()).backward()
            ours.step()
        return made, critic, ours, theirs

    facts = same(train)
    steps = facts("optimizer_step", "optimizer", "nth")
    assert steps == [
        step for n in range(3) for step in [("RMSprop#0", 2 * n), ("RMSprop#0", 2 * n + 1), ("Adam#0", n)]
    ]
    # gradients of the critic from the generator's loss go to the next step of the critic, which clears them first
    last = "param LIKE '%weight' AND call = (SELECT max(call) FROM backward)"
    assert facts("accumulate", "optimizer", "nth", where=last) == [("Adam#0", 2), ("RMSprop#0", 6)]
    owners = facts.sql(
        "SELECT DISTINCT optimizer, root FROM member JOIN parameter USING (param) ORDER BY ALL"
    )
    assert owners == [("Adam#0", "Linear"), ("RMSprop#0", "Linear#1")]


def test_optimizers_in_the_backward(same: Any):
    """One for each parameter, stepped by a hook as soon as the gradient is there: all of them make a step."""

    def train() -> Any:
        model = net()
        optimizers = {param: torch.optim.SGD([param], lr=0.1) for param in model.parameters()}

        def apply(param: torch.Tensor) -> None:
            optimizers[param].step()
            optimizers[param].zero_grad()

        for param in model.parameters():
            param.register_post_accumulate_grad_hook(apply)
        losses = []
        for _ in range(3):
            loss = loss_of(model)
            loss.backward()
            losses.append(loss.item())
        return losses, model, list(optimizers.values())

    facts = same(train, gaps=True)
    assert facts("step", "step") == facts("forward", "step") == facts("backward", "step") == [0, 1, 2]
    assert facts.sql("SELECT step, count(*) FROM optimizer_step GROUP BY step ORDER BY step") == [
        (step, len(NAMES)) for step in range(3)
    ]
    assert sorted(facts("update", "param", "nth")) == sorted(
        (name, nth) for name in NAMES for nth in range(3)
    )
    assert set(facts("gradient", "class")) == {"nonzero"}
    assert facts.gaps("relation") == ["accumulate"]


def test_closures(same: Any):
    def train() -> Any:
        model, losses = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), []
        lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=3, line_search_fn="strong_wolfe")
        x, y = torch.randn(6, 4), torch.randint(0, 3, (6,))

        def evaluate() -> torch.Tensor:
            lbfgs.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        losses += [lbfgs.step(evaluate).item() for _ in range(3)]
        return losses, model, lbfgs

    facts = same(train)
    assert facts("optimizer_step", "step", "nth", "closure") == [(n, n, True) for n in range(3)]
    inside = facts.sql(
        "SELECT s.step, count(*) FROM backward b JOIN optimizer_step s ON b.closure = s.call "
        'WHERE b."begin" > s."begin" AND b."end" < s."end" AND b.step = s.step GROUP BY ALL ORDER BY ALL'
    )
    assert [step for step, _ in inside] == [0, 1, 2] and all(count >= 2 for _, count in inside)
    assert (
        sum(count for _, count in inside) == len(facts("backward", "call")) == len(facts("forward", "call"))
    )
    assert facts.sql("SELECT count(*) FROM update WHERE before = after") == [(0,)]


@pytest.mark.parametrize("write", ["data", "no_grad", "foreach", "autograd.grad"])
def test_hand_written_optimizers(same: Any, write: str):
    """Nothing steps, so each parameter's values at forwards tell; no optimizer is made responsible."""

    def update(model: nn.Module, loss: torch.Tensor) -> None:
        params = list(model.parameters())
        if write == "autograd.grad":
            grads = torch.autograd.grad(loss, params)
        else:
            loss.backward()
            grads = tuple(p.grad for p in params)
        with torch.no_grad():
            if write == "foreach":
                torch._foreach_add_(params, grads, alpha=-0.1)
            for param, grad in zip(params, grads, strict=True):
                if write == "data":
                    param.data -= 0.1 * grad
                elif write != "foreach":
                    param -= 0.1 * grad
                param.grad = None

    def train() -> Any:
        model, losses = net(), []
        for _ in range(5):
            loss = loss_of(model)
            update(model, loss)
            losses.append(loss.item())
        return losses, model

    facts = same(train, gaps=write == "autograd.grad")
    steps = list(range(5))
    assert facts("step", "step") == facts("forward", "step") == steps
    assert facts("optimizer", "optimizer") == facts("member", "param") == facts("update", "param") == []
    # every value is seen, although `.data` moves neither a pointer nor a version
    values = "SELECT param, count(DISTINCT data) FROM param_state WHERE param LIKE '%weight' GROUP BY ALL"
    assert sorted(facts.sql(values)) == [("0.weight", 5), ("1.weight", 5), ("4.weight", 5)]
    if write == "autograd.grad":
        assert facts("call", "step", where="api = 'torch.autograd.grad'") == steps
        assert facts.gaps("relation", "first_step") == [("accumulate", 0)]
    else:
        assert facts("backward", "step") == steps
        assert set(facts("accumulate", "optimizer", "nth", "onto")) == {("", -1, "none")}


def test_resuming(same: Any, tmp_path: Path):
    def loop(model: nn.Module, adam: torch.optim.Optimizer, decay: Any, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            adam.zero_grad()
            loss = loss_of(model)
            loss.backward()
            adam.step()
            decay.step()
            losses.append(loss.item())
        return losses

    def made() -> Any:
        model = net()
        adam = torch.optim.Adam(model.parameters(), lr=0.1)
        return model, adam, torch.optim.lr_scheduler.ExponentialLR(adam, 0.9)

    def train() -> Any:
        first = made()
        losses = loop(*first, 2)
        state = {name: thing.state_dict() for name, thing in zip("mod", first, strict=True)}
        torch.save({**state, "rng": torch.get_rng_state()}, tmp_path / "checkpoint.pt")
        second = made()
        state = torch.load(tmp_path / "checkpoint.pt")
        for name, thing in zip("mod", second, strict=True):
            thing.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        return losses, loop(*second, 2), second

    facts = same(train)
    assert facts("checkpoint_saved", "model", "optimizer") == [(True, True)]
    (loaded,) = facts("checkpoint_loaded", "call", "model", "optimizer", "saved_here")
    assert loaded[1:] == (True, True, True)
    assert facts("model_loaded", "module", "checkpoint", "missing", "unexpected") == [
        ("Sequential#1", loaded[0], 0, 0)
    ]
    assert facts("optimizer_loaded", "optimizer", "checkpoint") == [("Adam#1", loaded[0])]
    # the counters in the state go on, those of the object start anew
    assert facts("optimizer_state", "optimizer", "nth", "counter") == [
        ("Adam#0", 0, 1),
        ("Adam#0", 1, 2),
        ("Adam#1", 0, 3),
        ("Adam#1", 1, 4),
    ]
    assert facts("param_group", "lr") == [pytest.approx(0.1 * 0.9**n) for n in range(4)]
    # what is trained on is what was saved
    assert (
        facts.sql(
            "SELECT count(*) FROM update a JOIN update b ON a.nth = 1 AND b.nth = 0 AND a.optimizer = 'Adam#0' "
            "AND b.optimizer = 'Adam#1' AND 'Sequential.' || a.param <> b.param AND a.after = b.before"
        )[0][0]
        >= 6
    )
    assert set(facts("parameter", "trained_before", where="root = 'Sequential#1'")) == {True}
