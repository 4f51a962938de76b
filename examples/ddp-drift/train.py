"""Two processes that go past their DistributedDataParallel wrapper now and then: the replicas drift apart.

Run with: torchrun --nproc-per-node 2 train.py
"""

import argparse

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fixed", action="store_true", help="always call the wrapper")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()

    dist.init_process_group("gloo")
    torch.manual_seed(options.seed)
    inputs = torch.randn(512, 16)
    targets = inputs @ torch.randn(16, 1)
    data = TensorDataset(inputs, targets)
    sampler = DistributedSampler(data, shuffle=True, seed=options.seed)
    loader = DataLoader(data, batch_size=32, sampler=sampler)

    wrapped = DistributedDataParallel(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)))
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.05)

    for epoch in range(2):
        sampler.set_epoch(epoch)
        total = 0.0
        for index, (batch, target) in enumerate(loader):
            past_the_wrapper = not options.fixed and index % 3 == 2
            model = wrapped.module if past_the_wrapper else wrapped
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch), target)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"rank {dist.get_rank()}, epoch {epoch}: loss {total / len(loader):.3f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
