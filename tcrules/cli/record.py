"""`tcrules record`: run a training command and write down what it does."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tcrules.cli.common import remark, suggest

EPILOG = """\b
Examples:
  tcrules record -o runs/a -- python train.py --lr 0.1
  tcrules record -o runs/b --overwrite -- torchrun --nproc-per-node 2 train.py
"""

command_settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(epilog=EPILOG, context_settings=command_settings)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Folder to write."
)
@click.option("--overwrite", is_flag=True, help="Replace the run folder if it exists.")
@click.argument("training", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def command(output: Path, overwrite: bool, training: tuple[str, ...]) -> None:
    """Record a training command into a run folder.

    COMMAND runs unchanged: its output and its exit code are passed through. What it does is recorded even if it
    fails or is killed.
    """
    code = record(output, training, overwrite=overwrite)
    suggest(f"tcrules check {output}", "check it against the shipped rules")
    sys.exit(code)


def record(output: Path, training: tuple[str, ...], *, overwrite: bool) -> int:
    """Run the command under the recorder, report on stderr what was recorded, return the command's exit code."""
    from tcrules.instrument.attach import launch
    from tcrules.instrument.runs import open_run

    code = launch(list(training), output, overwrite=overwrite)
    folder = open_run(output)
    remark(f"tcrules: recorded {folder.describe()} in {output}")
    if code:
        remark(f"tcrules: the command ended with exit code {code}; what it did until then is recorded")
    return code
