"""Models that change device or dtype; autocast regions."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

COLUMNS = ("api", "from_dtype", "to_dtype", "params", "replaced", "owned", "lost")


def step(model: nn.Module, optimizer: torch.optim.Optimizer, dtype: torch.dtype = torch.float32) -> None:
    optimizer.zero_grad()
    model(torch.ones(2, 3, dtype=dtype)).sum().backward()
    optimizer.step()


def test_moves_before_and_after_the_optimizer(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)).to("cpu")
        model[1].double()  # a part of it
        model.float()
        sgd = torch.optim.SGD(model[0].parameters(), lr=0.1)
        model.bfloat16()
        step(model, sgd, torch.bfloat16)
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            model.to(torch.float64)
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
        sgd.step()

    facts = record(train)
    prefix = "torch.nn.Module"
    assert facts("model_moved", *COLUMNS) == [
        (f"{prefix}.to", "float32", "float32", 4, 0, 0, 0),
        (f"{prefix}.float", "float32,float64", "float32", 4, 0, 0, 0),
        (f"{prefix}.bfloat16", "float32", "bfloat16", 4, 0, 2, 0),
        (f"{prefix}.to", "bfloat16", "float64", 4, 4, 2, 2),
    ]
    assert set(facts("model_moved", "module", "from_device", "to_device")) == {("Sequential", "cpu", "cpu")}


def test_a_model_without_data_is_not_moved(record: Any):
    def train() -> None:
        with torch.device("meta"):
            model = nn.Linear(2, 2)
        model.to_empty(device="cpu").to("cpu")

    assert record(train)("model_moved", "api", "from_device") == [("torch.nn.Module.to", "cpu")]


def test_autocast_regions(record: Any):
    @torch.autocast("cpu", dtype=torch.float16, cache_enabled=False)
    def decorated() -> None:
        pass

    def train() -> None:
        model = nn.Linear(3, 1)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.autocast("cpu", enabled=False):
                pass
            step(model, sgd)
            step(model, sgd)
        decorated()
        try:
            with torch.amp.autocast("cpu", dtype=torch.bfloat16):
                raise ValueError
        except ValueError:
            pass
        torch.autocast("cpu", dtype=torch.bfloat16).__enter__()

    try:
        facts = record(train)
    finally:
        torch.set_autocast_enabled("cpu", False)
        torch.clear_autocast_cache()
    assert facts("autocast_region", "device", "dtype", "enabled", "cache", "depth", "step") == [
        ("cpu", "", False, True, 1, 0),
        ("cpu", "bfloat16", True, True, 0, 0),
        ("cpu", "float16", True, False, 0, 1),
        ("cpu", "bfloat16", True, True, 0, 1),
        ("cpu", "bfloat16", True, True, 0, 1),
    ]
    # weights are updated while their casts are kept: the second forward uses those of the first
    assert facts.sql(
        "SELECT count(*) FROM autocast_region r JOIN optimizer_step s ON r.begin < s.begin AND s.end < r.end "
        "JOIN forward f ON s.end < f.begin AND f.end < r.end WHERE cache"
    ) == [(1,)]


def test_scripted_autocast(record: Any):
    def train() -> None:
        def half(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return torch.mm(x, x)

        results.append(torch.jit.script(half)(torch.ones(2, 2)).dtype)

    results: list[torch.dtype] = []
    train()
    record(train, gaps=True)
    assert results == [torch.bfloat16] * 2
