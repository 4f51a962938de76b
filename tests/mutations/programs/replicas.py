"""DistributedDataParallel on two processes; two batches are added up before each step; a falling learning rate."""

import argparse
import contextlib

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument(
    "--steps", type=int, default=24, help="batches per process, two for each step of the optimizer"
)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--width", type=int, default=16)
args = parser.parse_args()
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(args.seed)

x = torch.randn(128, 5)
y = (x[:, :1] * x[:, 1:2]).tanh()
data = TensorDataset(x, y)
sampler = DistributedSampler(data, num_replicas=world, rank=rank, shuffle=True, seed=args.seed)
loader = DataLoader(data, batch_size=args.batch_size, sampler=sampler)
net = nn.Sequential(nn.Linear(5, args.width), nn.LayerNorm(args.width), nn.ReLU(), nn.Linear(args.width, 1))
model = DistributedDataParallel(net)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.7)
step = epoch = 0
while step < args.steps:
    sampler.set_epoch(epoch)
    for inputs, targets in loader:
        last = step % 2 == 1
        with contextlib.nullcontext() if last else model.no_sync():
            loss = F.mse_loss(model(inputs), targets) / 2
            loss.backward()
        if last:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        print(f"rank {rank} step {step} loss {2 * loss.item():.6f}")
        step += 1
        if step == args.steps:
            break
    epoch += 1
dist.barrier()
dist.destroy_process_group()
