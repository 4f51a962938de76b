"""Learning rules from healthy runs: `infer` makes a rule file of what held in all of them.

Stages are functions between frozen types: runs → statistics (`collect.py`, one grouped query for each template) →
rules for single bindings (`candidates.py`, `guards.py`) → rules about patterns of names (`generalise.py`, `names.py`)
→ fewer rules (`filters.py`) without families that do not carry over (`learn.py`) → text (`write.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Dropped, InferError, Inferred, Run
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Dropped", "InferError", "Inferred", "Options", "infer"]

TYPICAL_RUNS = 3


def infer(
    runs: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
    *,
    templates: Sequence[Path] | None = None,
    options: Options = DEFAULTS,
    earlier: Path | None = None,
) -> Inferred:
    """Learn rules that hold in all of several healthy runs.

    Args:
        runs: run folders. Three or more that differ in seed, size or schedule keep accidents out.
        progress: called with the number of runs that are read and the number of all.
        templates: template files (default: the shipped ones).
        options: thresholds, and stages to leave out.
        earlier: a file that was learned before: the result tells what changed, and keeps what was written by hand.

    Raises:
        InferError: there is nothing to learn from, or no rule was found.
        RunError: a run cannot be read.
        TcrError: a template has faults, or the earlier file has.
        OSError: the earlier file cannot be read.
    """
    from tcrules.rules.infer.collect import collect
    from tcrules.rules.infer.learn import learn
    from tcrules.rules.infer.templates import load_templates
    from tcrules.rules.infer.update import update
    from tcrules.rules.infer.write import write

    before = None if earlier is None else earlier.read_text(encoding="utf-8")
    paths = _distinct(runs)
    loaded = load_templates(templates)
    found, too_wide = collect(paths, loaded, progress)
    _check_training(found)
    lessons = learn(found, loaded.shapes, options)
    dropped = (*too_wide, *lessons.dropped)
    if not lessons.rules:
        raise InferError(
            f"no rule holds in all of the {len(found)} runs that were given",
            "give runs of one program which differ in seed, size or schedule only",
        )
    text = write(lessons.rules, loaded, found)
    changes = None if before is None else update(before, text, loaded.rules, str(earlier))
    return Inferred(
        changes.text if changes else text, len(lessons.rules), dropped, tuple(_warnings(found)), changes
    )


def _distinct(runs: Sequence[Path]) -> list[Path]:
    paths = list({Path(run).resolve(): Path(run) for run in runs}.values())
    if not paths:
        raise InferError("no runs to learn from", "record some: tcrules record -o runs/a -- python train.py")
    return paths


def _check_training(runs: Sequence[Run]) -> None:
    idle = [run.name for run in runs if not run.trains]
    if idle:
        raise InferError(
            f"{'these runs do' if len(idle) > 1 else 'this run does'} not train: {', '.join(idle)} "
            "(no step of an optimizer was recorded)",
            "leave such runs out, or record more steps",
        )


def _warnings(runs: Sequence[Run]) -> list[str]:
    found = []
    if len(runs) < TYPICAL_RUNS:
        found.append(
            f"{len(runs)} run(s) given: with fewer than {TYPICAL_RUNS}, learned rules may state accidents"
        )
    elif len({run.command for run in runs}) == 1:
        found.append("all runs have the same command: if they do not vary, learned rules may state accidents")
    programs = sorted({run.project for run in runs})
    if len(programs) > 1:
        found.append(
            f"runs of {len(programs)} programs: rules name nothing of one program ({'; '.join(programs)})"
        )
    found += [f"{run.name} did not come to its end" for run in runs if not run.complete]
    return found
