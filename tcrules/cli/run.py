"""`tcrules run`: record and check in one go."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import limits, remark, selection_options
from tcrules.cli.record import command_settings, cost_options

if TYPE_CHECKING:
    from tcrules.selection import Selection

EPILOG = """\b
Examples:
  tcrules run -- python train.py --lr 0.1
  tcrules run -o runs/a --rules project.tcr -- torchrun --nproc-per-node 2 train.py
  tcrules run --stop-on error -- python train.py

\b
Exit code: 1 if --stop-on ended the command; the command's if it fails; else 0 clean, 1 violations, 2 could not check.
"""


@click.command(epilog=EPILOG, context_settings=command_settings)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Folder to write (default runs/TIME).",
)
@click.option("--overwrite", is_flag=True, help="Replace the run folder if it exists.")
@selection_options
@cost_options
@click.option(
    "--live/--no-live",
    default=True,
    show_default=True,
    help="Check while the training goes on, too, and tell violations on stderr.",
)
@click.option(
    "--stop-on",
    type=click.Choice(["error", "warning"]),
    help="End the training at the first certain violation of at least this severity.",
)
@click.argument("training", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def command(
    output: Path | None,
    overwrite: bool,
    training: tuple[str, ...],
    chosen: Selection,
    overhead: float | None,
    warm_up: int,
    live: bool,
    stop_on: str | None,
) -> None:
    """Record what the rules read of a training command and check it against them: by default the shipped library.

    Most rules are checked while the training goes on: a violation is told within a second or two. All are checked when
    it has ended; the report is about that check.
    """
    if stop_on and not live:
        raise click.UsageError("--stop-on needs live checking: leave out --no-live")
    from tcrules.cli.check import show
    from tcrules.cli.live import Live
    from tcrules.cli.record import record
    from tcrules.engine.limits import within
    from tcrules.selection import load_selection, needed

    most = limits()
    # A faulty rule file is reported before hours of training, not after.
    program = load_selection(chosen)
    relations = sorted(needed(program))
    run = output or Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    options = {"overhead": overhead, "warm_up": warm_up, "relations": relations}
    follower = Live(run, chosen, program, stop_on or "") if live else None
    code = record(run, training, overwrite=overwrite, options=options, live=follower)
    with within(most):
        checked = show(run, chosen, "text", verbose=False)
    if follower is not None and follower.stopped_by:
        remark(
            f"tcrules: the training was ended because {follower.stopped_by} is violated (--stop-on {stop_on})"
        )
        code = 1
    sys.exit(code or checked)
