"""A convolutional network with batch norm and dropout tells bars, columns, squares and crosses apart; Adam."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--batch-size", type=int, default=24)
parser.add_argument("--width", type=int, default=6)
parser.add_argument("--evaluate-every", type=int, default=8)
args = parser.parse_args()
torch.manual_seed(args.seed)


def draw(count):
    """Images with one shape each, at a random place, and what it is."""
    images, labels = torch.rand(count, 1, 12, 12) * 0.2, torch.randint(0, 4, (count,))
    for image, label in zip(images, labels, strict=True):
        row, column = (int(v) for v in torch.randint(2, 8, (2,)))
        if label != 1:
            image[0, row, column - 2 : column + 3] = 1.0
        if label in (1, 3):
            image[0, row - 2 : row + 3, column] = 1.0
        if label == 2:
            image[0, row + 1 : row + 4, column - 2 : column + 3] = 1.0
    return images, labels


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(18 * width, 4)

    def forward(self, images):
        hidden = self.features(images).flatten(1)
        hidden = self.dropout(hidden)
        return self.head(hidden)


images, labels = draw(240)
test_images, test_labels = draw(60)
net = Net(args.width)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

net.train()
for step in range(args.steps):
    pick = torch.randperm(len(images))[: args.batch_size]
    x, y = images[pick], labels[pick]
    scores = net(x)
    loss = F.cross_entropy(scores, y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    print(f"step {step} loss {loss.item():.6f}")
    if (step + 1) % args.evaluate_every == 0:
        net.eval()
        with torch.inference_mode():
            right = (net(test_images).argmax(1) == test_labels).float().mean()
        print(f"accuracy {right.item():.4f}")
        net.train()
