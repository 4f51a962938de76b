"""Settings: what was configured, and what the objects have."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WIDTH = 3
API_KEY = "abc-123"


@dataclass
class Data:
    batch_size: int = 2
    root: str = "~/data"


@dataclass
class Config:
    rate: float = 0.25
    data: Data = field(default_factory=Data)
    wandb_token: str = "very-secret"


class Net(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.body = nn.Linear(WIDTH, 1)
        self.drop = nn.Dropout(0.125)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.body(x))


def build(model: nn.Module, args: argparse.Namespace) -> torch.optim.Optimizer:
    weight_decay = 0.5
    sentence = "this is a text, and may be data"
    password = "hunter2"
    assert sentence and password
    return torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=weight_decay)


def train(inherited: str = "") -> None:
    cfg = Config()
    args = argparse.Namespace(lr=1e-3, amp=True, name=inherited, hidden=[1, 2])
    model = Net(cfg)
    adam = build(model, args)
    schedule = torch.optim.lr_scheduler.StepLR(adam, step_size=7)
    loader = DataLoader(TensorDataset(torch.ones(4, WIDTH)), batch_size=cfg.data.batch_size, shuffle=True)
    for number, (x,) in enumerate(loader):
        only_later = number + 0.5
        if number:
            build(model, argparse.Namespace(lr=only_later))
        adam.zero_grad()
        model(x).sum().backward()
        adam.step()
        schedule.step()


def test_settings_in_frames(record: Any):
    facts = record(train)
    found = facts("config", "container", "key", "value", "numeric", "number", where="source = 'frame'")
    assert {
        ("args", "lr", "0.001", True, 0.001),
        ("args", "amp", "true", False, 0.0),
        ("cfg", "rate", "0.25", True, 0.25),
        ("cfg", "data.batch_size", "2", True, 2.0),
        ("cfg", "data.root", "~/data", False, 0.0),
        ("", "weight_decay", "0.5", True, 0.5),
        ("", "WIDTH", "3", True, 3.0),
    } <= set(found)
    assert ("weight_decay", "build") in facts("config", "key", "function")
    assert ("WIDTH", "") in facts("config", "key", "function")
    keys = facts("config", "key")
    assert not {"password", "API_KEY", "wandb_token", "sentence", "hidden"} & set(keys)
    # what changes later is no configuration
    assert facts("config", "number", where="key = 'only_later'") == [0.5]
    assert "1.5" not in facts("config", "value", where="container = 'args'")


def test_values_of_the_environment_are_left_out(record: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TCRULES_TEST_PLANTED", "planted-value")
    monkeypatch.setenv("TCRULES_TEST_FLAG", "true")
    facts = record(lambda: train("planted-value"))
    assert "planted-value" not in facts("config", "value") and "0.001" in facts("config", "value")
    assert facts("config", "value", where="key = 'amp'") == ["true"]


def test_settings_of_objects(record: Any):
    facts = record(train)
    found = {
        (kind, name, part, key): value
        for kind, name, part, key, value in facts("setting", "kind", "object", "part", "key", "value")
    }
    assert found["optimizer", "AdamW#0", 0, "lr"] == "0.001"
    assert found["optimizer", "AdamW#0", 0, "betas.1"] == "0.999"
    assert found["optimizer", "AdamW#0", 0, "weight_decay"] == "0.5"
    assert found["scheduler", "StepLR#0", 0, "step_size"] == "7"
    assert found["loader", "DataLoader#0", 0, "batch_size"] == "2"
    assert found["loader", "DataLoader#0", 1, "replacement"] == "false"
    assert found["module", "Net.drop", 0, "p"] == "0.125"
    assert found["module", "Net.body", 0, "in_features"] == "3"
    assert found["module", "Net", 0, "config.rate"] == "0.25"
    assert not [key for *_, key in found if "token" in key]
    # the configured rate is the effective one
    assert facts.sql(
        "SELECT count(*) FROM config c JOIN setting s USING (key, number) WHERE c.container = 'args' "
        "AND key = 'lr' AND object = 'AdamW#0'"
    ) == [(1,)]
