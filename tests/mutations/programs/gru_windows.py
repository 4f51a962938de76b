"""A GRU reads long streams in windows and tells at each place which of two processes made the values; RMSprop."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--streams", type=int, default=12)
parser.add_argument("--window", type=int, default=8)
parser.add_argument("--hidden", type=int, default=12)
args = parser.parse_args()
torch.manual_seed(args.seed)
WINDOWS = 6


class Reader(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embed = nn.Linear(2, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, values, state):
        features = torch.tanh(self.embed(values))
        hidden, state = self.gru(features, state)
        return self.head(hidden), state


def streams(count, length):
    """Streams of two values whose frequency says which process made them."""
    kind = torch.randint(0, 2, (count,))
    phase = torch.rand(count, 1) * 6 + torch.arange(length) * (0.3 + 0.4 * kind.unsqueeze(1))
    values = torch.stack([phase.sin(), phase.cos()], dim=2) + 0.1 * torch.randn(count, length, 2)
    return values, kind.unsqueeze(1).expand(count, length)


values, kinds = streams(args.streams, WINDOWS * args.window)
model = Reader(args.hidden)
optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-3)
state = None
for step in range(args.steps):
    if step % WINDOWS == 0:
        state = None
    begin = step % WINDOWS * args.window
    window = slice(begin, begin + args.window)
    scores, state = model(values[:, window], state)
    state = state.detach()
    loss = F.cross_entropy(scores.flatten(0, 1), kinds[:, window].flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    print(f"step {step} loss {loss.item():.6f}")
