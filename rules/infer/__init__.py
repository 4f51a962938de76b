"""Learning rules from healthy runs: `infer` makes a rule file of what held in all of them.

Stages are functions between frozen types: runs → statistics (`collect.py`, one grouped query for each template) →
rules for single bindings (`candidates.py`, `guards.py`) → rules about patterns of names (`generalise.py`, `names.py`)
→ fewer rules (`filters/`, `mutation/`; in the order of `learn.py`) → text (`write.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Dropped, InferError, Inferred
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tcrules.rules.infer.collect import Means

__all__ = ["Dropped", "InferError", "Inferred", "Options", "infer"]


def infer(
    runs: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
    *,
    templates: Sequence[Path] | None = None,
    options: Options = DEFAULTS,
    earlier: Path | None = None,
    means: Means | None = None,
    jobs: int = 1,
) -> Inferred:
    """Learn rules that hold in all of several healthy runs.

    Args:
        runs: run folders. Three or more that differ in seed, size or schedule keep accidents out.
        progress: called with the number of parts of the reading that are done and of all.
        templates: template files (default: the shipped ones).
        options: thresholds, and stages to leave out.
        earlier: a file that was learned before: the result tells what changed, and keeps what was written by hand.
        means: how runs are read: bounds, and the check that reference runs must pass.
        jobs: cores to read runs with; with more than one, in processes of their own.

    Raises:
        InferError: there is nothing to learn from, no rule was found, or the earlier file cannot be read.
        RunError: a run cannot be read.
        Interrupted: by the user; what was read so far is kept beside the runs.
        TcrError: a template has faults, or the earlier file has.
    """
    from tcrules.rules.infer.collect import Means, collect
    from tcrules.rules.infer.inputs import distinct, doubts, require_training
    from tcrules.rules.infer.judging import judges
    from tcrules.rules.infer.learn import learn
    from tcrules.rules.infer.templates import load_templates
    from tcrules.rules.infer.update import read_earlier, update
    from tcrules.rules.infer.write import write

    before = None if earlier is None else read_earlier(earlier)
    given, chosen = distinct(runs), means or Means()
    loaded = load_templates(templates)
    if not loaded.trees:
        raise InferError(
            "the template files have no template", "a template begins with `template name(?A: type) …`"
        )
    collected = collect(given.paths, loaded, progress, chosen, jobs)
    require_training(collected)
    found = collected.runs
    lessons = learn(found, loaded.shapes, options, judges(loaded, found))
    dropped = (*collected.dropped, *lessons.dropped)
    too_wide = [f"nothing is learned from template {one.rule}: {one.reason}" for one in collected.dropped]
    warnings = (*given.warnings, *doubts(collected, kept_unhealthy=chosen.keep_unhealthy), *too_wide)
    if not lessons.rules:
        raise InferError(
            f"no rule holds in all of the {len(found)} runs that were given",
            "\n".join(("give runs of one program which differ in seed, size or schedule only", *warnings)),
            dropped,
        )
    text = write(lessons.rules, loaded, found)
    changes = None if before is None else update(before, text, loaded.definitions)
    return Inferred(changes.text if changes else text, len(lessons.rules), dropped, warnings, changes)
