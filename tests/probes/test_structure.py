"""Ties, copies, loading, splitting: what models are made of and where it came from."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from typing import Any

import torch
from torch import nn


class Language(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(x))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()


def test_a_tie_that_holds_and_one_that_breaks(record: Any):
    def train() -> None:
        for breaks in (False, True):
            model = Language()
            if breaks:
                model.table = nn.Embedding(10, 4)
            sgd = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(2):
                step(model, sgd, torch.tensor([1, 2]))

    facts = record(train)
    assert facts("tie", "root", "first", "second") == [
        ("Language", "table.weight", "head.weight"),
        ("Language#1", "table.weight", "head.weight"),
    ]
    assert facts("tie_state", "root", "step", "tied") == [("Language", 0, True), ("Language#1", 2, False)]
    assert facts("parameter", "param", "owners") == [
        ("Language.table.weight", 2),
        ("Language#1.table.weight", 1),
        ("head.weight", 1),
    ]


def test_a_tie_that_breaks_while_training(record: Any):
    def train() -> None:
        model = Language()
        for number in range(3):
            if number == 2:
                model.head.weight = nn.Parameter(model.table.weight.detach().clone())
            step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.tensor([1, 2]))

    assert record(train)("tie_state", "step", "tied") == [(0, True), (2, False)]


def test_ties_made_before_the_model_exists(record: Any):
    def train() -> None:
        table, head = nn.Linear(3, 3), nn.Linear(3, 3)
        head.weight = table.weight
        model = nn.Sequential(table, head)
        step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(1, 3))

    facts = record(train)
    assert facts("tie", "first", "second") == [("0.weight", "1.weight")]
    assert facts("tie_state", "tied") == [True]


def test_copies_that_follow_a_model(record: Any):
    kept = []

    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        follows, stays = copy.deepcopy(model), copy.deepcopy(model).eval()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            step(model, sgd, torch.ones(1, 2))
            for old, new in zip(follows.parameters(), model.parameters(), strict=True):
                old.data.lerp_(new.data, 0.5)
        kept.extend([follows, stays])

    facts = record(train)
    assert facts("copy", "root", "source") == [("Sequential#1", "Sequential"), ("Sequential#2", "Sequential")]
    values = facts.sql(
        "SELECT root, count(*), count(DISTINCT data) FROM param_state WHERE param LIKE '%0.weight' GROUP BY ALL"
    )
    assert sorted(values) == [("Sequential", 3, 3), ("Sequential#1", 3, 3), ("Sequential#2", 3, 1)]
    assert facts("param_state", "step", where="param = 'Sequential#2.1.bias'") == [0, 1, 2]


def test_averaged_models_of_torch_are_copies(record: Any):
    def train() -> None:
        model = nn.Linear(2, 2)
        averaged = torch.optim.swa_utils.AveragedModel(model)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            step(model, sgd, torch.ones(1, 2))
            averaged.update_parameters(model)

    facts = record(train)
    assert len(facts("copy")) == 1
    assert facts.sql("SELECT count(DISTINCT data) FROM param_state JOIN copy USING (root)")[0][0] > 1


def test_layers_that_are_cloned_are_no_copies(record: Any):
    def train() -> None:
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        model = nn.TransformerEncoder(layer, 2)
        step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(1, 3, 4))

    facts = record(train)
    assert facts("copy") == []
    assert "attention" in facts("module", "kind")


def test_parameters_that_were_trained_before(record: Any):
    def train() -> None:
        donor = nn.Linear(2, 2)
        fresh, loaded = nn.Linear(2, 2), nn.Linear(2, 2)
        loaded.load_state_dict(donor.state_dict())
        fresh(torch.ones(1, 2))
        loaded(torch.ones(1, 2))
        buffer = io.BytesIO()
        torch.save({"model": nn.Sequential(donor).state_dict()}, buffer)
        buffer.seek(0)
        torch.load(buffer)
        nn.Bilinear(2, 2, 2)(torch.ones(1, 2), torch.ones(1, 2))

    facts = record(train)
    assert facts("parameter", "class", "trained_before", where="param LIKE '%weight'") == [
        ("Linear", False),
        ("Linear", True),
        ("Bilinear", True),
    ]


def test_layers_that_are_added_and_replaced(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        step(model, sgd, torch.ones(1, 2))
        model[1] = nn.Linear(2, 3)
        step(model, sgd, torch.ones(1, 2))
        sgd.add_param_group({"params": model[1].parameters(), "lr": 0.5})
        step(model, sgd, torch.ones(1, 2))
        model.to(torch.float64)
        step(model, sgd, torch.ones(1, 2, dtype=torch.float64))

    facts = record(train)
    assert facts.sql("SELECT DISTINCT param FROM accumulate WHERE optimizer = '' ORDER BY param") == [
        ("1#1.bias",),
        ("1#1.weight",),
    ]
    assert facts("member", "param", "group", where='"group" = 1') == [("1#1.weight", 1), ("1#1.bias", 1)]
    assert facts("module", "module", where="class = 'Linear'") == [
        "Sequential.0",
        "Sequential.1",
        "Sequential.1#1",
    ]
    assert facts("param_group", "nth", "group", "lr") == [
        (0, 0, 0.1),
        (1, 0, 0.1),
        (2, 0, 0.1),
        (2, 1, 0.5),
        (3, 0, 0.1),
        (3, 1, 0.5),
    ]


def test_a_part_that_is_called_directly_keeps_its_name(record: Any):
    def train() -> None:
        model = nn.ModuleDict({"net": nn.Linear(2, 2)})
        step(model["net"], torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(1, 2))

    facts = record(train)
    assert facts("forward", "module") == ["ModuleDict.net"]
    assert facts("parameter", "param", "root", "module") == [
        ("net.weight", "ModuleDict", "ModuleDict.net"),
        ("net.bias", "ModuleDict", "ModuleDict.net"),
    ]


def test_loss_modules_and_activations_are_no_models(record: Any):
    def train() -> None:
        model = nn.Linear(2, 2)
        nn.MSELoss()(nn.ReLU()(model(torch.ones(1, 2))), torch.ones(1, 2)).backward()

    facts = record(train)
    assert facts("forward", "module") == ["Linear"]
    assert facts("loss_call", "api", "input_shape", "target_dtype") == [
        ("torch.nn.functional.mse_loss", "1x2", "float32")
    ]


def test_split_parameters(record: Any):
    def train() -> None:
        model = nn.Linear(2, 2)
        model.weight.tensor_model_parallel = True
        model(torch.ones(1, 2))

    assert record(train)("parameter", "param", "split") == [("weight", True), ("bias", False)]


def test_nothing_is_kept_alive(record: Any):
    gone: list[weakref.ref[Any]] = []

    def train() -> None:
        model = Language()
        model.table.weight.register_hook(lambda grad, model=model: None)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(sgd, 1)
        step(model, sgd, torch.tensor([1]))
        gone.extend(weakref.ref(thing) for thing in (model, sgd, scheduler, model.table.weight))
        del model, sgd, scheduler
        gc.collect()
        assert [reference() for reference in gone] == [None] * 4

    record(train)


def test_parts_that_are_replaced(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model[0] = nn.Linear(2, 2)  # nobody has used it yet
        sgd = torch.optim.SGD(model[0].parameters(), lr=0.1)
        for number in range(2):
            sgd.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            sgd.step()
            if number == 0:
                model[1].weight = nn.Parameter(torch.ones(2, 2))
                model[0].bias = model[0].bias
                model[0] = nn.Linear(2, 2)

    assert record(train)("replacement", "module", "name", "kind", "step", "owned") == [
        ("Sequential.1", "weight", "parameter", 0, False),
        ("Sequential", "0", "module", 0, True),
    ]


def test_tensors_in_one_memory(record: Any):
    def train() -> None:
        model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
        other = nn.Linear(2, 2)
        both = torch.zeros(8)
        other.weight.data, other.bias.data = both[:4].view(2, 2), both[6:]  # one storage, apart
        sgd = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)
        for number in range(18):
            if number == 1:
                model[1].weight.data = model[0].weight.data
            if number == 16:
                model[2].running_mean = other.weight.data[1]
            sgd.zero_grad()
            other(model(torch.randn(3, 2))).sum().backward()
            sgd.step()

    assert record(train)("alias", "first", "second", "step") == [
        ("0.weight", "1.weight", 1),
        ("weight", "2.running_mean", 16),
    ]
