"""Fine-tune a classifier on a new task. It learns, the loss falls, and yet something is wrong."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(nn.Module):
    """Two layers of features and a head that names the class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, classes)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Scores of the classes for each row of the batch."""
        scores: torch.Tensor = self.head(self.features(batch))
        return scores


def train() -> None:
    """Train for two epochs and print the loss."""
    torch.manual_seed(0)
    inputs = torch.randn(640, 20)
    labels = (inputs @ torch.randn(20, 4)).argmax(dim=1)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=32, shuffle=True)

    model = Classifier(classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.head = nn.Linear(64, 4)  # the new task has four classes

    for epoch in range(2):
        total = 0.0
        for batch, target in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f}")  # noqa: T201


if __name__ == "__main__":
    train()
