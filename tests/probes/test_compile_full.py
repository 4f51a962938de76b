"""Full mode over compiled code that breaks into several graphs: nothing is compiled otherwise, or once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument.probes.compiling import WHY
from tcrules.instrument.watching import watch
from torch import nn
from torch.nn import functional

Compiled = tuple[Any, ...]


class Broken(nn.Module):
    """Dynamo cannot trace the middle of its forward, nor the branch on data."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x)) * 2
        torch._dynamo.graph_break()
        x = functional.dropout(self.norm(x), 0.1, self.training)
        if x.sum() > 1e9:
            x = x + 1
        return self.last(torch.tanh(x))


def of_a_model() -> Callable[[], Compiled]:
    torch.manual_seed(0)
    net = Broken()
    return _loop(net, torch.compile(net, backend=_counter()))


def of_a_function() -> Callable[[], Compiled]:
    torch.manual_seed(0)
    net = Broken()

    @torch.compile(backend=_counter())
    def run(x: torch.Tensor) -> torch.Tensor:
        out = net(x)
        torch._dynamo.graph_break()
        return torch.softmax(out, -1).clamp(min=1e-6).log()

    return _loop(net, run)


COUNTER: list[Any] = []


def _counter() -> Any:
    import torch._dynamo.testing

    COUNTER[:] = [torch._dynamo.testing.CompileCounter()]
    return COUNTER[0]


def _loop(net: nn.Module, run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], Compiled]:
    def train() -> Compiled:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        losses = []
        for step in range(6):
            # another batch size once: what is dynamic from then on is compiled again, as without us
            x, y = torch.randn(8 if step < 3 else 4, 8), torch.zeros(8 if step < 3 else 4, dtype=torch.long)
            optimizer.zero_grad()
            loss = functional.cross_entropy(run(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, [parameter.tolist() for parameter in net.state_dict().values()], torch.rand(3).tolist()

    return train


def compiled(make: Callable[[], Callable[[], Compiled]]) -> tuple[Compiled, dict[str, Any]]:
    """What a training gives, and what dynamo did for it: graphs (each recompilation is one more), breaks, why."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    found = make()()
    counter = COUNTER[0]
    breaks = {why.splitlines()[0]: count for why, count in counters["graph_break"].items()}
    return found, {
        "graphs": counter.frame_count,
        "operations": counter.op_count,
        "breaks": breaks,
        **{name: dict(counters[name]) for name in ("stats", "recompiles")},
    }


@pytest.mark.parametrize("make", [of_a_model, of_a_function])
@pytest.mark.parametrize("options", [{}, {"full": True}, {"full": True, "apis": ["test_compile_full.*"]}])
def test_compiled_code_is_compiled_as_without_us(make: Any, options: Any, tmp_path: Path, read: Any):
    plain, before = compiled(make)
    assert before["graphs"] > 3 and before["breaks"]
    with watch(run=tmp_path / "run", options={"overhead": 0, **options}):
        recorded, after = compiled(make)
    assert after == before
    assert recorded == plain
    facts = read(tmp_path / "run")
    gaps = set(facts.gaps("relation", where=f"why = '{WHY}'"))
    assert {"call", "signature", "module_call", "dropout_call", "loss_call"} <= gaps
    apis = set(facts("call", "api"))
    assert "torch.nn.functional.cross_entropy" in apis
    # between the graphs and outside of them calls are seen, inside of them none
    assert not apis & {
        "torch.nn.functional.linear",
        "torch.tanh",
        "torch.nn.functional.batch_norm",
        "torch.softmax",
    }
