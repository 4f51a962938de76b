"""`tcrules query`: ask a run for facts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import param_option, remark, result_console, rules_option, run_argument

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.engine.ir import Fact, Value

EPILOG = """\b
Examples:
  tcrules query runs/a 'optimizer_step(optimizer: O, step: S, skipped: true)'
  tcrules query runs/a 'gradient(param: P, step: S, norm: N), N > 10.0' --format csv
  tcrules query runs/a 'loss(S, L)' --rules project.tcr --limit 20
"""


@click.command(epilog=EPILOG)
@run_argument
@click.argument("body")
@rules_option
@param_option
@click.option(
    "--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", show_default=True
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N answers.")
def command(
    run: Path, body: str, rule_files: tuple[Path, ...], params: dict[str, Value], form: str, limit: int | None
) -> None:
    """Print the bindings of BODY, a list of literals of the rule language, in the run in folder RUN."""
    from tcrules.checking import query_run
    from tcrules.report.terminal import counted
    from tcrules.selection import Selection

    names, answers = query_run(run, body, Selection(rule_files, True, (), params), limit)
    _WRITERS[form](names, answers)
    more = " (limited)" if limit is not None and len(answers) == limit else ""
    remark(f"tcrules: {counted(len(answers), 'answer')}{more}")


def _as_text(names: tuple[str, ...], answers: list[Fact]) -> None:
    from rich.table import Table
    from rich.text import Text

    from tcrules.report.fold import shown
    from tcrules.report.terminal import plain

    if not names:
        click.echo("true" if answers else "false")
        return
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for answer in answers:
        table.add_row(*(Text(plain(shown(value))) for value in answer))
    result_console().print(table)


def _as_csv(names: tuple[str, ...], answers: list[Fact]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(answers)


def _as_json(names: tuple[str, ...], answers: list[Fact]) -> None:
    import json

    click.echo(
        json.dumps(
            [dict(zip(names, answer, strict=True)) for answer in answers], indent=2, ensure_ascii=False
        )
    )


_WRITERS = {"text": _as_text, "csv": _as_csv, "json": _as_json}
