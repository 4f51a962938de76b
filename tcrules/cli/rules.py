"""`tcrules rules`: the catalogue."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import result_console, suggest
from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from tcrules.rules.catalogue import Entry

EPILOG = """\b
Examples:
  tcrules rules
  tcrules rules --tag precision
  tcrules rules clip-after-unscale
"""


@click.command(epilog=EPILOG)
@click.argument("rule_id", required=False, metavar="[ID]")
@click.option("--rules", "rule_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Rule files to list instead of the shipped library; can be repeated.")  # fmt: skip
@click.option("--tag", metavar="TAG", help="Only rules with this tag.")
def command(rule_id: str | None, rule_files: tuple[Path, ...], tag: str | None) -> None:
    """List the shipped rules, or show one with its documentation."""
    from tcrules.rules.catalogue import catalogue

    entries = catalogue(rule_files or None)
    if rule_id is not None:
        _show(_find(entries, rule_id))
        return
    chosen = [entry for entry in entries if tag is None or tag in entry.tags]
    if not chosen:
        tags = sorted({name for entry in entries for name in entry.tags})
        raise Refusal(f"error: no rule has the tag '{tag}'", f"tags are {', '.join(tags)}")
    _list(chosen)
    suggest(f"tcrules rules {chosen[0].id}", "what a rule says and why")


def _find(entries: tuple[Entry, ...], rule_id: str) -> Entry:
    for entry in entries:
        if entry.id == rule_id:
            return entry
    near = get_close_matches(rule_id, [entry.id for entry in entries], 1)
    raise Refusal(
        f"error: there is no rule '{rule_id}'",
        f"did you mean '{near[0]}'?" if near else "`tcrules rules` lists all",
    )


def _list(entries: list[Entry]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("what it states")
    for entry in entries:
        table.add_row(entry.id, entry.severity, entry.summary)
    result_console().print(table)


def _show(entry: Entry) -> None:
    from rich.text import Text

    from tcrules.rules.catalogue import SECTIONS

    console = result_console()
    console.print(Text.assemble((entry.id, "bold"), f"  {entry.severity}  {', '.join(entry.tags)}"))
    console.print(Text(entry.summary))
    for name in SECTIONS:
        if entry.section(name):
            console.print(Text.assemble((f"{name}: ", "bold"), entry.section(name)))
    console.print()
    # The documentation is above already.
    click.echo("\n".join(line for line in entry.text.splitlines() if not line.startswith("///")))
    console.print(Text(f"{entry.file}:{entry.line}", style="dim"))
