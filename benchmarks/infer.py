"""Learning from runs of a quarter of a million to four million call facts: time, memory, and how they grow.

    python benchmarks/infer.py [--calls 250000 500000 1000000 2000000 4000000] [--runs 3] [--jobs 2]
    python benchmarks/infer.py --traincheck /path/to/python    # TrainCheck's inference on one small program as well
    python benchmarks/infer.py --single                        # all calls in one run
    python benchmarks/infer.py --without mutation              # without faults that rules are tried on: a fixed cost

The runs are made beforehand and are not counted; together they have so many call facts, and some eleven times as many
facts of all relations (`infer_inputs.py`). Each measurement is the command `tcrules infer` as a process: start,
imports, the check of the runs' health, statistics, learning, writing. Memory is the largest sum over the process and
its workers, pages that they share counted once. `again` is the same command when the statistics are kept beside the
runs, `one more` when one of the runs is new.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from engine_run import Cost, ended
from infer_inputs import make_run

KEPT = "statistics.json"
TCRULES = [sys.executable, "-m", "tcrules"]
#: Seconds between two looks at the memory of the processes.
EVERY = 0.2


# ------------------------------------------------------------------------------------------------ measuring


def measured(command: list[str], folder: Path) -> Cost:
    """What a command costs; ends this program where the command fails."""
    with tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder)
        memory = _Memory(process.pid)
        memory.start()
        cost = ended(process, begin)
        memory.stop()
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    return replace(cost, peak=memory.peak or cost.peak)


class _Memory(threading.Thread):
    """Watches the memory of a process and of those below it, where the system tells (Linux)."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self._process = process
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(EVERY):
            self.peak = max(self.peak, sum(map(_megabytes, _tree(self._process))))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(process: int) -> list[int]:
    found, waiting = [], [process]
    while waiting:
        found.append(parent := waiting.pop())
        try:
            waiting += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:
            continue
    return found


def _megabytes(process: int) -> float:
    """The memory of a process; pages that several processes share are divided among them."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


# ------------------------------------------------------------------------------------------------ sizes


def infer(runs: list[Path], options: argparse.Namespace, folder: Path) -> Cost:
    """The whole command, without the stages that are to be left out."""
    left_out = [word for stage in options.without for word in ("--without", stage)]
    output = ["-o", str(folder / "learned.tcr")]
    command = [*TCRULES, "infer", "--jobs", str(options.jobs), *left_out, *output, "--runs", *map(str, runs)]
    return measured(command, folder)


def forget(runs: list[Path]) -> None:
    """Remove what earlier calls kept beside runs."""
    for run in runs:
        (run / KEPT).unlink(missing_ok=True)


def grow(options: argparse.Namespace) -> None:
    """The table of sizes, and the exponent of growth."""
    print(
        f"{'calls':>9} {'facts':>9} {'wall':>8} {'CPU':>8} {'memory':>8} {'per million calls':>24}"
        f" {'again':>12} {'one more':>12}"
    )
    costs: list[tuple[int, Cost]] = []
    for calls in options.calls:
        runs = [
            make_run(options.folder / f"{calls // options.runs}-{seed}", calls // options.runs, seed)
            for seed in range(1, options.runs + 1)
        ]
        forget(runs)
        first = infer(runs, options, options.folder)
        again = infer(runs, options, options.folder)
        forget(runs[:1])
        more = infer(runs, options, options.folder)
        costs.append((calls, first))
        million = calls / 1e6
        print(
            f"{calls:>9} {facts(runs) / 1e6:>7.1f} M {first.wall:>6.1f} s {first.cpu:>6.1f} s {first.peak:>5.0f} MB "
            f"{first.wall / million:>8.1f} s {first.cpu / million:>6.1f} CPU s"
            f" {again.cpu:>6.1f} CPU s {more.cpu:>6.1f} CPU s",
            flush=True,
        )
        if not options.keep:
            for run in runs:
                shutil.rmtree(run)
    if len(costs) > 1:
        print(f"growth exponent, wall: {slope([(n, c.wall) for n, c in costs]):.2f}", end="")
        print(f"   CPU: {slope([(n, c.cpu) for n, c in costs]):.2f}", end="")
        print(f"   memory: {slope([(n, c.peak) for n, c in costs]):.2f}")


def slope(points: list[tuple[int, float]]) -> float:
    """The least-squares slope of log cost over log size: 1 is linear.

    >>> round(slope([(1, 2.0), (10, 20.0), (100, 200.0)]), 3)
    1.0
    """
    xs, ys = [math.log(n) for n, _ in points], [math.log(cost) for _, cost in points]
    middle, mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    return sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / spread


def facts(runs: list[Path]) -> int:
    """Facts of some runs, all relations together."""
    import duckdb

    query = "SELECT sum(num_rows) FROM parquet_file_metadata(?)"
    with duckdb.connect() as connection:
        return sum(
            int(connection.execute(query, [str(run / "facts" / "*.parquet")]).fetchall()[0][0])
            for run in runs
        )


# ------------------------------------------------------------------------------------------------ TrainCheck

PROGRAM = """import sys
sys.path.insert(0, {here!r})
import torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed({seed})
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range({steps}):
    batch, target = torch.randn(32, 32), torch.randint(10, (32,))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(batch), target)
    loss.backward()
    optimizer.step()
"""


def side_by_side(options: argparse.Namespace) -> None:
    """One small program, traced by each tool in its own way: what inference costs, and for how much."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        peer = [options.traincheck, "-c", "import sys; from traincheck.{} import main; main()"]
        ours, theirs = [], []
        for seed in (1, 2, 3):
            script = home / str(seed) / "program" / "train.py"
            script.parent.mkdir(parents=True)
            script.write_text(PROGRAM.format(here=str(script.parent), seed=seed, steps=options.steps))
            run, trace = home / f"run{seed}", home / f"trace{seed}"
            measured([*TCRULES, "record", "-o", str(run), "--", sys.executable, str(script)], script.parent)
            ours.append(run)
            collect = [peer[0], peer[1], peer[2].format("collect_trace"), "--pyscript", str(script)]
            measured([*collect, "--models-to-track", "model", "--output-dir", str(trace)], script.parent)
            theirs.append(trace)
        mine = infer(ours, options, home)
        inference = [peer[0], peer[1], peer[2].format("infer_engine"), "-o", str(home / "invariants.json")]
        other = measured([*inference, "-j", str(options.jobs), "-f", *map(str, theirs)], home)
        records = sum(
            line.count(b"\n")
            for trace in theirs
            for path in trace.rglob("*")
            if path.name.startswith(("trace_", "proxy_log"))
            for line in [path.read_bytes()]
        )
        learned = (home / "learned.tcr").read_text().count("\ninvariant ")
        invariants = sum(1 for line in (home / "invariants.json").read_text().splitlines() if line.strip())
        print(f"one program of {options.steps} steps, three runs:")
        told = (
            ("tcrules", mine, f"{facts(ours):,} facts", learned),
            ("TrainCheck", other, f"{records:,} records", invariants),
        )
        for tool, cost, size, rules in told:
            print(f"  {tool:<11} {_shown(cost)}   {size}, {rules:,} rules")
        ratio = Cost(other.wall / mine.wall, other.cpu / mine.cpu, other.peak / mine.peak)
        print(f"  {'ratio':<11} {ratio.wall:>7.1f} x {ratio.cpu:>11.1f} x {ratio.peak:>6.1f} x")


def _shown(cost: Cost) -> str:
    return f"{cost.wall:>7.1f} s {cost.cpu:>7.1f} CPU s {cost.peak:>6.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [250_000, 500_000, 1_000_000, 2_000_000, 4_000_000]
    parser.add_argument("--calls", type=int, nargs="*", default=sizes, help="call facts of all runs together")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--single", action="store_const", dest="runs", const=1, help="the same as --runs 1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--without", action="append", default=[], metavar="STAGE", help="a stage of learning to leave out"
    )
    parser.add_argument("--keep", action="store_true", help="keep the runs for the next call")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "tcrules-infer")
    parser.add_argument("--traincheck", metavar="PYTHON", help="an interpreter that has TrainCheck")
    parser.add_argument("--steps", type=int, default=6, help="of the program that both tools learn from")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    grow(options)
    if options.traincheck:
        side_by_side(options)


if __name__ == "__main__":
    main()
