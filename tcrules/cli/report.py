"""`tcrules report`: a page about a run."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import (
    against_option,
    limited,
    remark,
    run_argument,
    selection_options,
    suggest,
)
from tcrules.cli.writing import write_whole
from tcrules.grammar.records import collector_paused

if TYPE_CHECKING:
    from tcrules.selection import Selection

STDOUT = Path("-")

EPILOG = """\b
Examples:
  tcrules report runs/a --open
  tcrules report runs/a --rules project.tcr -o a.html
  tcrules report runs/a -o - | ssh server 'cat > a.html'

\b
Exit codes: 0 nothing of severity error or warning, 1 something, 2 could not check or nothing to check.
"""


@click.command(epilog=EPILOG)
@run_argument
@selection_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where to write the page, - for stdout; without it, report.html in the run.",
)  # fmt: skip
@click.option("--open", "opened", is_flag=True, help="Show the page in the browser.")
@against_option
@limited
def command(
    run: Path,
    chosen: Selection,
    output: Path | None,
    opened: bool,
    against: Path | None,
) -> None:
    """Check the run in folder RUN and write one HTML page about it, which needs no network and can be sent to others.

    The page tells the verdict, root causes with their graphs and proofs, when and on which rank they happened, how the
    quantities went that the violated rules speak of, and what was not recorded.
    """
    if output == STDOUT and opened:
        raise click.UsageError("--open shows a file: give one with -o")
    from tcrules.paging import page_of

    with collector_paused():  # the rules stay until the end
        page, report = page_of(run, chosen, against)
    roots = sum(violation.root for violation in report.violations)
    content = page.encode("utf-8", "replace")
    remark(f"tcrules: {roots} root {'cause' if roots == 1 else 'causes'}, {len(content) / 1e6:.1f} MB")
    if output == STDOUT:
        click.echo(content, nl=False)
    else:
        _write(run / "report.html" if output is None else output, page, opened=opened)
        if report.violations and not opened:
            suggest(f"tcrules report {run} --open", "look at it")
    sys.exit(report.exit_code)


def _write(target: Path, page: str, *, opened: bool) -> None:
    write_whole(target, page)
    click.echo(str(target))
    if opened and not webbrowser.open(target.resolve().as_uri()):
        remark("tcrules: no browser was found; open the file by hand")
