"""Generation limits; what copies share with their sources."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn


class Generating:
    """As a library would mix it in."""

    def generate(self, inputs: Any = None, generation_config: Any = None, **kwargs: Any) -> Any:
        config = generation_config or self.generation_config
        new = kwargs.get("max_new_tokens", config.max_new_tokens)
        for _ in range(new):
            self(inputs)
            inputs = torch.cat([inputs, inputs[:, -1:]], 1)
        return inputs


class Speaker(Generating, nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generation_config = SimpleNamespace(max_new_tokens=3, max_length=20)
        self.embedding = nn.Embedding(4, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens)


def test_limits_of_generation(record: Any):
    def train() -> None:
        model = Speaker().eval()
        prompt = torch.ones(2, 5, dtype=torch.int64)
        with torch.no_grad():
            model.generate(prompt)
        model.train()
        model.generate(inputs=prompt, max_new_tokens=2, max_length=6)
        model.generate(prompt, SimpleNamespace(max_new_tokens=1))

    facts = record(train)
    columns = ("max_length", "max_new_tokens", "set_max_length", "set_max_new_tokens", "prompt", "returned")
    assert facts("generation", "module", "training", "grad", *columns) == [
        ("Speaker", False, False, -1, -1, 20, 3, 5, 8),
        ("Speaker", True, True, 6, 2, 20, 3, 5, 7),
        ("Speaker", True, True, -1, -1, -1, 1, 5, 6),
    ]
    # the forwards are inside of it
    assert facts.sql(
        "SELECT count(*) FROM call f JOIN generation g ON f.parent = g.call WHERE api = 'torch.nn.Module.forward'"
    ) == [(6,)]


def test_copies_and_their_sources(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        average = copy.deepcopy(model).eval()
        shared = copy.deepcopy(model)
        shared[0].weight.data = model[0].weight.data
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for number in range(5):
            sgd.zero_grad()
            model(torch.randn(4, 3)).sum().backward()
            sgd.step()
            if number == 1:
                for mine, other in zip(average.buffers(), model.buffers(), strict=True):
                    mine.copy_(other)

    facts = record(train)
    assert facts("copy_state", "root", "step", "training", "shared") == [
        (root, step, training, shared)
        for step in range(3)
        for root, training, shared in (("Sequential#1", False, 0), ("Sequential#2", True, 1))
    ]
    equal = facts("copy_state", "step", "root", where="buffers = source_buffers")
    assert equal == [(1, "Sequential#1")]
    assert len(set(facts("copy_state", "source_buffers", where="root = 'Sequential#1'"))) == 3
