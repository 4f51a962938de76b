"""torch.compile under the recorder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

HIDDEN = {
    *("module_call", "layer_gradient", "dropout_call", "attention_call"),
    *("loss_call", "call", "signature"),
}


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 3))


@pytest.fixture
def counter() -> Any:
    import torch._dynamo.testing

    torch._dynamo.reset()
    return torch._dynamo.testing.CompileCounter()


def test_one_graph_without_breaks(record: Any, counter: Any):
    def train() -> None:
        net = model()
        compiled = torch.compile(net, backend=counter, fullgraph=True)
        adam = torch.optim.Adam(net.parameters())
        for _ in range(5):
            adam.zero_grad()
            functional.cross_entropy(compiled(torch.randn(4, 8)), torch.zeros(4, dtype=torch.long)).backward()
            adam.step()

    facts = record(train, gaps=True)
    assert counter.frame_count == 1
    assert set(facts.gaps("relation")) == HIDDEN
    # the compiled model goes by the name of the model
    assert facts("forward", "module", "step", "mode_on") == [("Sequential", step, 2) for step in range(5)]
    assert facts("optimizer_step", "nth") == list(range(5))
    assert facts.sql("SELECT count(*) FROM update WHERE before <> after AND param LIKE '%weight'") == [(15,)]


def test_functions_that_call_watched_functions(record: Any, counter: Any):
    def train() -> None:
        net = model()
        sgd = torch.optim.SGD(net.parameters(), lr=0.1)

        @torch.compile(backend=counter, fullgraph=True)
        def loss(x: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(net(x), torch.zeros(4, dtype=torch.long))

        for _ in range(4):
            sgd.zero_grad()
            loss(torch.randn(4, 8)).backward()
            sgd.step()

    facts = record(train, gaps=True)
    assert counter.frame_count == 1
    assert set(facts.gaps("relation")) > HIDDEN
    assert facts("backward", "step") == [0, 1, 2, 3]
