"""`tcrules compact`: runs in their smallest form."""

from __future__ import annotations

from pathlib import Path

import click

from tcrules.cli.common import remark, suggest

EPILOG = """\b
Examples:
  tcrules compact runs/a
  tcrules compact runs/*
"""


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN…")
def command(runs: tuple[Path, ...]) -> None:
    """Rewrite runs in their smallest form; every fact stays as it is.

    Segments that a killed run has left are converted, files of facts are compressed anew, and what nobody needs any
    more is dropped. A run that is still being written is refused. Killed in the middle, the command leaves a whole run.
    """
    from tcrules.cli.runs import in_words
    from tcrules.instrument.compacting import compact

    for run in runs:
        before, after = compact(run)
        saved = f", {1 - after / before:.0%} less" if after < before else ""
        remark(f"tcrules: {run}: {in_words(before)} before, {in_words(after)} after{saved}")
    suggest("tcrules runs", "list runs with their sizes")
