"""`tcrules diff`: how two runs differ."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tcrules.cli.common import result_console, suggest

EPILOG = """\b
Examples:
  tcrules diff runs/yesterday runs/today
  tcrules diff runs/a runs/b --format json | jq '.differences[0]'

\b
Exit codes: 0 no difference, 1 some, 2 could not compare.
"""


@click.command(epilog=EPILOG)
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show several examples of each difference.")
def command(left: Path, right: Path, form: str, verbose: bool) -> None:
    """Show how two runs differ, without rules: configuration, structure, calls, data, gradients, state.

    What comes first is told first: what was different before training, then the step and the place in the step at which
    the runs part. Relations of which some steps were left out are compared where both runs have facts.
    """
    from tcrules.diffing import compare
    from tcrules.report.difference import as_data, write

    found = compare(left, right)
    if form == "json":
        click.echo(json.dumps(as_data(found), indent=2, ensure_ascii=False))
    else:
        write(found, result_console(), verbose=verbose)
        if found.differences and not verbose:
            suggest(f"tcrules diff {left} {right} -v", "more examples")
    sys.exit(1 if found.differences else 0)
