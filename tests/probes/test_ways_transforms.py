"""Compiled, transformed, scripted and hand-made functions: what is recorded, and what is said to be unknown."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

WHY_COMPILED = "calls inside of compiled code are not seen"
WHY_TRANSFORM = "calls under torch.func transforms are not recorded"


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(6, 4), torch.randint(0, 3, (6,))


def loop(model: nn.Module, run: Any) -> Any:
    """Train for three steps; `run` gets inputs and labels, and returns the loss."""
    sgd, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(3):
        sgd.zero_grad()
        loss = run(*batch())
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses, model, sgd


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("what", ["model", "in place"])
def test_compiled_models(same: Any, backend: str, what: str):
    def train() -> Any:
        torch._dynamo.reset()
        model = net()
        if what == "in place":
            model.compile(backend=backend)
        compiled = model if what == "in place" else torch.compile(model, backend=backend)
        return loop(model, lambda x, y: functional.cross_entropy(compiled(x), y))

    facts = same(train, gaps=True)
    # what runs inside is unknown, not absent
    assert facts.gaps("relation", "why") == [
        (relation, WHY_COMPILED)
        for relation in (
            *("module_call", "layer_gradient", "dropout_call", "attention_call"),
            *("loss_call", "call", "signature"),
        )
    ]
    if what != "in place":  # of a container of torch's own dynamo then compiles nothing, with us or without
        assert facts("module_call") == facts("dropout_call") == []
    steps = [0, 1, 2]
    assert facts("forward", "module", "step") == [("Sequential", step) for step in steps]
    assert facts("backward", "step") == facts("optimizer_step", "step") == facts("loss_call", "step") == steps
    assert len(facts("accumulate", "param")) == len(facts("update", "param")) == 18
    assert facts.sql("SELECT count(*) FROM buffer_state WHERE before <> after") == [(9,)]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_steps(same: Any, backend: str):
    """A function that calls model and loss: not even the forward is seen."""

    def train() -> Any:
        torch._dynamo.reset()
        model = net()

        @torch.compile(backend=backend)
        def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(model(x), y)

        return loop(model, run)

    facts = same(train, gaps=True)
    gaps = facts.gaps("relation", where=f"why = '{WHY_COMPILED}'")
    assert {"forward", "module_call", "dropout_call", "loss_call", "param_state", "backward"} <= set(gaps)
    # the gradients tell which model it is
    assert set(facts("parameter", "root")) == {"Sequential"}
    assert facts("forward") == facts("loss_call") == []
    assert facts("backward", "step") == facts("optimizer_step", "step") == [0, 1, 2]
    assert facts.sql("SELECT count(*) FROM update WHERE before <> after AND param LIKE '%weight'") == [(9,)]


def test_gradients_of_functions(same: Any):
    """torch.func.grad on parameters that are updated by hand."""

    def train() -> Any:
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        params = {name: param.detach() for name, param in model.named_parameters()}

        def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(functional_call(model, params, (x,)), y)

        for _ in range(3):
            found = grad(loss)(params, *batch())
            params = {name: param - 0.1 * found[name] for name, param in params.items()}
        x, y = batch()
        each = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")(
            params, x.unsqueeze(1), y.unsqueeze(1)
        )
        return params, each

    facts = same(train, gaps=True)
    # each of three updates is a step; the gradients of single samples at the end are none of their own
    assert facts("step", "step") == [0, 1, 2]
    gaps = facts.gaps("relation", where=f"why = '{WHY_TRANSFORM}'")
    assert {"forward", "backward", "accumulate", "param_state", "loss_call", "parameter", "module"} <= set(
        gaps
    )
    assert set(facts.gaps("why")) == {WHY_TRANSFORM}
    assert facts("forward") == facts("backward") == facts("parameter") == []


def test_functional_calls(same: Any):
    """Parameters of the caller's own take the place of the model's for one call."""

    def train() -> Any:
        model = net()
        params = {name: param.detach().clone().requires_grad_() for name, param in model.named_parameters()}
        adam, losses = torch.optim.Adam(params.values(), lr=0.01), []
        for _ in range(3):
            x, y = batch()
            adam.zero_grad()
            loss = functional.cross_entropy(functional_call(model, params, (x,)), y)
            loss.backward()
            adam.step()
            losses.append(loss.item())
        return losses, params, adam, model

    facts = same(train)
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]
    assert facts("parameter", "param") == facts("member", "param") == names
    assert facts("forward", "module", "step") == [("Sequential", step) for step in range(3)]
    assert facts("update", "param", "step") == [(name, step) for step in range(3) for name in names]
    assert facts("accumulate", "optimizer", "nth", where="param = '0.weight'") == [
        ("Adam#0", n) for n in range(3)
    ]


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():  # a gradient within a gradient is no pass of its own
            y = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad((y**3).sum(), y)
        return slope * grads[0]


def test_functions_with_a_backward_of_their_own(same: Any):
    def train() -> Any:
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 3))
        return loop(model, lambda x, y: functional.cross_entropy(Cube.apply(model(x)), y))

    facts = same(train)
    assert facts("backward", "step") == facts("forward", "step") == facts("step", "step") == [0, 1, 2]
    assert len(facts("accumulate", "param")) == 12
    assert facts("call", "api", where="api LIKE '%autograd.grad'") == []


def test_gradient_penalties(same: Any):
    """Gradients of inputs beside a backward: seen, and no reason for a gap."""

    def train() -> Any:
        critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

        def run(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            x.requires_grad_()
            score = critic(x).sum()
            (slope,) = torch.autograd.grad(score, x, create_graph=True)
            return score + (slope.norm(dim=1) - 1).square().mean()

        return loop(critic, run)

    facts = same(train)
    assert facts("backward", "step") == facts("step", "step") == [0, 1, 2]
    assert facts("call", "step", where="api = 'torch.autograd.grad'") == [0, 1, 2]
    assert set(facts("accumulate", "onto")) == {"none"}


def test_forward_called_by_its_name(same: Any):
    def train() -> Any:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.ones(4))
                self.layer = nn.Linear(4, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x * self.scale)

        model = Net()
        return loop(model, lambda x, y: functional.cross_entropy(model.forward(x), y))

    facts = same(train, gaps=True)
    # hooks and the recorder see the layer alone; the gradient of the rest tells that there is more
    assert facts("forward", "module", "step") == [("Net.layer", step) for step in range(3)]
    assert facts("parameter", "param", "root") == [
        ("layer.weight", "Net"),
        ("layer.bias", "Net"),
        ("scale", "Net"),
    ]
    assert facts.gaps("relation") == ["param_state", "trainability"]


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")
def test_scripted_and_traced_models(same: Any, how: str):
    """Such a model has no Python objects for its parts: its optimizer is recorded, its inside is unknown."""

    def train() -> Any:
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 3))
        opaque = (
            torch.jit.script(model)
            if how == "script"
            else torch.jit.trace(model, batch()[0], check_trace=False)
        )
        return loop(opaque, lambda x, y: functional.cross_entropy(opaque(x), y))

    facts = same(train, gaps=True)
    assert (
        facts("backward", "step")
        == facts("optimizer_step", "step")
        == facts("loss_call", "step")
        == [0, 1, 2]
    )
    assert facts.sql("SELECT count(*) FROM update WHERE before <> after") == [(12,)]
    assert facts("forward", "step", where="class <> 'Sequential'") == []
    why = "scripted and traced models are opaque"
    gaps = facts.gaps("relation", where=f"why = '{why}'")
    assert {"forward", "module", "parameter", "module_call", "dropout_call", "param_state"} <= set(gaps)
    assert "update" not in gaps
