"""An average of the weights that never moves: its update assigns to a loop variable instead of the tensor."""

import argparse
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, decay: float, *, in_place: bool) -> None:
    for mean, current in zip(average.parameters(), model.parameters(), strict=True):
        if in_place:
            mean.mul_(decay).add_(current, alpha=1 - decay)
        else:
            mean = decay * mean + (1 - decay) * current


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fixed", action="store_true", help="update the average in place")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()

    torch.manual_seed(options.seed)
    inputs = torch.randn(512, 16)
    targets = inputs @ torch.randn(16, 1)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=32, shuffle=True)

    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    for epoch in range(2):
        for batch, target in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch), target)
            loss.backward()
            optimizer.step()
            update(average, model, 0.9, in_place=options.fixed)
        average.eval()
        with torch.no_grad():
            loss = nn.functional.mse_loss(average(inputs), targets)
        average.train()
        print(f"epoch {epoch}: loss of the averaged model {loss.item():.3f}")


if __name__ == "__main__":
    main()
