"""`tcrules test`: rules on imagined facts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import limited, remark
from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from tcrules.rules.testing import Outcome

EPILOG = """\b
Examples:
  tcrules test
  tcrules test project.tcr-test
  tcrules test rules/ -v
"""


@click.command(epilog=EPILOG)
@click.option("-v", "--verbose", is_flag=True, help="Name passed tests, too.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@limited
def command(verbose: bool, paths: tuple[Path, ...]) -> None:
    """Run rule tests (.tcr-test files, or all of them in folders); without PATHS those of the shipped rules."""
    from tcrules.rules.testing import run_tests

    outcomes = run_tests(_test_files(paths) if paths else None)
    for outcome in outcomes:
        if verbose or not outcome.passed:
            click.echo(f"{'pass' if outcome.passed else 'FAIL'}  {outcome.file.name}: {outcome.name}")
        if not outcome.passed:
            click.echo(_faults(outcome))
    failed = sum(not outcome.passed for outcome in outcomes)
    click.echo(f"{len(outcomes)} tests, {failed} failed" if failed else f"{len(outcomes)} tests passed")
    if not outcomes:
        remark("tcrules: no tests were found")
    sys.exit(2 if not outcomes else int(failed > 0))


def _test_files(paths: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Refusal(f"error: there is no file or folder '{path}'")
        files += sorted(path.rglob("*.tcr-test")) if path.is_dir() else [path]
    return files


def _faults(outcome: Outcome) -> str:
    from tcrules.grammar.render import render

    return render(outcome.faults, outcome.sources)
