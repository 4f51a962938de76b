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
    selection,
    selection_options,
    suggest,
)

if TYPE_CHECKING:
    from tcrules.engine.ir import Value

EPILOG = """\b
Examples:
  tcrules report runs/a --open
  tcrules report runs/a --rules project.tcr -o a.html

\b
Exit codes: 0 nothing of severity error or warning, 1 something, 2 could not check or nothing to check.
"""


@click.command(epilog=EPILOG)
@run_argument
@selection_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where to write the page; without it, report.html in the run.",
)  # fmt: skip
@click.option("--open", "opened", is_flag=True, help="Show the page in the browser.")
@against_option
@limited
def command(
    run: Path,
    rule_files: tuple[Path, ...],
    library: bool | None,
    only: tuple[str, ...],
    params: dict[str, Value],
    output: Path | None,
    opened: bool,
    against: Path | None,
) -> None:
    """Check the run in folder RUN and write one HTML page about it, which needs no network and can be sent to others.

    The page tells the verdict, root causes with their graphs and proofs, when and on which rank they happened, how the
    quantities went that the violated rules speak of, and what was not recorded.
    """
    from tcrules.paging import page_of

    page, report = page_of(run, selection(rule_files, library, only, params), against)
    target = output if output is not None else run / "report.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8", errors="replace")
    roots = sum(violation.root for violation in report.violations)
    click.echo(str(target))
    remark(f"tcrules: {roots} root {'cause' if roots == 1 else 'causes'}, {len(page.encode()) / 1e6:.1f} MB")
    if opened:
        webbrowser.open(target.resolve().as_uri())
    elif report.violations:
        suggest(f"tcrules report {run} --open", "look at it")
    sys.exit(report.exit_code)
