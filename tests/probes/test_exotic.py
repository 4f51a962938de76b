"""Tensors and modules that are not ordinary: fake, sparse, narrow, scripted, traced."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(functional.relu(self.norm(self.first(x)))))


def test_fake_and_meta_tensors_are_left_alone(record: Any):
    from torch._subclasses.fake_tensor import FakeTensorMode

    def train() -> None:
        with FakeTensorMode():
            model = Net()
            loss = model(torch.randn(4, 8)).sum()
            loss.backward()
            torch.optim.SGD(model.parameters()).step()
        with torch.device("meta"):
            Net()(torch.randn(4, 8))
        lazy = nn.Sequential(nn.LazyLinear(3))
        for _ in range(2):
            lazy(torch.randn(4, 8)).sum().backward()

    facts = record(train)
    assert facts("forward", "module") == ["Sequential"] * 2
    assert facts("parameter", "param", "size") == [("0.weight", 24), ("0.bias", 3)]


def test_sparse_narrow_and_complex_parameters(record: Any):
    def train() -> None:
        table = nn.Embedding(10, 4, sparse=True)
        optimizer = torch.optim.SparseAdam(table.parameters())
        table(torch.tensor([1, 1, 2])).sum().backward()
        optimizer.step()
        for dtype in (torch.bfloat16, torch.complex64):
            layer = nn.Linear(3, 3, dtype=dtype)
            layer(torch.ones(2, 3, dtype=dtype)).abs().sum().backward()
            torch.optim.SGD(layer.parameters(), lr=0.5).step()

    facts = record(train)
    assert set(facts("gradient", "class")) == {"nonzero"}
    assert facts.sql("SELECT count(*) FROM update WHERE before <> after") == [(5,)]


def test_scripting_and_tracing(record: Any):
    def train() -> None:
        @torch.jit.script
        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(functional.dropout(x, 0.5, True), y)

        @torch.jit.script
        def attend(x: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(x, x, x)

        Value = torch.Tensor  # a name that is known here alone

        @torch.jit.script
        class Pair:  # its types are looked up where the decorator is called
            def __init__(self, x: Value) -> None:
                self.x = x

        loss(torch.randn(3, 3), torch.tensor([0, 1, 2]))
        attend(torch.randn(1, 2, 3, 4))
        scripted = torch.jit.script(Net())
        sgd = torch.optim.SGD(scripted.parameters(), lr=0.1)
        scripted(torch.randn(4, 8)).sum().backward()
        sgd.step()
        traced = torch.jit.trace(Net().eval(), torch.randn(4, 8))
        traced(torch.randn(4, 8))
        torch.fx.symbolic_trace(Net())

    facts = record(train, gaps=True)
    assert "scripted and traced models are opaque" in facts("instrument_gap", "why")
    assert len(facts("update", "param")) == 6


def ten() -> int:
    return 10


class Scripted:
    def __init__(self) -> None:
        self.number = ten()


def test_scripted_classes_find_the_names_of_their_module(record: Any):
    numbers: list[int] = []
    record(lambda: numbers.append(torch.jit.script(Scripted)().number), gaps=True)
    assert numbers == [10]
