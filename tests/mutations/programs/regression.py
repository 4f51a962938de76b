"""A perceptron learns a smooth function: SGD with momentum, StepLR, evaluation after each epoch."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=32)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--width", type=int, default=24)
parser.add_argument("--drop-every", type=int, default=10)
args = parser.parse_args()
torch.manual_seed(args.seed)

inputs = torch.rand(160, 4) * 2 - 1
targets = torch.sin(2 * inputs.sum(1, keepdim=True)) + 0.05 * torch.randn(160, 1)
loader = DataLoader(TensorDataset(inputs[:128], targets[:128]), batch_size=args.batch_size, shuffle=True)
model = nn.Sequential(
    nn.Linear(4, args.width),
    nn.Tanh(),
    nn.Linear(args.width, args.width),
    nn.Tanh(),
    nn.Linear(args.width, 1),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=args.drop_every, gamma=0.5)

step = 0
while step < args.steps:
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        print(f"step {step} loss {loss.item():.6f}")
        step += 1
        if step == args.steps:
            break
    model.eval()
    with torch.no_grad():
        error = F.mse_loss(model(inputs[128:]), targets[128:])
    print(f"held out {error.item():.6f}")
