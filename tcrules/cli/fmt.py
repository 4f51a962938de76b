"""`tcrules fmt`: one layout for rule files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tcrules.cli.common import remark
from tcrules.cli.faults import Refusal

EPILOG = """\b
Examples:
  tcrules fmt project.tcr
  tcrules fmt --check rules/
"""


@click.command(epilog=EPILOG)
@click.option("--check", "check_only", is_flag=True, help="Change nothing; exit 1 if a file would change.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(check_only: bool, paths: tuple[Path, ...]) -> None:
    """Format rule files (.tcr, .tcr-test), or all of them in folders."""
    from tcrules.grammar.diagnostics import TcrError

    files = rule_files(paths)
    changed, faulty = 0, 0
    for path in files:
        text = path.read_text(encoding="utf-8")
        try:
            formatted = canonical(text, path)
        except TcrError as error:
            faulty += 1
            remark(str(error))
            continue
        if formatted == text:
            continue
        changed += 1
        click.echo(f"{'would change' if check_only else 'formatted'} {path}")
        if not check_only:
            path.write_text(formatted, encoding="utf-8")
    remark(f"tcrules: {len(files)} files, {changed} {'to change' if check_only else 'changed'}")
    sys.exit(2 if faulty else int(check_only and changed > 0))


def rule_files(paths: tuple[Path, ...]) -> list[Path]:
    """The rule files named, and those in the folders named."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for suffix in ("tcr", "tcr-test") for p in path.rglob(f"*.{suffix}"))
        elif path.is_file():
            found.append(path)
        else:
            raise Refusal(f"error: there is no file or folder '{path}'")
    if not found:
        raise Refusal(f"error: no rule files (.tcr, .tcr-test) in {', '.join(map(str, paths))}")
    return found


def canonical(text: str, path: Path) -> str:
    """The text in canonical layout."""
    from tcrules.grammar.diagnostics import TcrError
    from tcrules.grammar.parser import parse, parse_tests
    from tcrules.grammar.printer import print_program, print_tests

    if path.suffix == ".tcr-test":
        return print_tests(parse_tests(text, str(path)))
    parsed = parse(text, str(path))
    if parsed.program is None:
        raise TcrError(parsed.diagnostics, {str(path): text})
    return print_program(parsed.program)
