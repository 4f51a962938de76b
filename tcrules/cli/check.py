"""`tcrules check`: a recorded run against rules."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import (
    limited,
    remark,
    result_console,
    run_argument,
    selection_options,
    suggest,
)
from tcrules.grammar.records import collector_paused

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.selection import Selection

#: Formats for programs; each but the first is a module of the report's folder.
WRITERS = ("json", "sarif", "junit", "github")

EPILOG = """\b
Examples:
  tcrules check runs/a
  tcrules check runs/a --rules project.tcr --param warmup=100
  tcrules check runs/a --only optimizer --format json | jq .summary
  tcrules check runs/a --format sarif > tcrules.sarif
  tcrules check runs/a --profile
  tcrules check runs/a --follow

\b
Exit codes: 0 nothing of severity error or warning, 1 something, 2 could not check or nothing to check.
"""


@click.command(epilog=EPILOG)
@run_argument
@selection_options
@click.option(
    "--format", "form", type=click.Choice(["text", *WRITERS]), default="text", show_default=True,
    help="How to write the report: for people, for programs, for code scanning, for continuous integration.",
)  # fmt: skip
@click.option(
    "--follow", is_flag=True, help="First follow a run that is being recorded, until it ends or Ctrl-C."
)
@click.option("--profile", is_flag=True, help="Tell what each rule cost: time, facts, rounds.")
@click.option("-v", "--verbose", is_flag=True, help="Spell out every violation and every undecided rule.")
@limited
def command(
    run: Path,
    chosen: Selection,
    form: str,
    follow: bool,
    profile: bool,
    verbose: bool,
) -> None:
    """Check the recorded run in folder RUN against rules.

    With --follow, violations of a run that goes on are told on stderr while it does, and the report comes at its end.
    """
    if follow:
        from tcrules.cli.live import follow_run

        follow_run(run, chosen)
    with collector_paused():  # the rules stay until the end
        code = show(run, chosen, form, verbose=verbose, profile=profile)
    sys.exit(code)


def show(run: Path, chosen: Selection, form: str, *, verbose: bool, profile: bool = False) -> int:
    """Check, print the report to stdout and the next command to stderr; returns the exit code."""
    from tcrules.checking import check_run

    with check_run(run, chosen, profile=profile) as checked:
        report, costs = checked.report, checked.profile
    if form == "json":
        from tcrules.report.json_report import as_json

        click.echo(as_json(report, costs if profile else None))
    elif form in WRITERS:
        click.echo(getattr(import_module(f"tcrules.report.{form}"), f"as_{form}")(report))
    else:
        from tcrules.report.terminal import write

        write(report, result_console(), verbose=verbose)
        if profile:
            from tcrules.report import profile as profiles

            profiles.write(costs, result_console())
    if report.exit_code == 2:
        remark("tcrules: no rule could be decided: the run holds no facts that the rules speak about")
    elif report.violations:
        options = "".join(f" --rules {path}" for path in chosen.rules)
        suggest(f"tcrules explain {run}{options} {report.violations[0].id}", "see the evidence")
    return report.exit_code
