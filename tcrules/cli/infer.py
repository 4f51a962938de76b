"""`tcrules infer`: learn rules from healthy runs."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import Decorated, remark, result_console, selection, suggest
from tcrules.cli.main import INTERRUPTED
from tcrules.cli.progress import part_bar
from tcrules.cli.writing import write_whole
from tcrules.rules.infer.options import STAGES, Options, thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.rules.infer.model import Dropped
    from tcrules.rules.infer.update import Update

EPILOG = """\b
Examples:
  tcrules infer --runs runs/a runs/b runs/c -o project.tcr
  tcrules infer --runs runs/* -o project.tcr
  tcrules infer --runs runs/* --why-dropped 'param*'                  # why something is no rule
  tcrules infer --runs runs/* --update project.tcr                    # what would change
  tcrules infer --runs runs/* --update project.tcr -o project.tcr     # change it
  tcrules infer --runs runs/* --templates mine.tcr -o project.tcr     # learn rules of your own kinds, too

\b
Exit codes: 0 rules were learned, 2 no rule could be, 130 interrupted: the next call goes on from there.
"""


class ManyValues(click.Command):
    """A command whose option `--runs` takes all values up to the next option."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Thresholds have a section of their own."""
        flags = {one.name for one in thresholds()}
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Thresholds": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                sections["Thresholds" if param.name in flags else "Options"].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeated(args, "--runs"))


def repeated(args: list[str], option: str) -> list[str]:
    """Each value after `option` with the option before it, as click wants it.

    Raises:
        BadOptionUsage: there is no value.

    >>> repeated(["--runs", "a", "b", "-o", "f"], "--runs")
    ['--runs', 'a', '--runs', 'b', '-o', 'f']
    """
    expanded: list[str] = []
    inside = fresh = False
    for arg in (*args, "-"):
        if inside and not arg.startswith("-"):
            expanded += [option, arg]
            fresh = False
            continue
        if fresh:  # click would take the next option for the value
            raise click.BadOptionUsage(option, f"Option '{option}' requires an argument.")
        inside = fresh = arg == option
        if not inside:
            expanded.append(arg)
    return expanded[:-1]


def threshold_options(command: Decorated) -> Decorated:
    """An option for each threshold of learning."""
    for one in reversed(list(thresholds())):
        kind = click.IntRange(int(one.least)) if one.kind is int else click.FloatRange(one.least, one.most)
        option = click.option(
            one.flag,
            one.name,
            type=kind,
            default=one.default,
            show_default=True,
            metavar="N" if one.kind is int else "X",
            help=one.doc,
        )
        command = option(command)
    return command


@click.command(cls=ManyValues, epilog=EPILOG)
@click.option(
    "--runs", multiple=True, required=True, type=click.Path(path_type=Path), metavar="RUN…",
    help="Healthy runs to learn from; several after one --runs.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Rule file to write.",
)  # fmt: skip
@click.option(
    "--update", "earlier", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="OLD",
    help="Show which rules were added, changed or have vanished since OLD was learned, as a diff. What people wrote "
    "into OLD is kept in FILE, which may be OLD; without -o nothing is written.",
)  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, help="Say for each candidate that was left out, why.")
@click.option(
    "--why-dropped", metavar="PATTERN",
    help="Say why candidates with this text (or glob) in their name are no rules; without -o nothing is written.",
)  # fmt: skip
@click.option(
    "--without", multiple=True, type=click.Choice(STAGES), metavar="STAGE",
    help=f"Leave a stage of learning out, to see what it is worth: {', '.join(STAGES)}; can be repeated.",
)  # fmt: skip
@click.option(
    "--templates", multiple=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER",
    help="Templates (.tcr) of your own, beside the shipped ones; can be repeated.",
)  # fmt: skip
@click.option(
    "--only-templates", is_flag=True, help="Learn from --templates only, not from the shipped ones."
)
@click.option(
    "--most-bindings", type=click.IntRange(min=1), default=100_000, show_default=True, metavar="N",
    help="Give a template up that has more bindings of its metavariables in a run.",
)  # fmt: skip
@click.option(
    "--keep-unhealthy", is_flag=True, help="Learn also from runs on which the shipped library alarms."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Cores to use (default: all of the machine)."
)
@threshold_options
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    earlier: Path | None,
    verbose: bool,
    why_dropped: str | None,
    without: tuple[str, ...],
    templates: tuple[Path, ...],
    only_templates: bool,
    most_bindings: int,
    keep_unhealthy: bool,
    jobs: int | None,
    **limits: float,
) -> None:
    """Learn rules that hold on healthy runs and write them as a rule file.

    Three runs or more, which differ in seed, size or schedule, keep accidents out.
    """
    from tcrules.health import LibraryHealth
    from tcrules.rules.infer import InferError, infer
    from tcrules.rules.infer.collect import Interrupted, Means
    from tcrules.rules.infer.templates import template_files

    if output is None and earlier is None and why_dropped is None:
        raise click.UsageError("Missing option '-o' / '--output' (or --update, or --why-dropped).")
    options = Options(**limits, without=frozenset(without))  # type: ignore[arg-type]
    health = LibraryHealth(tuple(path for path in selection().rules if path != output))
    means = Means(bindings=most_bindings, health=health, keep_unhealthy=keep_unhealthy)
    try:
        with part_bar("reading runs") as progress:
            learned = infer(
                list(runs),
                progress,
                templates=template_files(templates, shipped=not only_templates),
                options=options,
                earlier=earlier,
                means=means,
                jobs=jobs or os.cpu_count() or 1,
            )
    except KeyboardInterrupt as stop:
        how_far = f": {stop}" if isinstance(stop, Interrupted) else ""
        remark(f"tcrules: interrupted{how_far}; nothing is written")
        remark("tcrules: what was counted is kept beside the runs: the same command goes on from there")
        sys.exit(INTERRUPTED)
    except InferError as nothing:
        if why_dropped is not None:
            show_dropped(nothing.dropped, why_dropped)
        raise
    for warning in learned.warnings:
        remark(f"tcrules: {warning}")
    if why_dropped is not None:
        show_dropped(learned.dropped, why_dropped)
    if learned.update is not None:
        show_update(learned.update)
    if output is not None:
        write_whole(output, learned.text)
        remark(f"tcrules: {learned.rules} rules written to {output}")
    if learned.dropped and not verbose and why_dropped is None:
        remark(f"tcrules: {len(learned.dropped)} candidates left out; -v or --why-dropped PATTERN says why")
    for dropped in learned.dropped if verbose else ():
        remark(f"tcrules: left out {dropped.rule}: {dropped.reason}")
    if output is not None:
        suggest(f"tcrules check RUN --rules {output}", "check another run against them")


def show_dropped(dropped: Sequence[Dropped], pattern: str) -> None:
    """Print what became of the candidates that a pattern names."""
    from tcrules.rules.infer.dropping import matching, told

    found = matching(dropped, pattern)
    for one in found:
        click.echo("\n".join(told(one)))
    if not found:
        click.echo(
            f"no candidate that was dropped has '{pattern}' in its name: it is a rule, or no template says it"
        )


def show_update(update: Update) -> None:
    """Print what learning again changes: a heading and a diff for each rule, and a line that counts."""
    from rich.text import Text

    console = result_console()
    for change in update.changes:
        console.print(Text(f"{change.kind} {change.rule}", style="bold"), Text(change.sentence))
        for line in change.lines:
            console.print(Text(f"  {line}", style={"+": "green", "-": "red"}.get(line[:1], "")))
    counts = Counter(change.kind for change in update.changes)
    several = [f"{counts[kind]} {kind}" for kind in ("added", "changed", "vanished")]
    by_hand = f"; {update.kept} statements written by hand are kept" if update.kept else ""
    console.print(f"{', '.join(several)}, {update.same} as before{by_hand}")
