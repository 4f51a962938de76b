"""Recording on a GPU: does the host wait, are values the same, does the training stay the same, what does it cost?

    python benchmarks/device.py                # on a machine with CUDA; 3 to 5 minutes
    python benchmarks/device.py --rehearse     # the same code on the host: a stand-in for a device, small models

Prints a line for each check: `synchronisation` (under torch.cuda.set_sync_debug_mode), `fingerprints` (GPU and CPU),
`facts` (all there, no gap), `identity` (losses, parameters, state, generators, with and without recording), `readings`
(times of the device), `overhead` (a transformer of 100 million parameters, blocks of recorded and plain steps in turns;
wall time). Exit code 0 if all hold, 1 if one does not, 2 without CUDA.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault(
    "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
)  # for deterministic products, before CUDA is initialised

import duckdb
import torch
from overhead import Language
from tcrules.instrument import fingerprint
from tcrules.instrument.probes import cuda, deferred
from tcrules.instrument.probes.governor import SPARSE
from tcrules.instrument.runs import open_run
from tcrules.rules.loading import load_rules
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import tcrules
from tcrules.selection import needed

Step = Callable[[], torch.Tensor]
MAX_RATIO = 1.02


@dataclass(frozen=True, slots=True)
class Place:
    """Where it runs: a device, or the host in its place."""

    device: torch.device
    kit: cuda.Kit
    small: bool

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@contextmanager
def recorded(folder: Path, **options: Any) -> Iterator[None]:
    with tcrules.watch(run=folder, options=options):
        yield


def query(folder: Path, text: str) -> list[tuple[Any, ...]]:
    connection = duckdb.connect()
    for name, path in open_run(folder).relations().items():
        connection.execute(f"""CREATE VIEW "{name}" AS SELECT * FROM read_parquet('{path}')""")
    return connection.execute(text).fetchall()


def gaps(folder: Path) -> list[str]:
    """What is missing, but for what is looked at now and then only, wherever tensors are."""
    found = query(folder, "SELECT relation, why FROM instrument_gap")
    return [f"{name}: {why}" for name, why in found if why != SPARSE]


# ------------------------------------------------------------------------------------------------ trainings


class Small(nn.Module):
    """Convolutions with running statistics, dropout, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(4)
        )
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.dropout(self.body(x).flatten(1)))
        return result


def train(
    place: Place, steps: int = 12, workers: int = 0, scaled: bool = False, **optimizer: Any
) -> list[torch.Tensor]:
    """Train without reading anything from the device; returns losses and all that is left."""
    torch.manual_seed(0)
    model = Small().to(place.device)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, **optimizer)
    scaler = torch.amp.GradScaler(place.device.type, enabled=scaled)
    data = TensorDataset(torch.randn(64, 3, 16, 16), torch.randint(10, (64,)))
    loader = DataLoader(data, 16, shuffle=True, num_workers=workers, pin_memory=place.device.type == "cuda")
    losses: list[torch.Tensor] = []
    while len(losses) < steps:
        for x, y in loader:
            x, y = x.to(place.device, non_blocking=True), y.to(place.device, non_blocking=True)
            adam.zero_grad()
            with torch.autocast(place.device.type, torch.bfloat16):
                loss = functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(adam)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(adam)
            scaler.update()
            losses.append(loss.detach())
    state = [
        value for entry in adam.state.values() for value in entry.values() if isinstance(value, torch.Tensor)
    ]
    return [*losses, *model.state_dict().values(), *state]


def transformer(place: Place) -> Step:
    """A step of a transformer of 100 million parameters on 8 k tokens."""
    size = (
        {"words": 64, "width": 32, "layers": 1}
        if place.small
        else {"words": 16384, "width": 768, "layers": 12}
    )
    model = Language(**size).to(place.device)
    tokens = torch.randint(size["words"], (2, 8) if place.small else (16, 512), device=place.device)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> torch.Tensor:
        adam.zero_grad()
        with torch.autocast(place.device.type, torch.bfloat16):
            loss = functional.cross_entropy(model(tokens).flatten(0, -2), tokens.flatten())
        loss.backward()
        adam.step()
        return loss.detach()

    return step


# ------------------------------------------------------------------------------------------------ checks


@contextmanager
def sync_mode(place: Place, mode: str) -> Iterator[list[str]]:
    """Let synchronising operations raise or warn; yields the warnings."""
    found: list[str] = []
    if place.device.type == "cuda":
        place.wait()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode(mode)
            try:
                yield found
            finally:
                torch.cuda.set_sync_debug_mode("default")
        found += [str(warning.message) for warning in seen if "synchronizing" in str(warning.message)]
    else:
        yield found


def synchronisation(place: Place, work: Path) -> str:
    """In `error` an operation of ours that waits is a fault, and so a gap; in `warn` as many wait as without us."""
    train(place)  # kernels are chosen, workspaces allocated
    kinds: dict[str, dict[str, Any]] = {
        "plain": {}, "workers": {"workers": 2}, "fused": {"fused": True}, "capturable": {"capturable": True},
    }  # fmt: skip
    if place.device.type != "cuda":
        del kinds["capturable"]
    for name, options in kinds.items():
        folder = work / f"sync-{name}"
        with recorded(folder, overhead=0.0), sync_mode(place, "error"):
            train(place, **options)
        if gaps(folder):
            return f"{name}: {gaps(folder)}"
    counts = []
    for watch in (False, True):
        with sync_mode(place, "warn") as found:
            if watch:
                with recorded(work / "sync-scaled", overhead=0.0):
                    train(place, scaled=True)
            else:
                train(place, scaled=True)
        counts.append(len(found))
    return (
        ""
        if counts[0] == counts[1]
        else f"a scaler's training waits {counts[0]} times, recorded {counts[1]} times"
    )


def fingerprints(place: Place, _work: Path) -> str:
    """Integers of the device and of the host, for all types, sizes around a row and layouts."""
    late = deferred.Late(place.kit, lambda _probe, write, *args: write(*args), lambda _seconds: None)
    dtypes = [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
        torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float8_e4m3fn, torch.float8_e5m2,
    ]  # fmt: skip
    wrong: list[str] = []
    fingerprint.choose("sums")
    for dtype in dtypes:
        ask = late.ask()
        expected, found = [], []
        for size in (0, 1, 3, 511, 512, 513, 2049, 1_000_003):
            noise = torch.randint(-128, 128, (size,), dtype=torch.int8)
            plain = (
                noise.to(torch.complex64).mul(1 + 2j).to(dtype)
                if dtype.is_complex
                else noise.float().to(dtype)
            )
            for tensor in (plain, plain[::2], plain.to(place.device)[1:].cpu()):
                expected.append(fingerprint.fingerprint(tensor))
                found.append(ask.print(tensor.to(place.device)))
            on_device = plain.to(place.device)[::2]  # not contiguous there
            expected.append(expected[-2])
            found.append(ask.print(on_device))
        answers: list[Any] = []
        ask.then("benchmark", answers.extend, found)
        late.close()
        wrong += [f"{dtype} #{i}" for i, (a, b) in enumerate(zip(expected, answers, strict=True)) if a != b]
    return ", ".join(wrong)


def facts(place: Place, work: Path) -> str:
    """All facts are there, and those about values say what is true."""
    folder = work / "facts"
    with recorded(folder, overhead=0.0):
        left = train(place, scaled=False)
    place.wait()
    losses = [float(loss) for loss in left[:12]]
    told = [loss for (loss,) in query(folder, "SELECT loss FROM backward ORDER BY call")]
    problems = gaps(folder)
    if [round(a - b, 6) for a, b in zip(losses, told, strict=False)] != [0.0] * len(losses):
        problems.append(f"losses {losses[:3]} are told as {told[:3]}")
    for relation, count in (
        ("update", 12 * 6),
        ("gradient", 12 * 6),
        ("param_state", 12 * 6),
        ("buffer_state", 12 * 3),
    ):
        ((found,),) = query(folder, f"SELECT count(*) FROM {relation}")
        if found != count:
            problems.append(f"{found} facts of {relation}, not {count}")
    pairs = "FROM update a JOIN update b ON a.param = b.param AND b.step = a.step + 1"
    if query(folder, f"SELECT count(*) {pairs} WHERE a.after != b.before") != [(0,)]:
        problems.append("a parameter changed between two steps")
    return "; ".join(problems)


def identity(place: Place, work: Path) -> str:
    """What is left of a training, with and without recording."""

    def run() -> list[torch.Tensor]:
        found = train(place)
        place.wait()
        generators = [
            torch.get_rng_state(),
            *(torch.cuda.get_rng_state_all() if place.device.type == "cuda" else ()),
        ]
        return [*(tensor.cpu() for tensor in found), *generators]

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        plain, again = run(), run()
        with recorded(work / "identity", overhead=0.0):
            watched = run()
    finally:
        torch.use_deterministic_algorithms(False)
    if not all(map(torch.equal, plain, again)):
        return "this machine does not repeat a training bit for bit"
    different = [i for i, (a, b) in enumerate(zip(plain, watched, strict=True)) if not torch.equal(a, b)]
    return f"tensors {different} differ" if different else ""


def readings(place: Place, _work: Path) -> str:
    """Times of the device to read 64 MB in tensors of 2.4 MB: what a step may take."""
    late = deferred.Late(place.kit, lambda _probe, write, *args: write(*args), lambda _seconds: None)
    spent: list[float] = []
    late._spent = spent.append  # type: ignore[method-assign]
    tensors = [torch.randn(768 * 768, device=place.device) for _ in range(2 if place.small else 28)]
    size = sum(4 * tensor.numel() for tensor in tensors)
    times: dict[str, float] = {}
    for kind in ("print", "norm"):
        for _ in range(10):
            ask = late.ask()
            begin = time.perf_counter()
            answers = [getattr(ask, kind)(tensor) for tensor in tensors]
            ask.then("benchmark", lambda *_: None, answers)
            host = time.perf_counter() - begin
            late.close()
        times[kind] = statistics.median(spent[-5:])
        print(f"    {kind:5} of {size >> 20} MB: device {times[kind] * 1e3:.2f} ms, host {host * 1e3:.2f} ms")
    return ""


def overhead(place: Place, work: Path, rounds: int = 12) -> str:
    """Wall time of recorded and plain blocks in turns."""
    step, relations = transformer(place), sorted(needed(load_rules().program))
    steps, warm_up = (2, 2) if place.small else (20, 16)

    def timed(count: int) -> float:
        place.wait()
        begin = time.perf_counter()
        for _ in range(count):
            step()
        place.wait()
        return (time.perf_counter() - begin) / count

    timed(warm_up)
    ratios, noise, plain = [], [], []
    for number in range(2 if place.small else rounds):
        first = timed(steps)
        with recorded(work / f"overhead-{number}", relations=relations, warm_up=warm_up // 2):
            timed(warm_up)
            between = timed(steps)
        second = timed(steps)
        ratios.append(2 * between / (first + second))
        noise.append(second / first)
        plain.append(min(first, second))
    ratio = statistics.median(ratios)
    print(
        f"    {statistics.median(plain) * 1e3:.1f} ms a step; recorded/plain {ratio:.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), plain/plain {statistics.median(noise):.3f}"
    )
    last = work / f"overhead-{number}"
    told = query(last, "SELECT (SELECT count(*) FROM update), (SELECT count(DISTINCT step) FROM update)")
    print(f"    facts of update: {told[0][0]} in {told[0][1]} steps; gaps: {sorted(set(gaps(last)))[:4]}")
    return "" if ratio <= MAX_RATIO or place.small else f"{ratio:.3f} is more than {MAX_RATIO}"


CHECKS = (synchronisation, fingerprints, facts, identity, readings, overhead)


def stand_in() -> cuda.Kit:
    """The stand-in of the tests, which needs no device."""
    path = Path(__file__).parents[1] / "tests" / "probes" / "programs" / "devices.py"
    spec = importlib.util.spec_from_file_location("devices", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kit: cuda.Kit = module.StandIn()
    return kit


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="on the host, with a stand-in for a device")
    parser.add_argument("--only", choices=[check.__name__ for check in CHECKS])
    options = parser.parse_args()
    if options.rehearse:
        place = Place(torch.device("cpu"), stand_in(), small=True)
        cuda.make, cuda.is_there = lambda: place.kit, lambda: True  # type: ignore[assignment]
    elif torch.cuda.is_available():
        place = Place(torch.device("cuda"), cuda.Cuda(), small=False)
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    else:
        print(
            "there is no CUDA device here: nothing was measured (--rehearse runs the same code on the host)"
        )
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for check in CHECKS:
            if options.only in (None, check.__name__):
                problem = check(place, Path(folder))
                failed += bool(problem)
                print(f"{check.__name__:16} {'FAILED: ' + problem if problem else 'ok'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
