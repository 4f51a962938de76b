"""Samples: the order of an epoch, which label goes with which input, and what a batch is used for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tcrules.instrument.probes.samples import WHY_SOME
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, TensorDataset

DATA = TensorDataset(torch.arange(20.0).reshape(10, 2), torch.arange(10) % 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_each_sample_once(record: Any, workers: int):
    def train() -> None:
        loader = DataLoader(DATA, batch_size=4, shuffle=True, num_workers=workers)
        seen.extend([int(x[0]) // 2 for x, _ in loader for x in x] for _ in range(2))

    seen: list[list[int]] = []
    facts = record(train)
    columns = ("epoch", "batches", "samples", "distinct", "dataset")
    assert facts("epoch_end", *columns) == [(epoch, 3, 10, 10, 10) for epoch in range(2)]
    assert len(set(facts("epoch_end", "order"))) == 2
    assert facts("batch_sample", "sample") == [*seen[0], *seen[1]]
    assert facts("batch_sample", "place", where="epoch = 0") == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert set(facts("batch_sample", "input_field", "label_field")) == {("0", "1")}
    # inputs and labels stay paired: the same sample has the same print of both, whichever batch it is in
    assert facts.sql("SELECT count(*), count(DISTINCT input), count(DISTINCT label) FROM batch_sample") == [
        (20, 10, 3)
    ]
    assert facts.sql(
        "SELECT count(*) FROM (SELECT sample FROM batch_sample GROUP BY sample "
        "HAVING count(DISTINCT (input, label)) <> 1)"
    ) == [(0,)]


def test_persistent_workers_and_a_sampler_without_epoch(record: Any):
    def train() -> None:
        sampler = DistributedSampler(DATA, num_replicas=2, rank=1)
        loader = DataLoader(DATA, batch_size=2, sampler=sampler, num_workers=1, persistent_workers=True)
        for _ in range(2):
            list(loader)

    facts = record(train)
    assert facts("epoch_end", "samples", "distinct", "dataset") == [(5, 5, 10)] * 2
    assert len(set(facts("epoch_end", "order"))) == 1
    first, second = (
        facts("batch_sample", "sample", where="epoch = 0"),
        facts("batch_sample", "sample", where="epoch = 1"),
    )
    assert first == second and len(first) == 5


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(torch.ones(1) * i, i) for i in range(5)])


class Bare(Dataset[Any]):
    """It has no length."""

    def __getitem__(self, index: int) -> Any:
        return {"pixels": torch.ones(2) * index, "labels": index}


def test_loaders_without_indices(record: Any):
    def train() -> None:
        list(DataLoader(Streamed(), batch_size=2))
        list(DataLoader(DATA, batch_size=None))
        list(DataLoader(Bare(), batch_sampler=[tuple(np.array([3, 3, 4]))]))
        for _ in DataLoader(DATA):
            break  # not to its end

    facts = record(train)
    assert facts("epoch_end", "loader", "batches", "samples", "distinct", "dataset") == [
        ("DataLoader#0", 3, 5, -1, -1),
        ("DataLoader#1", 10, 10, 10, 10),
        ("DataLoader#2", 1, 3, -1, -1),
    ]
    assert [order == 0 for order in facts("epoch_end", "order")] == [True, False, False]
    samples = {
        name: facts("batch_sample", "sample", where=f"loader = 'DataLoader#{name}'") for name in range(3)
    }
    assert samples == {0: [-1] * 5, 1: list(range(10)), 2: [3, 3, 4]}
    fields = facts("batch_sample", "input_field", "label_field", where="loader = 'DataLoader#2'")
    assert fields == [("pixels", "labels")] * 3


def test_large_datasets_are_sampled_by_index(record: Any):
    data = TensorDataset(torch.arange(3000.0), torch.arange(3000))

    def train() -> None:
        for _ in range(2):
            list(DataLoader(data, batch_size=500, shuffle=True))

    facts = record(train, gaps=True)
    assert facts.gaps("relation", "why", "first_step") == [("batch_sample", WHY_SOME, 0)]
    first, second = (facts("batch_sample", "sample", where=f"loader = 'DataLoader#{n}'") for n in range(2))
    assert first != second
    # 64 of a batch at most: some are left out, the others are the same multiples
    assert all(sample % 8 == 0 for sample in [*first, *second]) and len(first) > 300


def test_what_a_batch_is_used_for(record: Any):
    def train() -> None:
        model = nn.Linear(2, 3)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        stale = torch.zeros(5, dtype=torch.int64)
        for number, (x, y) in enumerate(DataLoader(DATA, batch_size=5)):
            x[0] += number
            target = stale if number == 1 else y.view(-1)
            functional.cross_entropy(model(x), target).backward()
            sgd.step()
            stale = y

    facts = record(train)
    assert facts("batch_use", "role", "step", "index", "field", "same") == [
        ("input", 0, 0, "0", False),  # adding nothing is writing, too
        ("target", 0, 0, "1", True),
        ("input", 1, 1, "0", False),
        ("target", 1, 0, "1", True),  # the label of the batch before
    ]
    calls = facts.sql(
        "SELECT api FROM batch_use JOIN call USING (call) WHERE batch_use.step = 0 ORDER BY begin"
    )
    assert calls == [("torch.nn.Module.forward",), ("torch.nn.functional.cross_entropy",)]
