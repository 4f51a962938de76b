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

from quality_runs import Trial, check, learn, library, record, rules, trials
from quality_tables import Outcome, report
from suite import load
from tcrules.rules.infer.options import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite import Program

#: Name of the mode that learns with all stages.
FULL = "all stages"
OTHERS = "other programs"
ABLATION = ("guards", "generalisation", "hold-out", "budget")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, help="folder for runs and rules, used again (default: a new one)"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", metavar="PROGRAM")
    parser.add_argument(
        "--quick", action="store_true", help="no ablation, nothing learned from other programs"
    )
    parser.add_argument(
        "--without", nargs="*", choices=STAGES, metavar="STAGE", default=ABLATION,
        help=f"stages of learning to leave out in turn: {', '.join(STAGES)} (default: {', '.join(ABLATION)})",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    return parser.parse_args()


def main() -> int:
    given, begin = arguments(), time.monotonic()
    programs = [p for p in load() if not given.only or p.name in given.only]
    if not programs:
        sys.stderr.write(f"no program is called {' or '.join(given.only)}\n")
        return 2
    work = (given.work or Path(tempfile.mkdtemp(prefix="tcrules-quality-"))).resolve()
    stages, others = given.without, len(programs) > 2 and not given.quick
    outcome = measure(programs, work, given.jobs, () if given.quick else stages, others=others)
    print("\n".join(report(outcome)))
    print(f"\n{time.monotonic() - begin:.0f} s; runs and rules are in {work}")
    if given.json:
        given.json.write_text(json.dumps(outcome.as_json(), indent=1), encoding="utf-8")
    return 0


def measure(
    programs: Sequence[Program], work: Path, jobs: int, stages: Sequence[str], *, others: bool
) -> Outcome:
    """Record, learn and check; with all stages, without each of `stages`, and from the other programs."""
    reference, healthy, faulty = trials(programs)
    runs = record([*reference, *healthy, *faulty], work, jobs)
    modes = {FULL: frozenset[str](), **{f"without {stage}": frozenset((stage,)) for stage in stages}}
    own = {p.name: [runs[trial] for trial in reference if trial.program == p] for p in programs}
    wanted = {(p.name, mode): (own[p.name], without) for mode, without in modes.items() for p in programs}
    files = learn(wanted, work, jobs)
    if others:
        # Last: by now, the statistics of all runs lie beside them.
        files |= learn(
            {(p.name, OTHERS): (_others(own, p.name), frozenset[str]()) for p in programs}, work, jobs
        )
    found = check({(rules, runs[t]) for t in [*healthy, *faulty] for rules in _of(files, t).values()}, jobs)
    alarms = {
        mode: {t: found[_of(files, t)[mode], runs[t]] for t in [*healthy, *faulty]}
        for mode in [*modes, *([OTHERS] if others else [])]
    }
    return Outcome(tuple(programs), library(), alarms, {key: rules(file) for key, file in files.items()})


def _others(own: Mapping[str, Sequence[Path]], program: str) -> list[Path]:
    return [run for name, several in own.items() if name != program for run in several]


def _of(files: Mapping[tuple[str, str], Path], trial: Trial) -> dict[str, Path]:
    """The rule files of a run's program, by mode."""
    return {mode: file for (program, mode), file in files.items() if program == trial.program.name}


if __name__ == "__main__":
    sys.exit(main())
