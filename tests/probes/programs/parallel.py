"""Two ranks that train in parallel, each way without and with recording: `parallel.py FOLDER`, once per rank."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from outcome import identical
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.norm = nn.LayerNorm(8)
        self.down = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.norm(self.up(x))))


def replicated() -> Any:
    """DDP with windows of two batches; all but the last of a window are not synchronised."""
    model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)))
    adam, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    torch.manual_seed(dist.get_rank())
    for _ in range(3):
        adam.zero_grad()
        with model.no_sync():
            model(torch.randn(6, 4)).mean().backward()
        loss = model(torch.randn(6, 4)).mean()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    mean = torch.tensor(losses)
    dist.all_reduce(mean)
    return losses, mean, model, adam


def sharded() -> Any:
    """FSDP2: parameters are replaced by shards; the optimizer owns those."""
    model = nn.Sequential(Block(), Block())
    for block in model:
        fully_shard(block)
    fully_shard(model)
    adam, losses = torch.optim.AdamW(model.parameters(), lr=0.01), []
    torch.manual_seed(dist.get_rank())
    for _ in range(3):
        adam.zero_grad()
        loss = model(torch.randn(6, 4)).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        losses.append(loss.item())
    return losses, model, adam


def split() -> Any:
    """Tensor parallel: one layer by columns, the next by rows; the rest is replicated."""
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
    model = nn.Sequential()
    block = nn.Sequential()
    block.add_module("up", nn.Linear(4, 8))
    block.add_module("act", nn.ReLU())
    block.add_module("down", nn.Linear(8, 4))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    model.add_module("block", parallelize_module(block, mesh, plan))
    model.add_module("head", nn.Linear(4, 1))
    sgd, losses = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False), []
    for _ in range(3):
        sgd.zero_grad()
        loss = model(torch.randn(6, 4)).square().mean()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses, model, sgd


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for train in (replicated, sharded, split):
        identical(train, Path(sys.argv[1]) / train.__name__)
        dist.barrier()
    dist.destroy_process_group()
