"""Prints the answers to a query: a table, CSV or JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import remark, result_console

if TYPE_CHECKING:
    from tcrules.engine.ir import Body, Fact, Program
    from tcrules.engine.store import Store


@dataclass(frozen=True, slots=True)
class Why:
    """Print proofs, at most so many for each fact, as "text" or "json"."""

    proofs: int
    form: str


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


def write_reasons(
    program: Program,
    store: Store,
    goal: Body,
    asked: str,
    names: tuple[str, ...],
    answers: list[Fact],
    how: Why,
) -> None:
    """Each answer with its proofs; what comes nearest where there is no answer."""
    import json

    from tcrules.report.proofs import miss_tree, reason_tree
    from tcrules.why import as_json, nearest_miss, reasons

    found = reasons(program, store, goal, names, answers, how.proofs)
    if how.form == "json":
        click.echo(json.dumps([as_json(reason) for reason in found], indent=2, ensure_ascii=False))
        return
    for reason in found:
        result_console().print(reason_tree(reason))
    if not answers and (miss := nearest_miss(program, store, goal)) is not None:
        result_console().print(miss_tree(miss, f"does not hold: {asked}"))
