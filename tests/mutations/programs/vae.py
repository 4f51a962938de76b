"""A variational autoencoder whose encoder and decoder have an optimizer each; the weight of the prior grows."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=28)
parser.add_argument("--batch-size", type=int, default=24)
parser.add_argument("--latent", type=int, default=3)
parser.add_argument("--ramp", type=int, default=12)
args = parser.parse_args()
torch.manual_seed(args.seed)


class Encoder(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 24), nn.SiLU())
        self.mean, self.spread = nn.Linear(24, latent), nn.Linear(24, latent)

    def forward(self, x):
        hidden = self.body(x)
        return self.mean(hidden), self.spread(hidden)


data = torch.sigmoid(torch.randn(240, 3) @ torch.randn(3, 12))
encoder = Encoder(args.latent)
decoder = nn.Sequential(nn.Linear(args.latent, 24), nn.SiLU(), nn.Linear(24, 12), nn.Sigmoid())
encoding = torch.optim.Adam(encoder.parameters(), lr=5e-3)
decoding = torch.optim.Adam(decoder.parameters(), lr=5e-3)
for step in range(args.steps):
    x = data[torch.randint(0, len(data), (args.batch_size,))]
    mean, spread = encoder(x)
    noise = torch.randn_like(mean)
    made = decoder(mean + torch.exp(0.5 * spread) * noise)
    error = F.mse_loss(made, x, reduction="sum") / len(x)
    prior = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(1).mean()
    loss = error + min(1.0, step / args.ramp) * 0.1 * prior
    encoding.zero_grad()
    decoding.zero_grad()
    loss.backward()
    encoding.step()
    decoding.step()
    print(f"step {step} error {error.item():.6f} prior {prior.item():.6f}")
