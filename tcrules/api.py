"""The Python interface: what the commands do, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.engine.ir import Program, Value
    from tcrules.report.model import Report


def check(
    run: str | Path,
    *rules: str | Path,
    library: bool = True,
    only: tuple[str, ...] = (),
    parameters: Mapping[str, Value] | None = None,
) -> Report:
    """Check a recorded run.

    Args:
        run: the run folder.
        rules: rule files besides the shipped library.
        library: check the shipped library, too.
        only: ids and tags of the rules to check; empty means all.
        parameters: values for parameters that rule files declare.

    Raises:
        TcrError: a rule file has faults; the text shows all of them.
        RunError: the run folder cannot be read.
        SelectionError: no rule is selected.
    """
    from tcrules.checking import check_run

    chosen = Selection(tuple(map(Path, rules)), library, only, parameters or {})
    with check_run(Path(run), chosen) as checked:
        return checked.report


def load_rules(
    *rules: str | Path, library: bool = True, parameters: Mapping[str, Value] | None = None
) -> Program:
    """Read and analyse rule files and the shipped library; raises `TcrError` with all their faults."""
    from tcrules.rules import loading

    return loading.load_rules(rules, library=library, parameters=parameters).program


def infer(*runs: str | Path, keep_unhealthy: bool = False) -> str:
    """Learn rules that hold on all of these healthy runs; the result is the text of a rule file.

    Runs on which the shipped library alarms are left out, unless they are to be kept. What makes the rules doubtful
    comes as a warning.

    Raises:
        InferError: there is nothing to learn.
        RunError: a run folder cannot be read.
    """
    import warnings

    from tcrules.health import LibraryHealth
    from tcrules.rules.infer import infer as learn
    from tcrules.rules.infer.collect import Means

    means = Means(health=LibraryHealth(), keep_unhealthy=keep_unhealthy)
    learned = learn([Path(run) for run in runs], means=means)
    for warning in learned.warnings:
        warnings.warn(warning, stacklevel=2)
    return learned.text
