"""Does recording change a training run? Runs scripts with and without it and compares them bit for bit.

    python benchmarks/identity.py path/to/healthy           # folders with meta.json and train.py
    python benchmarks/identity.py train.py                  # one script, its own flags after --
    python benchmarks/identity.py --record=--full path/to/healthy   # each call of torch's functions, too

By default all relations are recorded in each step; `--record` passes options to `tcrules record` instead, as often as
wanted: `--record=--full`, `--record=--warm-up=0` (steps are left out from the first one on), `--record=--rules=my.tcr`.
Compared are what the script prints (the loss sequence), the final values of all parameters, buffers and optimizer
states that it made, and the states of the torch, numpy and python generators, in every process.
Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Runs a script as `__main__` and writes digests of what it leaves behind; a file for each process that trained.
PROBE = """
import gc, hashlib, os, pickle, random, runpy, sys
import numpy, torch

kept = []  # models and optimizers of a function are gone when it returns

def keep(cls):
    def init(self, *args, **kwargs):
        made(self, *args, **kwargs)
        kept.append(self)
    made, cls.__init__ = cls.__init__, init

def digest():
    alive = (o for o in gc.get_objects() if isinstance(o, (torch.nn.Module, torch.optim.Optimizer)))
    found = {id(o): o for o in (*kept, *alive)}.values()
    states = sorted(hashlib.sha256(dump(state_of(o))).hexdigest() for o in found)
    states += [hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()]
    states += [hashlib.sha256(pickle.dumps(s)).hexdigest() for s in (numpy.random.get_state(), random.getstate())]
    sys.stdout.flush()
    target("state").write("\\n".join(states))

def state_of(thing):
    if isinstance(thing, torch.nn.Module):
        return thing.state_dict()
    return [thing.state.get(p, {}) for group in thing.param_groups for p in group["params"]]

def target(kind):  # a file for each rank: the lines of several on one pipe run into each other
    return open(os.path.join(os.environ["IDENTITY_OUT"], kind + "-" + os.environ.get("RANK", "0")), "w")

def dump(value):
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        return str((value.dtype, tuple(value.shape))).encode() + flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return b"{" + b",".join(dump(k) + b":" + dump(v) for k, v in value.items()) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(dump, value)) + b"]"
    return repr(value).encode()

script = sys.argv[1]
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(script))
keep(torch.nn.Module)
keep(torch.optim.Optimizer)
numpy.random.seed(0)  # scripts that do not seed these generators would differ from run to run
random.seed(0)
sys.stdout = target("output")
scope = runpy.run_path(script, run_name="__main__")
digest()
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A script with its flags; `ranks` > 1 starts it by torchrun."""

    name: str
    script: Path
    flags: tuple[str, ...]
    ranks: int = 1


def jobs(path: Path, flags: tuple[str, ...]) -> Iterator[Job]:
    """The variants of all programs below a folder, or one script."""
    if path.is_file():
        yield Job(path.name, path, flags)
        return
    for meta_file in sorted(path.glob("*/meta.json")):
        meta = json.loads(meta_file.read_text())
        ranks = 2 if meta["launch"] == "torchrun2" else 1
        script = meta_file.parent / meta.get("script", "train.py")
        for number, variant in enumerate(meta.get("variants", [[]])):
            yield Job(f"{meta_file.parent.name}#{number}", script, tuple(variant), ranks)


def run(job: Job, work: Path, record: Sequence[str] | None, port: int) -> dict[str, str]:
    """Run a job, recorded with some options unless they are None; what it printed and left behind, by name."""
    out = work / ("plain" if record is None else "recorded")
    out.mkdir()
    probe = work / "probe.py"
    probe.write_text(PROBE)
    start = [sys.executable]
    if job.ranks > 1:
        start = ["torchrun", f"--nproc_per_node={job.ranks}", f"--master_port={port}"]
    command = [*start, str(probe), str(job.script.resolve()), *job.flags]
    if record is not None:
        command = ["tcrules", "record", "-o", str(work / "run"), *record, "--", *command]
    env = dict(os.environ, IDENTITY_OUT=str(out), OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=job.script.parent)
    if done.returncode:
        raise SystemExit(f"{job.name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return {file.name: file.read_text() for file in sorted(out.iterdir())}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="append", metavar="OPTION", help="default: --overhead=0")
    parser.add_argument("path", type=Path)
    parser.add_argument("flags", nargs="*")
    arguments = parser.parse_args()
    different = 0
    port = 20000 + os.getpid() % 20000
    todo = list(jobs(arguments.path, tuple(arguments.flags)))
    for number, job in enumerate(todo):
        with tempfile.TemporaryDirectory() as folder:
            plain = run(job, Path(folder), None, port + 2 * number)
            options = arguments.record or ["--overhead=0"]
            recorded = run(job, Path(folder), options, port + 2 * number + 1)
        wrong = [name for name in plain.keys() | recorded.keys() if plain.get(name) != recorded.get(name)]
        different += bool(wrong)
        lines = sum(text.count("\n") for name, text in plain.items() if name.startswith("output"))
        states = sum(text.count("\n") + 1 for name, text in plain.items() if name.startswith("state"))
        verdict = f"DIFFERENT: {', '.join(sorted(wrong))}" if wrong else "identical"
        print(
            f"{job.name:28} {lines:4} lines, {states:3} states  {verdict}  {' '.join(job.flags)}", flush=True
        )
    print(f"\n{len(todo) - different} of {len(todo)} identical")
    return 1 if different or not todo else 0


if __name__ == "__main__":
    sys.exit(main())
