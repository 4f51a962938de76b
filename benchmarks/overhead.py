"""What recording costs a training step: traced and plain steps in turns, in one process.

    python benchmarks/overhead.py [--rounds 30] [--only mlp]

Blocks of steps run alternately with the probes off and on, so that drift of the machine hits both alike. Printed are
the ratio of the medians with the spread over rounds, and the same for plain against plain: what differs less than this
noise floor is not measured.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import tcrules

Step = Callable[[], None]


class Language(nn.Module):
    """A small transformer over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(128, 256)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.body(self.embedding(tokens)))
        return result


def training_step(model: nn.Module, batch: torch.Tensor, target: torch.Tensor) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        scores = model(batch)
        loss = nn.functional.cross_entropy(scores.flatten(0, -2), target.flatten())
        loss.backward()
        optimizer.step()

    return step


def mlp() -> Step:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    return training_step(model, torch.randn(32, 32), torch.randint(10, (32,)))


def cnn() -> Step:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return training_step(model, torch.randn(32, 3, 32, 32), torch.randint(10, (32,)))


def transformer() -> Step:
    tokens = torch.randint(256, (8, 64))
    return training_step(Language(), tokens, tokens)


WORKLOADS: dict[str, tuple[Callable[[], Step], int]] = {
    "mlp": (mlp, 100),
    "cnn": (cnn, 8),
    "transformer": (transformer, 8),
}


def timed(step: Step, steps: int) -> float:
    """Seconds per step."""
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def traced(step: Step, steps: int, warm_up: int, folder: Path) -> float:
    """Seconds per recorded step. The first steps of a recording write down more and are not timed."""
    with tcrules.watch(run=folder):
        for _ in range(warm_up):
            step()
        return timed(step, steps)


def compare(
    build: Callable[[], Step], steps: int, rounds: int, warm_up: int
) -> tuple[list[float], list[float], float]:
    """Ratios traced/plain and plain/plain of each round, and the plain time of a step."""
    step = build()
    timed(step, steps)
    ratios, noise, plain = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            first = timed(step, steps)
            recorded = traced(step, steps, warm_up, Path(folder) / "run")
            second = timed(step, steps)
        # Between two plain blocks, so that drift in one direction cancels.
        ratios.append(2 * recorded / (first + second))
        noise.append(second / first)
        plain.append(min(first, second))
    return ratios, noise, statistics.median(plain)


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f}–{high:.3f})"


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--warm-up", type=int, default=30, help="recorded steps before timing begins")
    arguments.add_argument("--only", choices=sorted(WORKLOADS), help="one of the workloads")
    options = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("median (quartiles) over rounds; torch", torch.__version__, "on one thread")
    print(f"{'workload':12} {'plain step':>11}   {'traced/plain':22} {'plain/plain':22}")
    for name, (build, steps) in WORKLOADS.items():
        if options.only in (None, name):
            ratios, noise, plain = compare(build, steps, options.rounds, options.warm_up)
            print(f"{name:12} {plain * 1e3:8.2f} ms   {spread(ratios):22} {spread(noise):22}", flush=True)


if __name__ == "__main__":
    main()
