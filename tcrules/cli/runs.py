"""`tcrules runs`: what has been recorded, and taking it away."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import remark, result_console, suggest
from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.instrument.overview import Overview

EPILOG = """\b
Examples:
  tcrules runs
  tcrules runs runs/ old/ --json
  tcrules runs remove runs/a runs/b
"""
LIST_EPILOG = """\b
Examples:
  tcrules runs
  tcrules runs runs/ old/ --json
"""
REMOVE_EPILOG = """\b
Examples:
  tcrules runs remove runs/a
  tcrules runs remove runs/a runs/b --yes
"""
#: Where runs are looked for without a DIR, if it exists.
USUAL = Path("runs")
LONGEST_COMMAND = 60
_PATH = click.Path(path_type=Path)


class ListFirst(click.Group):
    """A group that lists where no command is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("runs", cls=ListFirst, epilog=EPILOG)
def command() -> None:
    """List recorded runs, or remove some.

    `tcrules runs DIR…` is short for `tcrules runs list DIR…`; without DIR it lists runs/, or the runs of this folder.
    """


@command.command("list", epilog=LIST_EPILOG)
@click.argument("folders", nargs=-1, type=_PATH, metavar="[DIR]…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the runs in DIR… with status, steps, ranks, facts and size on disk.

    Folders that are no runs, are damaged or cannot be read are listed as such.
    """
    from tcrules.instrument.overview import NO_RUN, overviews

    usual = USUAL if USUAL.is_dir() else Path()
    found = list(overviews(folders or (usual,)))
    if not folders and usual != USUAL:  # the folder of a project holds other things, too
        found = [one for one in found if one.status != NO_RUN]
    if as_json:
        click.echo(json.dumps([{**one._asdict(), "path": str(one.path)} for one in found], indent=1))
        return
    if not found:
        remark("tcrules: no runs here")
        suggest("tcrules record -o runs/a -- python train.py", "record one")
        return
    _table(found)
    readable = [one for one in found if one.facts >= 0 and not one.why]
    if readable:
        suggest(f"tcrules check {readable[-1].path}", "check a run")


def _table(found: Sequence[Overview]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("steps", "ranks", "facts", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("command", no_wrap=True, overflow="ellipsis")
    for one in found:
        plain = (str(one.path), one.status, *_numbers(one), _when(one.started), _cut(one))
        table.add_row(*map(Text, plain))
    result_console().print(table)


def _numbers(one: Overview) -> tuple[str, ...]:
    facts = f"{one.facts:,}" if one.facts >= 0 else ""
    if not one.ranks and one.facts < 0:
        return "", "", "", in_words(one.size) if one.size else ""
    return f"{one.steps:,}", str(one.ranks), facts, in_words(one.size)


def _when(started: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(started)) if 0 < started < 2**40 else ""


def _cut(one: Overview) -> str:
    words = one.why or one.command
    line = " ".join(words.split())
    return line if len(line) <= LONGEST_COMMAND else line[: LONGEST_COMMAND - 1] + "…"


def in_words(size: int) -> str:
    """Bytes as a short text.

    >>> in_words(900), in_words(1_500_000)
    ('900 B', '1.5 MB')
    """
    if size < 1000:
        return f"{size} B"
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.1f} {unit}"


@command.command("remove", epilog=REMOVE_EPILOG)
@click.argument("runs", nargs=-1, required=True, type=_PATH, metavar="RUN…")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--force", is_flag=True, help="Also runs that are still being written, or that hold other files."
)
def remove(runs: tuple[Path, ...], yes: bool, force: bool) -> None:
    """Remove run folders for good.

    On a terminal it asks first; elsewhere it needs --yes. If one of them is no run, none is removed.
    """
    from tcrules.cli.query import on_terminal
    from tcrules.instrument.compacting import disk_size
    from tcrules.instrument.errors import RunError
    from tcrules.instrument.overview import remove, require_removable

    faults = []
    for run in runs:
        try:
            require_removable(run, force=force)
        except RunError as fault:
            faults.append(fault)
    if faults:
        messages = "\n".join(f"error: {fault.message}" for fault in faults)
        raise Refusal(messages, "nothing was removed; `tcrules runs` lists what is there")
    what = f"{len(runs)} run{'s' * (len(runs) > 1)}, {in_words(sum(map(disk_size, runs)))}: {', '.join(map(str, runs))}"
    if not yes:
        if not on_terminal():
            raise Refusal(f"error: nobody can be asked whether to remove {what}", "add --yes")
        if not click.confirm(f"remove {what}?", err=True):
            raise Refusal("nothing was removed")
    for run in dict.fromkeys(path.resolve() for path in runs):
        remove(run)
    remark(f"tcrules: removed {what}")
