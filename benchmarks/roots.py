"""The root cause that is printed for each of a folder of cases: a table in Markdown.

    python benchmarks/roots.py CASES [--only ID …] [--work FOLDER] [--script buggy.py] [--flags '--steps 20 --seed 1']

A case is a folder with a script and a `meta.json`, which says `title`, `source` (addresses) and `launch` (`python`, or
`torchrun2`: two processes). Each is recorded and checked with the shipped rules, in processes of its own; the table has
what `tcrules check` prints first for its first root cause, and how many there are. Exit code 1 if a case has none.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_run import Limits, run

LAUNCH = {
    "python": [sys.executable],
    "torchrun2": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"],
}
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
#: Seconds for one case. Addresses are not limited: PyTorch reserves far more than it uses.
LIMITS = Limits(seconds=300.0, memory=2**50)
LOUD = ("error", "warning")
EMPTY = "—"


@dataclass(frozen=True, slots=True)
class Case:
    """A faulty script and where it is from."""

    id: str
    title: str
    source: str
    launch: str
    script: Path


def read_cases(folder: Path, script: str) -> list[Case]:
    """The cases in a folder, those first that are in order of the alphabet."""
    found = []
    for path in sorted(folder.glob("*/meta.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        source = str(meta["source"]).split(" ; ")[0].strip()
        found.append(Case(path.parent.name, meta["title"], source, meta["launch"], path.parent / script))
    return found


def report_of(case: Case, flags: list[str], folder: Path) -> tuple[dict[str, Any], str]:
    """The report of a case as data, and why there is none."""
    target = folder / case.id
    record = [sys.executable, "-m", "tcrules", "record", "-o", str(target), "--overwrite", "--"]
    done = run([*record, *LAUNCH[case.launch], str(case.script), *flags], LIMITS, ENVIRONMENT)
    if done.status:
        return {}, f"not recorded: {done.status}"
    check = [sys.executable, "-m", "tcrules", "check", str(target), "--format", "json"]
    done = run(check, LIMITS, ENVIRONMENT, good=(0, 1))
    return ({}, f"not checked: {done.status}") if done.status else (json.loads(done.output), "")


def row(case: Case, report: dict[str, Any], why: str) -> tuple[str, bool]:
    """The line of a case, and whether a root cause is told."""
    roots = [one for one in report.get("violations", ()) if one["root"] and one["severity"] in LOUD]
    cells = [f"[{case.id}]({case.source})", case.title]
    if not roots:
        return _line([*cells, why or EMPTY, "0"]), False
    first = roots[0]
    told = f"`{first['rule']}` {first['message']}"
    return _line([*cells, told, str(len(roots))]), True


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", type=Path, help="folder of cases")
    parser.add_argument("--only", nargs="*", default=(), metavar="ID")
    parser.add_argument("--work", type=Path, help="keep the runs here")
    parser.add_argument("--script", default="buggy.py")
    parser.add_argument("--flags", default="--steps 20 --seed 1")
    given = parser.parse_args()
    cases = [
        case for case in read_cases(given.cases, given.script) if not given.only or case.id in given.only
    ]
    print("| case | what is wrong | root cause that is printed | roots |\n|---|---|---|---|", flush=True)
    missing = 0
    with tempfile.TemporaryDirectory() as home:
        for case in cases:
            line, told = row(case, *report_of(case, shlex.split(given.flags), given.work or Path(home)))
            missing += not told
            print(line, flush=True)
    print(f"{len(cases) - missing} of {len(cases)} cases have a root cause", file=sys.stderr)
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
