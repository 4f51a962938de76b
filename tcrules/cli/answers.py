"""Prints the answers to a query: a table, CSV or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import remark, result_console

if TYPE_CHECKING:
    from tcrules.engine.ir import Fact


def write(names: tuple[str, ...], answers: list[Fact], form: str, limit: int | None) -> None:
    """Answers to stdout, how many they are to stderr."""
    from tcrules.report.terminal import counted

    WRITERS[form](names, answers)
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


WRITERS = {"text": _as_text, "csv": _as_csv, "json": _as_json}
