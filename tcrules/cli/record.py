"""`tcrules record`: run a training command and write down what it does."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcrules.cli.common import remark, suggest

EPILOG = """\b
Examples:
  tcrules record -o runs/a -- python train.py --lr 0.1
  tcrules record -o runs/c --full --api 'mypackage.*' -- python train.py
  tcrules record -o runs/b --overwrite -- torchrun --nproc-per-node 2 train.py
"""

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcrules.cli.live import Live

command_settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What recording may cost."""
    overhead = click.option(
        "--overhead",
        type=click.FloatRange(0),
        metavar="SHARE",
        help="Share of the training's time that recording may take (default 0.02, in full mode 0.5), "
        "else steps are left out; 0: no limit.",
    )
    warm_up = click.option(
        "--warm-up",
        type=click.IntRange(0),
        default=512,
        show_default=True,
        metavar="STEPS",
        help="Steps that are recorded whatever it costs.",
    )
    return overhead(warm_up(command))


@click.command(epilog=EPILOG, context_settings=command_settings)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Folder to write."
)
@click.option("--overwrite", is_flag=True, help="Replace the run folder if it exists.")
@click.option(
    "--rules",
    "rule_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Record only what this rule file and the shipped library read.",
)
@click.option(
    "--full", is_flag=True, help="Record calls of all public functions of torch, with their signatures."
)
@click.option(
    "--api",
    "apis",
    multiple=True,
    metavar="PATTERN",
    help="Record calls of your own functions likewise, e.g. 'mypackage.losses.*'.",
)
@cost_options
@click.argument("training", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def command(
    output: Path,
    overwrite: bool,
    rule_files: tuple[Path, ...],
    full: bool,
    apis: tuple[str, ...],
    overhead: float | None,
    warm_up: int,
    training: tuple[str, ...],
) -> None:
    """Record a training command into a run folder.

    COMMAND runs unchanged: its output and its exit code are passed through. What it does is recorded even if it
    fails or is killed. By default all facts are recorded, so that rules can be learned from the run.
    """
    options: dict[str, object] = {"overhead": overhead, "warm_up": warm_up, "full": full, "apis": list(apis)}
    if rule_files:
        from tcrules.selection import Selection, load_selection, needed

        options["relations"] = sorted(needed(load_selection(Selection(rules=rule_files))))
    code = record(output, training, overwrite=overwrite, options=options)
    suggest(f"tcrules check {output}", "check it against the shipped rules")
    sys.exit(code)


def record(
    output: Path,
    training: tuple[str, ...],
    *,
    overwrite: bool,
    options: Mapping[str, object] | None = None,
    live: Live | None = None,
) -> int:
    """Run the command under the recorder, report on stderr what was recorded, return the command's exit code.

    `live` checks while it runs.
    """
    from tcrules.instrument.attach import launch
    from tcrules.instrument.runs import open_run

    if live is None:
        code = launch(list(training), output, overwrite=overwrite, options=options)
    else:
        from tcrules.cli.live import beside

        meanwhile = partial(beside, live)
        code = launch(list(training), output, overwrite=overwrite, options=options, beside=meanwhile)
    folder = open_run(output)
    remark(f"tcrules: recorded {folder.describe()} in {output}")
    if not folder.manifest.processes:
        remark(
            "tcrules: no process of the command imported torch, so there is nothing to check: is it the training?"
        )
    if code:
        remark(f"tcrules: the command ended with exit code {code}; what it did until then is recorded")
    return code
