"""float16 autocast with a scaler whose first scale is too large, so that the first steps are skipped; clipping, SGD."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=26)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--first-scale", type=float, default=2.0**20)
args = parser.parse_args()
torch.manual_seed(args.seed)

x = torch.randn(256, 10)
labels = (x @ torch.randn(10, 5)).argmax(1)
model = nn.Sequential(
    nn.Linear(10, args.width), nn.LayerNorm(args.width), nn.ReLU(), nn.Linear(args.width, args.width), nn.ReLU(),
    nn.Linear(args.width, 5),
)  # fmt: skip
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
scaler = torch.amp.GradScaler("cpu", init_scale=args.first_scale, growth_interval=12)
for step in range(args.steps):
    pick = torch.randint(0, len(x), (args.batch_size,))
    with torch.autocast("cpu", dtype=torch.float16):
        loss = F.cross_entropy(model(x[pick]), labels[pick])
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    print(f"step {step} loss {loss.item():.6f} scale {scaler.get_scale():.0f}")
