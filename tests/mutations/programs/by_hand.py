"""Data parallelism by hand on two processes: parameters are broadcast, gradients and batch norm are averaged."""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=22)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--width", type=int, default=14)
args = parser.parse_args()
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(args.seed)
x = torch.randn(200, 6)
labels = (x @ torch.randn(6, 3)).argmax(1)

torch.manual_seed(1000 * args.seed + rank)
model = nn.Sequential(
    nn.Linear(6, args.width), nn.BatchNorm1d(args.width), nn.ReLU(), nn.Linear(args.width, 3)
)
for parameter in model.parameters():
    dist.broadcast(parameter.data, src=0)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(args.steps):
    pick = torch.randint(0, len(x) // world, (args.batch_size,)) * world + rank
    loss = F.cross_entropy(model(x[pick]), labels[pick])
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= world
    torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
    optimizer.step()
    for buffer in (model[1].running_mean, model[1].running_var):
        dist.all_reduce(buffer)
        buffer /= world
    print(f"rank {rank} step {step} loss {loss.item():.6f}")
dist.barrier()
dist.destroy_process_group()
