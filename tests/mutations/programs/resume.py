"""A run that is interrupted half-way and goes on from its checkpoint: Adam, a falling learning rate, a best state."""

import argparse
import copy
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=26)
parser.add_argument("--batch-size", type=int, default=20)
parser.add_argument("--width", type=int, default=18)
args = parser.parse_args()
torch.manual_seed(args.seed)
x = torch.randn(200, 5)
y = torch.sin(x[:, :1] + x[:, 1:2] * x[:, 2:3])


def build():
    model = nn.Sequential(nn.Linear(5, args.width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(args.width, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 - n / (2 * args.steps))
    return model, optimizer, scheduler


def train(model, optimizer, scheduler, first, last):
    best, least = None, float("inf")
    for step in range(first, last):
        pick = torch.randint(0, 160, (args.batch_size,))
        loss = F.mse_loss(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        print(f"step {step} loss {loss.item():.6f} lr {scheduler.get_last_lr()[0]:.6f}")
        if (step + 1) % 4 == 0:
            model.eval()
            with torch.no_grad():
                error = F.mse_loss(model(x[160:]), y[160:]).item()
            model.train()
            if error < least:
                least, best = error, copy.deepcopy(model.state_dict())
    return best


half = args.steps // 2
with tempfile.TemporaryDirectory() as folder:
    model, optimizer, scheduler = build()
    train(model, optimizer, scheduler, 0, half)
    torch.save(
        {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
            "step": half, "random": torch.get_rng_state(),
        },
        Path(folder, "half.pt"),
    )  # fmt: skip

    model, optimizer, scheduler = build()
    saved = torch.load(Path(folder, "half.pt"))
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    torch.set_rng_state(saved["random"])
    best = train(model, optimizer, scheduler, saved["step"], args.steps)
    model.load_state_dict(best)
    model.eval()
    with torch.no_grad():
        print(f"held out {F.mse_loss(model(x[160:]), y[160:]).item():.6f}")
