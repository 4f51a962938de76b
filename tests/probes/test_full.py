"""Full mode: every public function of torch, and the user's own by pattern."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument.probes.apis import signature, torch_functions
from tcrules.instrument.watching import watch
from torch import nn
from torch.nn import functional


def run(train: Any, folder: Path, read: Any, **options: Any) -> Any:
    with watch(run=folder, options={"full": True, **options}):
        train()
    return read(folder)


def train() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(torch.ones(5, 4)), torch.zeros(5, dtype=torch.long))
        (loss * 2).backward()
        optimizer.step()


def test_calls_are_nested_and_have_signatures(tmp_path: Path, read: Any):
    facts = run(train, tmp_path / "run", read)
    found = facts.sql(
        "SELECT api, given, result FROM signature JOIN call USING (call) WHERE call.step = 1 ORDER BY call.call"
    )
    assert found[:4] == [
        ("torch.nn.functional.linear", "float32[5, 4], float32[8, 4], float32[8]", "float32[5, 8]"),
        ("torch.nn.functional.relu", "float32[5, 8], False", "float32[5, 8]"),
        ("torch.relu", "float32[5, 8]", "float32[5, 8]"),
        ("torch.nn.functional.linear", "float32[5, 8], float32[2, 8], float32[2]", "float32[5, 2]"),
    ]
    assert ("torch.Tensor.__mul__", "float32[], 2", "float32[]") in found
    inside = "SELECT inner_.api FROM call inner_ JOIN call outer_ ON inner_.parent = outer_.call WHERE outer_.api = ?"
    names = {api for (api,) in facts._connection.execute(inside, ["torch.nn.Module.forward"]).fetchall()}
    assert {"torch.nn.functional.linear", "torch.nn.functional.relu"} <= names


def test_what_probes_watch_counts_once(tmp_path: Path, read: Any):
    facts = run(train, tmp_path / "run", read)
    assert facts.sql("SELECT count(*) FROM call WHERE api = 'torch.nn.functional.cross_entropy'") == [(3,)]
    assert facts.gaps("relation") == []


class Descent(torch.optim.Optimizer):
    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                param.sub_(param.grad, alpha=0.1)


def test_inside_of_a_step_only_what_the_user_wrote_is_told(tmp_path: Path, read: Any):
    def learn(make: Any) -> None:
        model = nn.Linear(2, 2)
        optimizer = make(model.parameters())

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            found = model(torch.ones(1, 2)).square().mean()
            found.backward()
            return found

        closure = isinstance(optimizer, torch.optim.LBFGS)
        for _ in range(2):
            if closure:
                optimizer.step(loss)
            else:
                loss()
                optimizer.step()

    inside = """SELECT DISTINCT inner_.api FROM call inner_ JOIN call outer_ ON inner_.parent = outer_.call
        WHERE outer_.api = 'torch.optim.Optimizer.step'"""
    told = {}
    for make in (torch.optim.AdamW, torch.optim.LBFGS, Descent):
        facts = run(lambda make=make: learn(make), tmp_path / make.__name__, read)
        told[make.__name__] = {api for (api,) in facts.sql(inside)}
    assert told["AdamW"] == set()
    assert {"torch.Tensor.square", "torch.nn.Module.forward"} <= told["LBFGS"]
    assert told["Descent"] == {"torch.Tensor.sub_"}


def test_everything_is_put_back(tmp_path: Path, read: Any):
    before = [vars(owner).get(name) for owner, name, _ in torch_functions()]
    run(train, tmp_path / "run", read)
    assert before == [vars(owner).get(name) for owner, name, _ in torch_functions()]
    assert len(before) > 1000


def test_functions_of_the_user(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch):
    own = types.ModuleType("mypackage.losses")
    text = """
def soft(scores): return inner(scores)
def inner(scores): return scores.square().mean()
def other(scores): return scores
class Head:
    def loss(self, scores): return soft(scores) + 1
"""
    exec(text, own.__dict__)
    monkeypatch.setitem(sys.modules, "mypackage.losses", own)

    def train() -> None:
        model = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        head = own.Head()
        for _ in range(2):
            optimizer.zero_grad()
            head.loss(model(own.other(torch.ones(1, 2)))).backward()
            optimizer.step()

    facts = run(train, tmp_path / "run", read, full=False, apis=["mypackage.losses.*t", "*.Head.*"])
    found = facts.sql(
        "SELECT api, given, result FROM signature JOIN call USING (call) WHERE call.step = 1 ORDER BY call.call"
    )
    assert found == [
        ("mypackage.losses.Head.loss", "Head, float32[1, 2]", "float32[]"),
        ("mypackage.losses.soft", "float32[1, 2]", "float32[]"),
    ]
    assert not hasattr(own.soft, "__wrapped__")


def test_signatures_hold_no_values():
    given = (
        torch.tensor([[0.5]]),
        3,
        0.25,
        "secret",
        None,
        True,
        [torch.zeros(2, dtype=torch.int64), 1],
        {"a": 1},
    )
    assert signature(given) == "float32[1, 1], 3, float, str, None, True, [int64[2], 1], dict"
    assert signature([1] * 20).endswith("1, …")


def test_without_the_option_it_is_not_covered(record: Any, tmp_path: Path):
    from tcrules.instrument.runs import coverage, open_run

    assert record(train)("signature", "call") == []
    assert "signature" not in coverage(open_run(tmp_path / "run0")).recorded
