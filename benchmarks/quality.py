"""How good are the rules? Injected faults that are found, and false alarms of healthy runs, with 95 % intervals.

    python benchmarks/quality.py --work /tmp/quality --jobs 2
    python benchmarks/quality.py --only vae resume --json quality.json

For each program of `tests/mutations/suite.toml`, rules are learned from three healthy runs (other seeds and sizes),
then further healthy runs and all faulty runs are checked with them and with the shipped library. A fault is detected
when its run violates, with severity error or warning, a rule that the healthy twin (same flags) does not violate. It
is prompt when that shows at most one step after the first step where the fault can be seen. False alarms are clusters
of such violations in healthy runs that nothing was learned from. The ablation learns without one stage at a time;
"other programs" learns from all programs but the one that is checked.

Runs, and their statistics, stay in the work folder and are used again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from quality_runs import Trial, check, learn, library, record, trials
from quality_tables import Outcome, report
from suite import load
from tcrules.rules.infer.options import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quality_runs import Alarm
    from suite import Program

#: Name of the mode that learns with all stages.
FULL = "all stages"
OTHERS = "other programs"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, help="folder for runs and rules, used again (default: a new one)"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", metavar="PROGRAM")
    parser.add_argument("--no-ablation", action="store_true", help="learn with all stages only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    return parser.parse_args()


def main() -> int:
    given, begin = arguments(), time.monotonic()
    programs = [p for p in load() if not given.only or p.name in given.only]
    if not programs:
        sys.stderr.write(f"no program is called {' or '.join(given.only)}\n")
        return 2
    work = (given.work or Path(tempfile.mkdtemp(prefix="tcrules-quality-"))).resolve()
    outcome = measure(programs, work, given.jobs, ablation=not given.no_ablation)
    print("\n".join(report(outcome)))
    print(f"\n{time.monotonic() - begin:.0f} s; runs and rules are in {work}")
    if given.json:
        given.json.write_text(json.dumps(outcome.as_json(), indent=1), encoding="utf-8")
    return 0


def measure(programs: Sequence[Program], work: Path, jobs: int, *, ablation: bool) -> Outcome:
    """Record, learn and check."""
    reference, healthy, faulty = trials(programs)
    runs = record([*reference, *healthy, *faulty], work, jobs)
    modes = {FULL: frozenset[str]()}
    if ablation:
        modes |= {f"without {stage}": frozenset((stage,)) for stage in STAGES}
    own = {p.name: [runs[t] for t in reference if t.program == p] for p in programs}
    wanted = {
        _file(p.name, mode): (own[p.name], without) for mode, without in modes.items() for p in programs
    }
    if len(programs) > 2:
        for p in programs:
            others = [run for name, several in own.items() if name != p.name for run in several]
            wanted[_file(p.name, OTHERS)] = (others, frozenset())
    # statistics are counted once for each run, so what needs them all comes last
    files = learn({name: wanted[name] for name in wanted if OTHERS.replace(" ", "-") not in name}, work, jobs)
    files |= learn({name: wanted[name] for name in wanted if name not in files}, work, jobs)
    tasks = [
        ((mode, trial), runs[trial], files[_file(program.name, mode)])
        for program in programs
        for mode in [*modes, *([OTHERS] if len(programs) > 2 else [])]
        for trial in [*healthy, *faulty]
        if trial.program == program
    ]
    found = check(tasks, jobs)
    return Outcome(
        tuple(programs), library(), _by_mode(found), {name: _rules(file) for name, file in files.items()}
    )


def _by_mode(found: dict[tuple[str, Trial], tuple[Alarm, ...]]) -> dict[str, dict[Trial, tuple[Alarm, ...]]]:
    modes: dict[str, dict[Trial, tuple[Alarm, ...]]] = {}
    for (mode, trial), alarms in sorted(found.items(), key=lambda one: one[0][1].name):
        modes.setdefault(mode, {})[trial] = alarms
    return modes


def _file(program: str, mode: str) -> str:
    return f"{program}.{mode.replace(' ', '-')}"


def _rules(file: Path) -> int:
    return sum(line.startswith("invariant ") for line in file.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    sys.exit(main())
