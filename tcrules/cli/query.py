"""`tcrules query`: ask a run for facts, or run a rule file over facts in files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import limited, param_option, rules_option, selection

if TYPE_CHECKING:
    from tcrules.engine.ir import Value

EPILOG = """\b
Examples:
  tcrules query runs/a 'optimizer_step(optimizer: O, step: S, skipped: true)'
  tcrules query runs/a 'gradient(param: P, step: S, norm: N), N > 10.0' --format csv
  tcrules query runs/a 'loss(S, L)' --rules project.tcr --limit 20
  tcrules query --facts data/ program.tcr 'path(1, X)'
  tcrules query --facts data/ program.tcr 'path(1, 9)' --why
  tcrules query --facts data/ program.tcr --out results/ --format parquet
"""
_FOLDER = click.Path(path_type=Path)


@click.command(epilog=EPILOG)
@click.argument("source", type=_FOLDER, metavar="RUN|PROGRAM")
@click.argument("goal", required=False)
@rules_option
@param_option
@click.option(
    "--facts", type=_FOLDER, metavar="DIR", help="Read facts from files of this folder, not from a run."
)
@click.option("--out", type=_FOLDER, metavar="DIR", help="With --facts: write results as files.")
@click.option(
    "--relation", "relations", multiple=True, metavar="NAME", help="With --facts: only this result."
)
@click.option("--count", is_flag=True, help="With --facts: print the number of facts of each result.")
@click.option(
    "--format", "form", type=click.Choice(["text", "csv", "tsv", "json", "parquet"]), help="How to write."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N answers.")
@click.option("--why", is_flag=True, help="Prove each answer; without one, tell what comes nearest.")
@click.option(
    "--proofs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="With --why: up to N proofs of a fact.",
)
@limited
def command(
    source: Path,
    goal: str | None,
    rule_files: tuple[Path, ...],
    params: dict[str, Value],
    facts: Path | None,
    out: Path | None,
    relations: tuple[str, ...],
    count: bool,
    form: str | None,
    limit: int | None,
    why: bool,
    proofs: int,
) -> None:
    """Print the bindings of GOAL, a list of literals of the rule language.

    RUN is the folder of a recorded run. With --facts DIR, the first argument is a rule file, PROGRAM, and the facts of
    each relation that it declares but does not derive come from DIR/<relation>.facts (tab-separated), .tsv, .csv or
    .parquet. Without GOAL, results are all derived relations that PROGRAM declares. On a terminal, without GOAL and
    without --out, --relation and --count, a prompt asks for goals and rules.
    """
    if facts is not None:
        from tcrules.cli.query_files import Wanted, run

        shown = Wanted(out, relations, count, form, limit, proofs if why else 0)
        run(facts, source, goal, rule_files, params, shown)
        return
    if out is not None or relations or count:
        raise click.UsageError("--out, --relation and --count go with --facts DIR")
    if goal is None:
        converse_about_run(source, rule_files, params)
        return
    from tcrules.checking import ask_run, query_run
    from tcrules.cli.answers import Why, write, write_reasons

    chosen = selection(rule_files, params=params)
    if why:
        with ask_run(source, goal, chosen) as (program, store, body):
            answers = store.query(body, limit)
            write_reasons(program, store, body, goal, *answers, Why(proofs, answer_format(form)))
        return
    write(*query_run(source, goal, chosen, limit), answer_format(form), limit)


def on_terminal() -> bool:
    """Whether somebody sits there to converse with."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def converse_about_run(run: Path, rule_files: tuple[Path, ...], params: dict[str, Value]) -> None:
    """Open the prompt on a run."""
    if not on_terminal():
        raise click.UsageError("Missing argument 'GOAL'. (The prompt needs a terminal.)")
    from tcrules.cli.prompt.session import Session
    from tcrules.cli.prompt.sources import RunFacts
    from tcrules.cli.prompt.terminal import converse
    from tcrules.rules.catalogue import library_paths

    chosen = selection(rule_files, params=params)
    library = library_paths() if chosen.library else ()
    converse(Session([*library, *chosen.rules], RunFacts(run), chosen.parameters))


def answer_format(form: str | None) -> str:
    """The format of answers to a goal."""
    if form in ("tsv", "parquet"):
        raise click.UsageError(f"--format {form} goes with --out DIR; answers are text, csv or json")
    return form or "text"
