"""The profile of a check as a table or as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tcrules.engine.profile import Entry
    from tcrules.report.json_report import Json


def write(entries: Sequence[Entry], console: Console) -> None:
    """A table, the most expensive first; the text of rules below their names."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("seconds", "facts in", "out", "rounds"):
        table.add_column(name, justify="right")
    table.add_column("rules")
    for entry in entries:
        more = f" and {len(entry.names) - 1} more" if len(entry.names) > 1 else ""
        what = Text(plain(entry.names[0] + more))
        for line in entry.text.splitlines():
            what.append("\n  " + plain(line), style="dim")
        rounds = str(entry.rounds) if entry.rounds else ""
        table.add_row(f"{entry.seconds:.4f}", str(entry.facts_in), str(entry.facts_out), rounds, what)
    console.print(table)


def as_data(entries: Sequence[Entry]) -> list[Json]:
    """Entries as plain data."""
    return [
        {
            "kind": entry.kind,
            "names": list(entry.names),
            "seconds": round(entry.seconds, 6),
            "facts_in": entry.facts_in,
            "facts_out": entry.facts_out,
            "rounds": entry.rounds,
            "text": entry.text,
        }
        for entry in entries
    ]
