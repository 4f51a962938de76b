"""A classifier that stays in evaluation mode after its first validation: dropout never acts again."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(20, 64)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(64, 4)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(torch.relu(self.hidden(batch))))


def validate(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(inputs).argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fixed", action="store_true", help="return to training mode in each epoch")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()

    torch.manual_seed(options.seed)
    inputs = torch.randn(640, 20)
    labels = (inputs @ torch.randn(20, 4)).argmax(dim=1)
    loader = DataLoader(TensorDataset(inputs[:512], labels[:512]), batch_size=64, shuffle=True)

    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    model.train()
    for epoch in range(4):
        if options.fixed:
            model.train()
        for batch, target in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: validation accuracy {validate(model, inputs[512:], labels[512:]):.3f}")


if __name__ == "__main__":
    main()
