"""Loaders, batches, workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pytest
import torch
from tcrules.instrument.attach import launch
from tcrules.instrument.probes.samples import WHY_NONE
from tcrules.instrument.runs import open_run
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

DATA = TensorDataset(torch.arange(10.0).reshape(5, 2), torch.zeros(5))


def test_loaders_epochs_and_batches(record: Any):
    def train() -> None:
        model = nn.Linear(2, 1)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        trained, tested = DataLoader(DATA, batch_size=2, shuffle=True), DataLoader(DATA, batch_size=5)
        for _ in range(2):
            for x, _ in trained:
                sgd.zero_grad()
                model(x).sum().backward()
                sgd.step()
            for x, _ in tested:
                model(x * 2)

    facts = record(train)
    assert facts("loader", "loader", "sampler", "shuffle", "workers", "batch_size", "length") == [
        ("DataLoader#0", "RandomSampler", True, 0, 2, 3),
        ("DataLoader#1", "SequentialSampler", False, 0, 5, 1),
    ]
    assert facts("epoch", "loader", "epoch", "sampler_epoch") == [
        ("DataLoader#0", 0, -1),
        ("DataLoader#1", 0, -1),
        ("DataLoader#0", 1, -1),
        ("DataLoader#1", 1, -1),
    ]
    batches = facts("batch", "epoch", "index", "worker", "size", where="loader = 'DataLoader#0'")
    assert batches == [(epoch, index, -1, size) for epoch in range(2) for index, size in enumerate((2, 2, 1))]
    fields = facts("batch_field", "field", "dtype", "constant", where="loader = 'DataLoader#1'")
    assert fields == [("0", "float32", False), ("1", "float32", True)] * 2
    assert facts("forward", "loader") == (["DataLoader#0"] * 3 + ["DataLoader#1"]) * 2
    # the batch itself was the input, and is known by its fingerprint
    assert facts.sql(
        "SELECT count(*) FROM forward f JOIN batch_field b ON f.input = b.data WHERE f.loader = 'DataLoader#0'"
    ) == [(6,)]


class Pair(NamedTuple):
    x: torch.Tensor
    label: int


class Nested(Dataset[Any]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return {"pair": Pair(torch.ones(3) * index, index), "text": "a", "list": [torch.ones(1)]}


def test_nested_batches_and_samplers(record: Any):
    def train() -> None:
        for _ in DataLoader(Nested(), batch_size=2):
            pass
        list(DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 5, 5)))
        next(iter(DataLoader(DATA, batch_size=None)))
        next(iter(DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 3, False))))

    facts = record(train)
    assert facts("batch_field", "field", "constant", where="loader = 'DataLoader#0'") == [
        ("pair.x", False),
        ("pair.label", False),
        ("list.0", True),
    ]
    assert facts("loader", "shuffle", "batch_size") == [(False, 2), (True, 1), (False, -1), (True, 3)]
    assert facts("loader", "sampler")[-1] == "RandomSampler"


def test_a_loop_that_breaks_ends_its_iteration(record: Any):
    def train() -> None:
        model = nn.Linear(2, 1)
        for _ in DataLoader(DATA):
            model(torch.ones(1, 2))
            break
        model(torch.ones(1, 2))

    assert record(train)("forward", "loader") == ["DataLoader#0", ""]


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Any:
        info = torch.utils.data.get_worker_info()
        number = 0 if info is None else info.id
        # worker 0 has less to give
        return iter([torch.full((1,), float(number))] * (2 + 4 * number))


class Noisy(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(np.random.normal(size=2))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers(record: Any, persistent: bool):
    def train() -> None:
        loader = DataLoader(Noisy(), num_workers=2, persistent_workers=persistent)
        for _ in range(2):
            list(loader)

    facts = record(train)
    assert facts("batch", "epoch", "index", "worker") == [(e, i, i % 2) for e in range(2) for i in range(4)]
    rng = facts("worker_rng", "epoch", "worker", "source", "used")
    assert sorted(rng) == sorted(
        (epoch, worker, source, source == "numpy")
        for epoch in range(2)
        for worker in range(2)
        for source in ("torch", "numpy", "python")
    )
    assert facts.sql("SELECT count(DISTINCT data) FROM worker_rng WHERE source = 'numpy'") == [(4,)]
    assert sorted(facts("process", "role")) == ["trainer"] + ["worker"] * (2 if persistent else 4)


def test_a_worker_that_runs_out(record: Any):
    def train() -> None:
        seen.extend(int(batch) for batch in DataLoader(Streamed(), num_workers=2, batch_size=1))

    seen: list[int] = []
    facts = record(train, gaps=True)
    assert facts("batch", "worker") == seen
    assert facts.gaps("relation", "why") == [("batch_sample", WHY_NONE)]


SPAWN = """
import torch
from torch.utils.data import DataLoader, TensorDataset

if __name__ == "__main__":
    loader = DataLoader(TensorDataset(torch.ones(4)), num_workers=2, multiprocessing_context="{}")
    for epoch in range(2):
        list(loader)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_not_forked(tmp_path: Path, method: str):
    script = tmp_path / "train.py"
    script.write_text(SPAWN.format(method))
    assert launch([sys.executable, str(script)], tmp_path / "run") == 0
    facts = open_run(tmp_path / "run").facts
    query = "SELECT loader, epoch, worker FROM read_parquet(?) WHERE source = 'torch'"
    found = duckdb.execute(query, [str(facts / "worker_rng.parquet")]).fetchall()
    assert sorted(found) == [("DataLoader#0", epoch, worker) for epoch in range(2) for worker in range(2)]
