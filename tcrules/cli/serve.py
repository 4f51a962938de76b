"""`tcrules serve`: runs in the browser."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import limited, remark, selection, selection_options
from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from tcrules.engine.ir import Value

EPILOG = """\b
Examples:
  tcrules serve runs/
  tcrules serve runs/ old/ --rules project.tcr --port 8000
"""


@click.command(epilog=EPILOG)
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="DIR…"
)
@selection_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1; by default a free one."
)
@click.option("--open", "opened", is_flag=True, help="Show the index in the browser.")
@limited
def command(
    folders: tuple[Path, ...],
    rule_files: tuple[Path, ...],
    library: bool | None,
    only: tuple[str, ...],
    params: dict[str, Value],
    port: int,
    opened: bool,
) -> None:
    """Browse the runs in DIR… until Ctrl-C: an index, and the page of `tcrules report` for each run.

    Nothing is written, and nobody but this machine is answered.
    """
    from tcrules.serving import Runs

    try:
        server = Runs(folders, selection(rule_files, library, only, params), port)
    except OSError as fault:
        raise Refusal(
            f"error: port {port} cannot be used: {fault.strerror}", "give another one with --port"
        ) from fault
    with server, contextlib.suppress(KeyboardInterrupt):
        click.echo(server.address)
        remark("tcrules: Ctrl-C ends it")
        if opened:
            webbrowser.open(server.address)
        server.serve_forever()
