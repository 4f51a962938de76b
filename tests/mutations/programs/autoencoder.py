"""An autoencoder; the gradients of several small batches are added up before each step."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=14, help="steps of the optimizer")
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--window", type=int, default=4, help="small batches per step")
parser.add_argument("--code", type=int, default=4)
args = parser.parse_args()
torch.manual_seed(args.seed)


class Autoencoder(nn.Module):
    def __init__(self, code):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, code))
        self.decoder = nn.Sequential(nn.Linear(code, 24), nn.ReLU(), nn.Linear(24, 16))

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code)


data = torch.randn(256, 3) @ torch.randn(3, 16)
model = Autoencoder(args.code)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.8)
optimizer.zero_grad()
for n in range(args.steps * args.window):
    batch = data[torch.randint(0, len(data), (args.batch_size,))]
    loss = F.mse_loss(model(batch), batch) / args.window
    loss.backward()
    if (n + 1) % args.window == 0:
        optimizer.step()
        optimizer.zero_grad()
    print(f"batch {n} loss {loss.item() * args.window:.6f}")
