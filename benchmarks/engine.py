"""Nine Datalog programs on tcrules and its peers, each in a process of its own, in one run.

    python benchmarks/engine.py [--only chain,grid] [--engines tcrules,clingo] [--repeat 3]

Peers that are not installed are left out: pip install clingo egglog; apt-get install swi-prolog-nox. The start of the
process and reading the facts count; conversion of the facts to an engine's own format does not, nor the compilation of
Python modules to byte code, which an installation does. Every result is checked by the number of facts of each
relation. Ratios are of CPU time (user and system, all threads); over 1, tcrules is better. The figures of Soufflé are
recorded: CPU seconds of its interpreter on two cores of a like machine.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from engine_inputs import TASKS, Task, write
from engine_peers import ENGINES, Engine
from engine_run import Limits, Measured, run

if TYPE_CHECKING:
    from engine_inputs import Facts

OURS = "tcrules"
#: Results by task and engine; None where an engine cannot express a program.
Table = dict[str, dict[str, Measured | None]]


def main() -> None:
    """Measure and print."""
    options = _options()
    engines = [engine for engine in ENGINES if engine.name in options.engines]
    present = [engine for engine in engines if engine.installed()]
    for engine in engines:
        if engine not in present:
            print(f"{engine.name}: not installed")
    table: Table = {}
    print(
        f"{'program':<13}{'engine':<12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'to ours':>9}{'ours to Soufflé':>17}"
    )
    with tempfile.TemporaryDirectory(prefix="tcrules-engine-") as folder:
        environment = _environment(Path(folder) / "byte-code")
        _warm_up(present, Path(folder) / "warm-up", environment)
        for task in TASKS:
            if task.name in options.only:
                table[task.name] = _compare(task, present, Path(folder) / task.name, options, environment)
    _print_summary(table, [engine.name for engine in present])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag, known in (("--only", [t.name for t in TASKS]), ("--engines", [e.name for e in ENGINES])):
        parser.add_argument(flag, type=lambda text, known=known: _chosen(text, known), default=known)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the median by CPU time is taken")
    parser.add_argument("--seconds", type=float, default=Limits().seconds, help="limit of a run")
    parser.add_argument("--memory", type=float, default=Limits().memory / 2**30, help="limit of a run, GiB")
    return parser.parse_args()


def _chosen(text: str, known: list[str]) -> list[str]:
    names = text.split(",")
    wrong = [name for name in names if name not in known]
    if wrong:
        raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: choose from {', '.join(known)}")
    return names


def _compare(
    task: Task,
    engines: list[Engine],
    folder: Path,
    options: argparse.Namespace,
    environment: dict[str, str],
) -> dict[str, Measured | None]:
    """One program on all engines, printed line by line."""
    write(task, folder)
    facts = task.make()
    limits = Limits(options.seconds, int(options.memory * 2**30))
    found: dict[str, Measured | None] = {}
    for engine in engines:
        if not engine.program(task).exists():
            found[engine.name] = None
        else:
            command = engine.prepare(task, facts, folder)
            runs = [_checked(task, facts, run(command, limits, environment)) for _ in range(options.repeat)]
            found[engine.name] = _median(runs)
        _print_line(task, engine.name, found)
    return found


def _environment(byte_code: Path) -> dict[str, str]:
    """Of the processes: what this one finds, they find; modules are compiled once, as an installation does it."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path[1:] if path),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(byte_code),
    }


def _warm_up(engines: list[Engine], folder: Path, environment: dict[str, str]) -> None:
    """One run of each engine that is not measured."""
    write(TASKS[0], folder)
    facts = TASKS[0].make()
    for engine in engines:
        run(engine.prepare(TASKS[0], facts, folder), Limits(), environment)


def _median(runs: list[Measured]) -> Measured:
    failed = [one for one in runs if one.status]
    middle = sorted(runs, key=lambda one: one.cpu)[len(runs) // 2]
    return failed[0] if failed else replace(middle, wall=median(one.wall for one in runs))


def _checked(task: Task, facts: Facts, result: Measured) -> Measured:
    """The result with the status "wrong" where the numbers of facts are not those expected."""
    if result.status:
        return result
    found = dict(line.split("\t") for line in result.output.splitlines() if "\t" in line)
    wanted: dict[str, int] = dict(task.expected)
    if "all" in found:  # an engine that counts all facts together, those of its input among them
        inputs = sum(len(np.unique(rows, axis=0)) for rows in facts.values())
        wanted = {"all": sum(task.expected.values()) + inputs}
    wrong = [f"{name} {found.get(name, 'missing')}, not {size}" for name, size in wanted.items()
             if found.get(name) != str(size)]  # fmt: skip
    return replace(result, status=f"wrong: {'; '.join(wrong)}") if wrong else result


# ------------------------------------------------------------------------------------------------ printing


def _print_line(task: Task, name: str, found: dict[str, Measured | None]) -> None:
    one, ours = found[name], found.get(OURS)
    start = f"{task.name:<13}{name:<12}"
    if one is None:
        print(f"{start}{'not expressible':>27}")
        return
    numbers = f"{one.wall:9.2f}{one.cpu:9.2f}{one.peak:9.0f}"
    if one.status:
        print(f"{start}{numbers}  {one.status}", flush=True)
        return
    ratio = f"{one.cpu / ours.cpu:8.1f}x" if ours and not ours.status else ""
    reference = f"{one.cpu / task.reference:8.2f}x ({task.reference} s)" if name == OURS else ""
    print(f"{start}{numbers}{ratio:>9}{reference:>17}", flush=True)


def _print_summary(table: Table, engines: list[str]) -> None:
    """Geometric means over what both sides finished, and wins over all programs."""
    print("\nMeans are geometric, over what both sides finished.")
    ours = {task: found[OURS] for task, found in table.items() if OURS in found}
    done = {task: one for task, one in ours.items() if one is not None and not one.status}
    if not done:
        return
    references = {task.name: task.reference for task in TASKS}
    to_souffle = [one.cpu / references[task] for task, one in done.items()]
    peak = max(one.peak for one in done.values())
    print(f"\n{OURS}: {len(done)} of {len(table)} right; peak memory at most {peak:.0f} MB")
    print(
        f"{OURS} needs {_mean(to_souffle):.2f}x of Soufflé's CPU in the mean, at most {max(to_souffle):.2f}x"
    )
    for name in engines:
        if name == OURS:
            continue
        both = {
            task: one
            for task, found in table.items()
            if (one := found[name]) and not one.status and task in done
        }
        ratios = [one.cpu / done[task].cpu for task, one in both.items()]
        wins = sum(task not in both or both[task].cpu > one.cpu for task, one in done.items())
        walls = sum(task not in both or both[task].wall > one.wall for task, one in done.items())
        mean = f"{_mean(ratios):.1f}x our CPU in the mean of {len(ratios)}" if ratios else "finished none"
        print(f"{name}: {mean}; {OURS} needs less CPU on {wins} of {len(table)}, less time on {walls}")
    peers = [name for name in engines if name != OURS]
    best = sum(
        all(not (one := found[name]) or one.status or one.cpu > done[task].cpu for name in peers)
        for task, found in table.items()
        if task in done
    )
    if peers:
        print(f"{OURS} needs less CPU than every peer on {best} of {len(table)}")


def _mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


if __name__ == "__main__":
    main()
