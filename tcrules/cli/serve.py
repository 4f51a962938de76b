"""`tcrules serve`: runs in the browser."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import limited, remark, selection_options
from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from tcrules.selection import Selection

EPILOG = """\b
Examples:
  tcrules serve runs/
  tcrules serve runs/ old/ --rules project.tcr --port 8000
"""


@click.command(epilog=EPILOG)
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR…",
)
@selection_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1; by default a free one."
)
@click.option("--open", "opened", is_flag=True, help="Show the index in the browser.")
@limited
def command(
    folders: tuple[Path, ...],
    chosen: Selection,
    port: int,
    opened: bool,
) -> None:
    """Browse the runs in DIR… until Ctrl-C: an index, and the page of `tcrules report` for each run.

    Nothing is written, and nobody but this machine is answered.
    """
    from tcrules.selection import load_selection
    from tcrules.serving import Runs

    load_selection(chosen)  # a fault in the rules is told now, not with each page
    try:
        server = Runs(folders, chosen, port)
    except OSError as fault:
        raise Refusal(
            f"error: port {port} cannot be used: {fault.strerror}", "give another one with --port"
        ) from fault
    with server, contextlib.suppress(KeyboardInterrupt):
        click.echo(server.address)
        found = len(server.found())
        remark(f"tcrules: {found or 'no'} {'run' if found == 1 else 'runs'} so far; Ctrl-C ends it")
        if opened and not webbrowser.open(server.address):
            remark("tcrules: no browser was found; open the address by hand")
        server.serve_forever()
