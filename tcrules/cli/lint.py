"""`tcrules lint`: rules that are sound, but hardly meant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import remark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.grammar.diagnostics import Diagnostic

EPILOG = """\b
Examples:
  tcrules lint project.tcr
  tcrules lint rules/ --json | jq '.[].code'

Exit codes: 0 nothing found, 1 findings, 2 rules that cannot be read.
"""


@click.command(epilog=EPILOG)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE|DIR]...")
@click.option(
    "--data", is_flag=True, help="The rules are about facts in files (`query --facts`), not about runs."
)
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
def command(paths: tuple[Path, ...], data: bool, as_json: bool) -> None:
    """Find what is sound, but hardly meant, in rule files (default: those of the settings file).

    Rules that can never fire, conditions that are always true, what nothing reads, rules that are given twice. Files
    that are imported are read, but only what is named is reported on.
    """
    from tcrules.linting import lint_files

    files = _rule_files(paths)
    found, sources = lint_files(files, data=data)
    failed = any(diagnostic.severity == "error" for diagnostic in found)
    if as_json:
        _print_json(found)
    else:
        _print_text(found, sources)
    if not failed:
        remark(f"tcrules: {len(files)} files, {len(found)} findings")
    sys.exit(2 if failed else int(bool(found)))


def _rule_files(paths: tuple[Path, ...]) -> list[Path]:
    from tcrules.cli.common import selection
    from tcrules.cli.fmt import rule_files

    if paths:
        return [path for path in rule_files(paths) if path.suffix == ".tcr" or path in paths]
    configured = list(selection().rules)
    if not configured:
        raise click.UsageError("give rule files or folders; there are none in the settings of this project")
    return configured


def _print_json(found: Sequence[Diagnostic]) -> None:
    import json

    from tcrules.grammar.render import to_json

    click.echo(json.dumps([to_json(diagnostic) for diagnostic in found], indent=2, ensure_ascii=False))


def _print_text(found: Sequence[Diagnostic], sources: Mapping[str, str]) -> None:
    from tcrules.grammar.render import render

    if found:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        click.echo(render(found, sources, color=color), nl=False)
