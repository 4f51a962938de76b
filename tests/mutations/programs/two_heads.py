"""A trunk with two heads, a class and a value: AdamW with two groups, clipping, a cosine schedule."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=28)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--width", type=int, default=20)
parser.add_argument("--clip", type=float, default=0.5)
args = parser.parse_args()
torch.manual_seed(args.seed)


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(6, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width)
        )
        self.kind = nn.Linear(width, 3)
        self.value = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, x):
        shared = F.gelu(self.trunk(x))
        return self.kind(shared), self.value(shared).squeeze(1)


x = torch.randn(300, 6)
kinds = (x @ torch.randn(6, 3)).argmax(1)
values = torch.tanh(x[:, 0] * x[:, 1]) + x[:, 2]

model = Model(args.width)
matrices = [p for p in model.parameters() if p.ndim > 1]
vectors = [p for p in model.parameters() if p.ndim <= 1]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}], lr=4e-3
)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)

for step in range(args.steps):
    pick = torch.randint(0, len(x), (args.batch_size,))
    kind, value = model(x[pick])
    kind_loss = F.cross_entropy(kind, kinds[pick])
    value_loss = F.mse_loss(value, values[pick])
    loss = kind_loss + value_loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
    optimizer.step()
    scheduler.step()
    print(f"step {step} kind {kind_loss.item():.6f} value {value_loss.item():.6f}")
