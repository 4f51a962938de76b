"""Loader workers and Hogwild, each without and with recording: `workers.py FOLDER`."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
from outcome import identical
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset[Any]):
    """Augments with all three generators."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        noise = torch.rand(4) + np.random.rand() + random.random()
        return index + noise, index % 3


def loaded(method: str, workers: int, persistent: bool) -> Any:
    model, losses = nn.Linear(4, 3), []
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(
        Noisy(), 2, True, num_workers=workers, multiprocessing_context=method, persistent_workers=persistent
    )
    for _ in range(2):
        for x, y in loader:
            sgd.zero_grad()
            loss = nn.functional.cross_entropy(model(x.float()), y)
            loss.backward()
            sgd.step()
            losses.append(loss.item())
    return losses, model, sgd


def forked() -> Any:
    return loaded("fork", 2, False)


def spawned() -> Any:
    return loaded("spawn", 1, True)


def worker(model: nn.Module, turn: Any, mine: int) -> None:
    """Steps in turn, so that the outcome is one and the same each time."""
    torch.set_num_threads(1)
    torch.manual_seed(mine)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(3):
        while turn.value != 2 * number + mine:
            time.sleep(0.001)
        sgd.zero_grad()
        model(torch.randn(6, 4)).square().mean().backward()
        sgd.step()
        turn.value += 1


def hogwild() -> Any:
    """Two processes train one model in shared memory, without locks."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).share_memory()
    turn = mp.get_context("fork").Value("i", 0)
    model(torch.ones(1, 4))
    children = [mp.get_context("fork").Process(target=worker, args=(model, turn, mine)) for mine in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    for train in (hogwild, forked, spawned):
        identical(train, Path(sys.argv[1]) / train.__name__)
