"""`tcrules demo`: the whole way on a small faulty script."""

from __future__ import annotations

import sys
import tempfile
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path

import click

from tcrules.cli.faults import Refusal

EPILOG = """\b
Examples:
  tcrules demo
  tcrules demo --keep
"""

#: The line of the script that is to blame, to point at it.
CULPRIT = "model.head ="


@click.command(epilog=EPILOG)
@click.option("--keep", is_flag=True, help="Keep the script and the run folder, to look around in.")
def command(keep: bool) -> None:
    """Record a small training script with a silent error, check it, explain what is wrong."""
    if find_spec("torch") is None:
        raise Refusal(
            "error: the demonstration trains a model, and torch is not installed", "pip install torch"
        )
    folder = Path(tempfile.mkdtemp(prefix="tcrules-demo-"))
    try:
        # Paths in the story are those that a user would see who works in that folder.
        with chdir(folder):
            _tell(Path("train.py"), Path("run"))
    finally:
        if keep:
            click.echo(f"\nThe script and the run are in {folder}")
        else:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)


def _tell(script: Path, run: Path) -> None:
    from tcrules.cli.check import show
    from tcrules.cli.explain import show_violation
    from tcrules.cli.record import record
    from tcrules.selection import Selection

    source = Path(__file__).parent.parent / "demonstration" / "train.py"
    text = source.read_text(encoding="utf-8")
    script.write_text(text, encoding="utf-8")
    culprit = next(n for n, line in enumerate(text.splitlines(), 1) if CULPRIT in line)

    _title("1. A training script. It runs, and the loss falls:")
    click.echo("$ tcrules record -o run -- python train.py")
    code = record(run, (sys.executable, str(script)), overwrite=False)
    if code:
        raise Refusal(f"error: the bundled script failed with exit code {code}; its output is above")

    _title("2. What the shipped rules say about this run:")
    click.echo("$ tcrules check run")
    show(run, Selection(), "text", verbose=False)

    _title("3. Why: the evidence of the first violation:")
    click.echo("$ tcrules explain run V1")
    show_violation(run, Selection(), "V1", "tree")

    _title("4. The cause is in the script:")
    for number, line in enumerate(text.splitlines(), 1):
        if culprit - 2 <= number <= culprit:
            click.echo(f"{'>' if number == culprit else ' '} {number:3} | {line}")
    click.echo(
        "The optimizer was made before the head was replaced: it still owns the old head. The new one never"
    )
    click.echo(
        "learns; the other layers work around its random weights, so the loss falls and nobody notices."
    )


def _title(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}\n")
    sys.stdout.flush()
