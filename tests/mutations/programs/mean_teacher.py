"""A student learns from few labels and from a teacher, which is the moving average of the student; SGD."""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--decay", type=float, default=0.9)
args = parser.parse_args()
torch.manual_seed(args.seed)
x = torch.randn(240, 6)
labels = (x @ torch.randn(6, 3)).argmax(1)
few = 40

student = nn.Sequential(
    nn.Linear(6, args.width), nn.BatchNorm1d(args.width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(args.width, 3)
)
teacher = copy.deepcopy(student).requires_grad_(False).eval()
optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True)
for step in range(args.steps):
    known = torch.randint(0, few, (args.batch_size,))
    unknown = torch.randint(few, len(x), (args.batch_size,))
    loss = F.cross_entropy(student(x[known]), labels[known])
    noisy = x[unknown] + 0.1 * torch.randn(args.batch_size, 6)
    with torch.no_grad():
        wanted = teacher(x[unknown]).softmax(1)
    agreement = F.mse_loss(student(noisy).softmax(1), wanted)
    loss = loss + min(1.0, step / 10) * agreement
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
            old.mul_(args.decay).add_(new, alpha=1 - args.decay)
        for old, new in zip(teacher.buffers(), student.buffers(), strict=True):
            old.copy_(new)
    print(f"step {step} loss {loss.item():.6f} agreement {agreement.item():.6f}")
