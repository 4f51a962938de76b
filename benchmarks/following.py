"""What following a run costs, and how far behind the training it is.

    python benchmarks/following.py [--seconds 30] [--only mlp]

The trainings of `overhead.py` run as `tcrules run` records them, and are followed as it does: with the whole library,
within 5 % of one core. Printed are the steps, what they took, the CPU time of following in all and for a step, its
share of one core, and by how many steps it was behind in the median, at most and at the end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tcrules.instrument.attach import environment
from tcrules.instrument.manifest import create_run

from tcrules.following import Following
from tcrules.pace import Pace, step_aside
from tcrules.selection import Selection, load_selection, needed

TRAIN = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch
from overhead import WORKLOADS
torch.set_num_threads(1)
step, end = WORKLOADS[sys.argv[2]].build(), time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    step()
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=["mlp", "cnn", "transformer"])
    given = parser.parse_args()
    step_aside()
    print("training     steps  ms/step  following s  ms/step  share  behind: median  most  end")
    for name in [given.only] if given.only else ["mlp", "cnn", "transformer"]:
        measure(name, given.seconds)


def measure(name: str, seconds: float) -> None:
    program = load_selection(Selection())
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-c", TRAIN, str(Path(__file__).parent), name, str(seconds)]
        create_run(run, command)
        options = {"relations": sorted(needed(program))}
        with subprocess.Popen(command, env=environment(run, options)) as training:
            while not list((run / "segments").glob("*/step.rows")):
                time.sleep(0.05)
            pace, begin = Pace(), time.monotonic()
            following = Following(run, program, lambda sighting: print("  ", sighting.violation.message))
            behind = []
            while training.poll() is None:
                time.sleep(pace.pause(following.read()))
                behind.append(following.behind)
            took = time.monotonic() - begin
    steps = following.steps
    print(
        f"{name:12} {steps:6,} {1e3 * took / steps:7.1f} {pace.used():10.2f} {1e3 * pace.used() / steps:10.2f}"
        f" {pace.used() / took:8.1%} {statistics.median(behind):10,.0f} {max(behind):9,} {behind[-1]:5,}"
    )


if __name__ == "__main__":
    main()
