"""Two noisy views of a sample must meet, of different samples part: loading by workers, a learned temperature."""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=24)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--width", type=int, default=16)
args = parser.parse_args()
torch.manual_seed(args.seed)


class Pairs(Dataset):
    def __init__(self, count):
        self.samples = torch.randn(count, 8)

    def __len__(self):
        return len(self.samples)

    def view(self, index):
        noise = torch.from_numpy(np.random.normal(0, 0.3, 8).astype(np.float32))
        return self.samples[index] + noise

    def __getitem__(self, index):
        first = self.view(index)
        second = self.view(index)
        return first, second


class Projector(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 6)
        )

    def forward(self, x):
        return F.normalize(self.layers(x), dim=1)


def seed_worker(worker):
    np.random.seed(torch.initial_seed() % 2**32)


order = torch.Generator()
order.manual_seed(args.seed)
loader = DataLoader(
    Pairs(8 * args.batch_size), args.batch_size, shuffle=True, num_workers=2, generator=order,
    worker_init_fn=seed_worker,
)  # fmt: skip
model = Projector(args.width)
scale = nn.Parameter(torch.tensor(2.0))
optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.1, momentum=0.9)
step = 0
while step < args.steps:
    for first, second in loader:
        left, right = model(first), model(second)
        likeness = left @ right.T * scale.exp()
        same = torch.arange(len(left))
        loss = (F.cross_entropy(likeness, same) + F.cross_entropy(likeness.T, same)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step} loss {loss.item():.6f}")
        step += 1
        if step == args.steps:
            break
