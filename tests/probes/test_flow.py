"""What gradients flow through: what losses are made of, results that backward passes reach, layers, arguments."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument.probes import graphs
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


@pytest.fixture
def bits(outcome: Any, read: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that trains without and with the recorder, compares all bits, and returns the facts."""

    def run(train: Callable[[], object]) -> Any:
        outcome.identical(train, tmp_path / "run")
        return read(tmp_path / "run")

    return run


class Heads(nn.Module):
    """A trunk with two heads, of which the second reads what does not flow back."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shared = self.trunk(x)
        return self.first(shared), self.second(shared.detach()).squeeze(1)


class Reader(nn.Module):
    """Carries a state from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 3, batch_first=True)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None, *, flag: bool = True) -> Any:
        return self.gru(x, state)


class Flat(nn.Linear):
    """A model of one layer."""

    def __init__(self) -> None:
        super().__init__(2, 2)


def stepped(
    loss: Callable[[nn.Module], torch.Tensor], make: Callable[[], nn.Module] = Flat, steps: int = 1
) -> Callable[[], list[Any]]:
    """A training whose loss is computed by a function of the model; returns what it leaves behind."""

    def train() -> list[Any]:
        torch.manual_seed(1)
        trained = make()
        sgd = torch.optim.SGD(trained.parameters(), lr=0.1)
        for _ in range(steps):
            sgd.zero_grad()
            loss(trained).backward()
            sgd.step()
        return [p.tolist() for p in trained.parameters()]

    return train


X, Y = torch.ones(4, 2), torch.zeros(4, dtype=torch.long)
LOSSES: dict[str, tuple[Callable[[nn.Module], torch.Tensor], str]] = {
    "plain": (lambda m: functional.cross_entropy(m(X), Y), "NllLossBackward0(LogSoftmaxBackward0)"),
    "divided": (lambda m: functional.cross_entropy(m(X), Y) / 4, "DivBackward0(NllLossBackward0)"),
    "two terms": (
        lambda m: functional.cross_entropy(m(X), Y) + 0.1 * m(X).square().mean(),
        "AddBackward0(NllLossBackward0,MulBackward0)",
    ),
    "the model itself": (lambda m: m(X).sum(), "SumBackward0(AddmmBackward0)"),
    "a parameter": (lambda m: m.weight.sum(), "SumBackward0(AccumulateGrad)"),
    "many terms": (lambda m: torch.stack([m(X).sum()] * 9).sum(), "SumBackward0(StackBackward0)"),
    "very many terms": (
        lambda m: torch.stack([m(X).sum()] * 9),
        f"StackBackward0({'SumBackward0,' * 8}…)",
    ),
}


@pytest.mark.parametrize("which", LOSSES)
def test_what_a_loss_is_made_of(bits: Any, which: str):
    loss, made = LOSSES[which]

    def whole(model: nn.Module) -> torch.Tensor:
        found = loss(model)
        if found.dim():
            torch.autograd.backward(found, torch.ones_like(found))
            return model(X).sum()
        return found

    facts = bits(stepped(whole))
    assert facts("loss_graph", "made")[0] == made
    assert facts.sql("SELECT count(*) FROM loss_graph JOIN backward USING (call, step)") == facts.sql(
        "SELECT count(*) FROM backward"
    )


def test_a_function_of_the_user_and_a_leaf(record: Any):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 2

    def train() -> None:
        stepped(lambda m: Double.apply(m(X).sum()))()
        torch.ones((), requires_grad=True).backward()

    assert record(train)("loss_graph", "made") == ["DoubleBackward(SumBackward0)", ""]


def test_results_that_a_backward_reaches(bits: Any):
    def views(model: nn.Module) -> torch.Tensor:
        left, right = model(X), model(X + 1).detach()
        with torch.no_grad():
            model(X)  # records nothing
        return (left @ right.T).sum()

    facts = bits(stepped(views, steps=20))
    # an evaluation is not asked, and what is dear is looked at in some steps
    assert facts("forward_reached", "step", "reached") == [
        (step, reached) for step in (0, 1, 2, 16) for reached in (True, False)
    ]
    assert facts.sql(
        "SELECT DISTINCT reached, rank() OVER (PARTITION BY f.step ORDER BY begin) FROM forward_reached r "
        "JOIN forward f ON f.call = r.forward ORDER BY 2"
    ) == [(True, 1), (False, 2)]


REACHED: dict[str, tuple[Callable[[nn.Module], torch.Tensor], list[bool]]] = {
    "by another model's way": (lambda m: m(m(X).relu()).sum(), [True, True]),
    "changed in place": (lambda m: m(X).mul_(2).sum(), [True]),
    "one element of it": (lambda m: m(X)[0, 0] * 3, [True]),
    "not at all": (lambda m: (m(X).sum() * 0).detach() + m.weight.sum(), [False]),
    "with checkpointing": (lambda m: checkpoint(m, X, use_reentrant=False).sum(), [True]),
    "inside of a reentrant checkpoint": (
        lambda m: checkpoint(m, X.clone().requires_grad_(), use_reentrant=True).sum(),
        [],
    ),
}


@pytest.mark.parametrize("how", REACHED)
def test_ways_from_a_result_to_a_loss(bits: Any, how: str):
    loss, reached = REACHED[how]
    assert bits(stepped(loss))("forward_reached", "reached") == reached


def test_a_result_that_several_backward_passes_reach(bits: Any):
    def twice(model: nn.Module) -> torch.Tensor:
        made = model(X)
        made.sum().backward(retain_graph=True)
        penalty = torch.autograd.grad(model(X + 1).sum(), model.weight, create_graph=True)[0]
        return made.square().sum() + penalty.square().sum()

    assert bits(stepped(twice))("forward_reached", "reached") == [True, True]


def test_results_without_tensors_and_of_leaves_are_not_told(bits: Any):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, kind: str) -> Any:
            written = self.weight * 2
            part = written[0]
            written.add_(1)  # autograd makes the operation of the part anew when it is asked for
            return {"leaf": self.weight, "view": part, "other": object()}[kind]

    def loss(model: nn.Module) -> torch.Tensor:
        return model("leaf").sum() + model("view") + (0 if model("other") else 1)

    assert bits(stepped(loss, Odd))("forward_reached") == []


@pytest.mark.parametrize(
    ("limit", "why"), [("MAX_NODES", graphs.WHY_NODES), ("MAX_FORWARDS", graphs.WHY_FORWARDS)]
)
def test_what_is_too_much_is_a_gap(bits: Any, monkeypatch: pytest.MonkeyPatch, limit: str, why: str):
    monkeypatch.setattr(graphs, limit, 2)

    def deep(model: nn.Module) -> torch.Tensor:
        return (model(X).relu() + model(X).exp() * model(X).square()).sum()

    facts = bits(stepped(deep))
    assert facts("forward_reached") == []
    assert facts.gaps("relation", "why") == [("forward_reached", why)]


def test_a_backward_of_another_thread_is_a_gap(record: Any):
    def train() -> None:
        model = nn.Linear(2, 2)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = model(X).sum()
        thread = threading.Thread(target=loss.backward)
        thread.start()
        thread.join()
        sgd.step()

    facts = record(train, gaps=True)
    assert facts("forward_reached") == []
    assert graphs.WHY_THREADS in facts.gaps("why", where="relation = 'forward_reached'")


def test_nothing_of_the_graph_is_kept_alive(record: Any):
    freed: list[int] = []

    class Saves(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            weakref.finalize(ctx, freed.append, len(freed))
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 2

    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2))
        model.register_forward_hook(lambda _module, _args, result: Saves.apply(result))
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            model(X)  # no backward goes through it
            model(X).sum().backward()
            assert len(freed) % 2 == 0, freed
            sgd.step()

    assert record(train)("forward_reached", "reached") == [True, False] * 2
    assert len(freed) == 4


def test_layers_through_which_gradients_flow(bits: Any):
    def loss(model: nn.Module) -> torch.Tensor:
        first, second = model(X)
        with torch.no_grad():
            model(X)  # nothing is told of it
        return first.sum() + second.sum()

    facts = bits(stepped(loss, Heads))
    assert facts("layer_gradient", "module", "input", "output") == [
        ("Heads.trunk", False, True),
        ("Heads.first", True, True),
        ("Heads.second", False, True),
    ]


def test_frozen_layers(bits: Any):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(
                [nn.Linear(2, 2).requires_grad_(False), nn.Embedding(3, 2), nn.Linear(2, 1)]
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.parts[2](self.parts[0](x) + self.parts[1](torch.tensor([0, 1, 2, 0])))

    facts = bits(stepped(lambda m: m(X).sum(), Net))
    assert facts("layer_gradient", "module", "input", "output") == [
        ("Net.parts.0", False, False),
        ("Net.parts.1", False, True),
        ("Net.parts.2", True, True),
    ]


def test_arguments_of_forwards(bits: Any):
    def train() -> list[Any]:
        torch.manual_seed(1)
        model = Reader()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        x, state = torch.randn(4, 5, 2), None
        for step in range(3):
            out, state = model(x, state, flag=step > 0)
            state = state.detach()
            sgd.zero_grad()
            out.sum().backward()
            sgd.step()
        return [p.tolist() for p in model.parameters()]

    facts = bits(train)
    assert facts("forward_argument", "step", "argument", "kind") == [
        (step, argument, kind)
        for step in range(3)
        for argument, kind in (("0", "tensor"), ("1", "tensor" if step else "none"), ("flag", "other"))
    ]
    x, states = (facts("forward_argument", "data", where=f"argument = '{name}'") for name in ("0", "1"))
    assert len(set(x)) == 1 and x[0] != 0
    assert states[0] == 0 and len(set(states)) == 3
    assert set(facts("forward_argument", "data", where="argument = 'flag'")) == {0}
    # one tensor: the input is that argument
    assert facts("forward", "input", where="step = 0") == x[:1]


def test_too_many_arguments_are_a_gap(record: Any):
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, *x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.stack(x))

    facts = record(stepped(lambda m: m(*[X] * 20).sum(), Many), gaps=True)
    assert facts("forward_argument", "argument") == [str(n) for n in range(16)]
    assert facts.gaps("relation") == ["forward_argument"]


def test_arguments_on_a_device(record_on: Any, devices: Any):
    def train() -> None:
        torch.manual_seed(1)
        model = Reader()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        state = None
        for _ in range(3):
            out, state = model(torch.randn(4, 5, 2), state)
            state = state.detach()
            sgd.zero_grad()
            out.sum().backward()
            sgd.step()

    host = record_on(train)
    device = record_on(train, devices.StandIn())
    for relation in ("forward_argument", "forward_reached", "loss_graph", "layer_gradient"):
        assert device(relation) == host(relation) != [], relation


ATTENTION = {
    "causal": ({"is_causal": True}, (True, False)),
    "masked": ({"attn_mask": torch.ones(5, 5).tril().bool()}, (False, True)),
    "plain": ({}, (False, False)),
}


@pytest.mark.parametrize("which", ATTENTION)
def test_what_attention_may_look_at(bits: Any, which: str):
    options, expected = ATTENTION[which]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.layer(x).unsqueeze(1).chunk(3, dim=-1)
            return functional.scaled_dot_product_attention(q, k, v, **options)

    facts = bits(stepped(lambda m: m(torch.ones(3, 5, 2)).sum(), Block))
    assert facts("attention_call", "module", "api", "causal", "masked") == [
        ("Block", "torch.nn.functional.scaled_dot_product_attention", *expected)
    ]


def test_multi_head_attention_counts_once(bits: Any):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(5)
            return self.attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0]

    facts = bits(stepped(lambda m: m(torch.ones(3, 5, 4)).sum(), Block))
    assert facts("attention_call", "module", "api", "causal", "masked") == [
        ("Block.attention", "torch.nn.functional.multi_head_attention_forward", True, True)
    ]


def test_functions_of_attention_outside_of_models(record: Any):
    def train() -> None:
        x = torch.ones(1, 1, 2, 2)
        functional.scaled_dot_product_attention(x, x, x)

    assert record(train)("attention_call", "forward", "module") == [(0, "")]


def test_compiled_models(bits: Any):
    facts = bits(stepped(lambda m: m(X).sum(), lambda: torch.compile(nn.Linear(2, 2), backend="eager"), 2))
    assert facts("forward_reached", "reached") == [True, True]
    assert set(facts("forward_argument", "kind")) == {"tensor"}
