"""What recording costs a training step: recorded and plain steps in turns, in one process.

    python benchmarks/overhead.py [--rounds 30] [--only mlp] [--peers]

Blocks of steps run alternately plain and recorded, so that drift of the machine hits both alike; CPU time, one thread.
Printed are the medians with quartiles of recorded/plain, and of plain/plain: what differs less than this noise floor is
not measured. The first steps of a recording, which write down more, are run before the clock starts.

selective: what the whole library reads, within the budget of 2 %; steps are left out where it would cost more.
everything: all relations, in every step.
full: these, and each call of a public function of torch with its signature (`--full`), within its budget of 50 %.
With --peers the same for torch.profiler, in the same process, and for TrainCheck where `traincheck-collect` is on PATH:
processes that it runs, and their CPU time per step beside that of the same script without it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tcrules.rules.loading import load_rules
from torch import nn

import tcrules
from tcrules.selection import needed

Step = Callable[[], None]
Recorder = Callable[[int], AbstractContextManager[object]]


class Language(nn.Module):
    """A transformer of 10 million parameters over tokens."""

    def __init__(self, words: int = 8192, width: int = 256, layers: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, words)

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
    tokens = torch.randint(8192, (2, 32))
    return training_step(Language(), tokens, tokens)


class Workload(NamedTuple):
    """A model; steps per block, and steps that a recording runs before the clock starts."""

    build: Callable[[], Step]
    steps: int
    warm_up: int


WORKLOADS = {
    "mlp": Workload(mlp, 1024, 320),
    "cnn": Workload(cnn, 16, 12),
    "transformer": Workload(transformer, 8, 8),
}


# ------------------------------------------------------------------------------------------------ recorders


def selective(warm_up: int) -> AbstractContextManager[object]:
    """What the library reads, in steps that the budget allows."""
    relations = sorted(needed(load_rules().program))
    return _watch({"relations": relations, "warm_up": warm_up // 2})


def everything(_warm_up: int) -> AbstractContextManager[object]:
    """All relations, always."""
    return _watch({"overhead": 0.0})


def full(warm_up: int) -> AbstractContextManager[object]:
    """All relations and all calls."""
    return _watch({"full": True, "warm_up": warm_up // 2})


@contextmanager
def _watch(options: dict[str, Any]) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, tcrules.watch(run=Path(folder) / "run", options=options):
        yield


def profiler(_warm_up: int) -> AbstractContextManager[object]:
    """torch.profiler with its defaults, which are less than either of ours: operators and their times."""
    found: AbstractContextManager[object] = torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU]
    )
    return found


# ------------------------------------------------------------------------------------------------ measuring


def timed(step: Step, steps: int) -> float:
    """CPU seconds per step."""
    begin = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - begin) / steps


def recorded(step: Step, load: Workload, recorder: Recorder) -> float:
    """CPU seconds per recorded step."""
    with recorder(load.warm_up):
        for _ in range(load.warm_up):
            step()
        return timed(step, load.steps)


def compare(load: Workload, recorder: Recorder, rounds: int) -> tuple[list[float], list[float], float]:
    """Ratios recorded/plain and plain/plain of each round, and the plain time of a step."""
    step = load.build()
    timed(step, load.steps)
    ratios, noise, plain = [], [], []
    for _ in range(rounds):
        first = timed(step, load.steps)
        between = recorded(step, load, recorder)
        second = timed(step, load.steps)
        # Between two plain blocks, so that drift in one direction cancels.
        ratios.append(2 * between / (first + second))
        noise.append(second / first)
        plain.append(min(first, second))
    return ratios, noise, statistics.median(plain)


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f}–{high:.3f})"


# ------------------------------------------------------------------------------------------------ TrainCheck

SCRIPT = """import json, sys, time
sys.path.insert(0, {here!r})
import torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
batch, target = torch.randn(32, 32), torch.randint(10, (32,))
for number in range({steps} + 20):
    if number == 20:
        begin = time.process_time()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(batch), target)
    loss.backward()
    optimizer.step()
with open({result!r}, "w") as file:
    json.dump((time.process_time() - begin) / {steps}, file)
"""


def traincheck(steps: int) -> tuple[float, float] | None:
    """CPU seconds per step of the perceptron under TrainCheck and without it; None where it is not installed."""
    program = shutil.which("traincheck-collect")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        script, result = home / "train.py", home / "result.json"
        script.write_text(SCRIPT.format(here=folder, steps=steps, result=str(result)))
        times = []
        collect = [
            program,
            "--pyscript",
            str(script),
            "--models-to-track",
            "model",
            "--output-dir",
            str(home / "out"),
        ]
        for command in (collect, [sys.executable, str(script)]):
            subprocess.run(command, check=True, capture_output=True, cwd=folder)
            times.append(float(json.loads(result.read_text())))
        return times[0], times[1]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=30)
    arguments.add_argument("--only", choices=sorted(WORKLOADS), help="one of the workloads")
    arguments.add_argument("--peers", action="store_true", help="torch.profiler and TrainCheck as well")
    options = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(
        "median (quartiles) over",
        options.rounds,
        "rounds; torch",
        torch.__version__,
        "on one thread, CPU time",
    )
    print(f"{'workload':12} {'plain step':>11}   {'recorder':10} {'recorded/plain':22} {'plain/plain':22}")
    recorders: dict[str, Recorder] = {
        "selective": selective,
        "everything": everything,
        "full": full,
    }
    if options.peers:
        recorders["profiler"] = profiler
    for name, load in WORKLOADS.items():
        for kind, recorder in recorders.items() if options.only in (None, name) else ():
            ratios, noise, plain = compare(load, recorder, options.rounds)
            print(
                f"{name:12} {plain * 1e3:8.2f} ms   {kind:10} {spread(ratios):22} {spread(noise):22}",
                flush=True,
            )
    if options.peers and options.only in (None, "mlp"):
        found = traincheck(100)
        if found is None:
            print("TrainCheck: not installed (pip install traincheck==0.2.0)")
        else:
            print(
                f"{'mlp':12} {found[1] * 1e3:8.2f} ms   TrainCheck {found[0] / found[1]:.1f} (100 steps, one run each)"
            )


if __name__ == "__main__":
    main()
