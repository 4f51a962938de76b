"""What explaining a large run costs: whole processes of `tcrules explain`, `report`, `check` and `diff`.

    python benchmarks/explain.py [--facts 1000000] [--rounds 3] [--work FOLDER]

The run is that of `infer_inputs.py`, of a training loop; faults are written into its facts. `few`: one parameter stands
still from the middle on, and gradients are not cleared before 200 steps. `many`: gradients are never cleared, which
violates a rule at each step for each parameter. Exit code 1 if something is over its budget.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine_run import Limits, run
from infer_inputs import make_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine_run import Measured

#: Facts for each call of `make_run`, all relations together.
FACTS_PER_CALL = 11.78
#: A relation that has a fault -> the columns that it changes; `last` is the last step of the run.
FAULTS: Mapping[str, Mapping[str, str]] = {
    "few": {
        "update": "CASE WHEN param = 'Net.body.3.bias' AND step > {last} // 2 THEN before ELSE after END AS after",
        "accumulate": "CASE WHEN step BETWEEN 100 AND 299 THEN 'nonzero' ELSE onto END AS onto",
    },
    "many": {"accumulate": "CASE WHEN step > 0 THEN 'nonzero' ELSE onto END AS onto"},
}
#: Rules that find these faults.
FOUND = {"few": {"gradients-start-empty", "optimizer-updates-params"}, "many": {"gradients-start-empty"}}
MANY = 100_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What is measured, and what it may take: seconds of CPU time, megabytes of the page."""

    name: str
    words: tuple[str, ...]
    seconds: float = math.inf
    megabytes: float = math.inf


TASKS = (
    Budget("check", ("check", "{few}")),
    Budget("explain V1", ("explain", "{few}", "V1"), seconds=2.0),
    Budget("explain V2 --json", ("explain", "{few}", "V2", "--json"), seconds=2.0),
    Budget("report", ("report", "{few}", "-o", "{page}"), seconds=10.0, megabytes=5.0),
    Budget("diff with the healthy run", ("diff", "{healthy}", "{few}")),
    Budget("many violations: check", ("check", "{many}")),
    Budget("many violations: explain", ("explain", "{many}")),
    Budget("many violations: report", ("report", "{many}", "-o", "{page}"), seconds=10.0, megabytes=5.0),
)


def make_faulty(healthy: Path, path: Path, name: str) -> Path:
    """The healthy run with the columns changed that the fault changes."""
    import duckdb

    if path.exists():
        shutil.rmtree(path)
    shutil.copytree(healthy, path)
    with duckdb.connect() as connection:
        steps = connection.execute(
            "SELECT max(step) FROM read_parquet(?)", [str(path / "facts/step.parquet")]
        )
        (last,) = steps.fetchall()[0]
        for relation, column in FAULTS[name].items():
            source = healthy / "facts" / f"{relation}.parquet"
            connection.execute(
                f"COPY (SELECT * REPLACE ({column.format(last=last)}) FROM read_parquet('{source}') ORDER BY fact)"
                f" TO '{path / 'facts' / source.name}' (FORMAT parquet)"
            )
    return path


def fastest(task: Budget, places: Mapping[str, Path], rounds: int) -> tuple[Measured, float]:
    """The process that took the least CPU time: what else the machine does only adds to it."""
    return min(
        (measure(task, places) for _ in range(rounds)), key=lambda found: (found[0].status, found[0].cpu)
    )


def measure(task: Budget, places: Mapping[str, Path]) -> tuple[Measured, float]:
    """One process, and the megabytes of the page that it wrote."""
    words = [word.format(**places) for word in task.words]
    command = [sys.executable, "-m", "tcrules", *words]
    environment = {
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(places["bytecode"]),
    }
    # a violated rule is exit code 1
    found = run(command, Limits(seconds=300.0), environment, good=(0, 1))
    page = places["page"]
    size = page.stat().st_size / 1e6 if "{page}" in task.words and page.exists() else 0.0
    return found, size


def right(name: str, text: str) -> str:
    """ "" if the report as JSON tells the fault that was written into the run, else what is missing."""
    report = json.loads(text)
    rules = {violation["rule"] for violation in report["violations"]}
    raw = sum(violation["count"] for violation in report["violations"])
    if not rules >= FOUND[name]:
        return f"{name}: not found: {', '.join(sorted(FOUND[name] - rules))}"
    return f"{name}: {raw} raw violations, not {MANY}" if name == "many" and raw < MANY else ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="processes for each; the fastest counts")
    parser.add_argument("--work", type=Path, help="keep the runs here, and use those that are there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        work = given.work or Path(home)
        places = {"healthy": make_run(work / f"healthy-{given.facts}", int(given.facts / FACTS_PER_CALL), 1)}
        places |= {
            name: make_faulty(places["healthy"], work / f"{name}-{given.facts}", name) for name in FAULTS
        }
        return show(places | {"page": work / "page.html", "bytecode": work / "bytecode"}, given.rounds)


def show(places: Mapping[str, Path], rounds: int) -> int:
    """Measure all and print a table; 1 if something is wrong or over its budget."""
    print("| | CPU s | wall s | peak MB | page MB | budget | |\n|---|---|---|---|---|---|---|")
    bad = 0
    measure(TASKS[1], places)  # Python compiles the package when it is used first, as when it is installed
    for task in TASKS:
        found, size = fastest(task, places, rounds)
        over = found.cpu > task.seconds or size > task.megabytes
        bad += bool(over or found.status)
        budget = [
            f"{most:g} {unit}"
            for most, unit in ((task.seconds, "s"), (task.megabytes, "MB"))
            if most < math.inf
        ]
        print(
            f"| {task.name} | {found.cpu:.2f} | {found.wall:.2f} | {found.peak:.0f} | {f'{size:.2f}' if size else ''} |"
            f" {', '.join(budget)} | {found.status or ('over' if over else '')} |",
            flush=True,
        )
    for name in FAULTS:
        command = [sys.executable, "-m", "tcrules", "check", str(places[name]), "--format", "json"]
        wrong = right(name, run(command, Limits(seconds=300.0), {}, good=(0, 1)).output)
        if wrong:
            print(wrong)
            bad += 1
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
