"""A small causal transformer predicts the next token: bfloat16 autocast, warm-up, clipping, AdamW."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=26)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--warmup", type=int, default=6)
args = parser.parse_args()
torch.manual_seed(args.seed)
VOCABULARY, LENGTH = 13, 17


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        q, k, v = (t.unsqueeze(1) for t in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))
        return x + self.mlp(self.norm2(x))


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        self.blocks = nn.ModuleList([Block(width), Block(width)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def sample(count):
    """Sequences that count upwards with a step of their own, now and then with an error."""
    first, stride = torch.randint(0, VOCABULARY, (count, 1)), torch.randint(1, 4, (count, 1))
    wrong = (torch.rand(count, LENGTH) < 0.05).long()
    return (first + stride * torch.arange(LENGTH) + wrong) % VOCABULARY


model = Model(args.width)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, (n + 1) / args.warmup))
for step in range(args.steps):
    text = sample(args.batch_size)
    tokens, following = text[:, :-1], text[:, 1:]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = model(tokens)
        loss = F.cross_entropy(scores.float().flatten(0, 1), following.flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    print(f"step {step} loss {loss.item():.6f}")
