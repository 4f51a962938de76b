"""`tcrules show`: the stages of compilation, from text to SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import param_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcrules.engine.ir import Program, Value
    from tcrules.engine.plan.plan import Plan

EPILOG = """\b
Examples:
  tcrules show --stage ir project.tcr
  tcrules show --stage sql project.tcr
"""


@click.command(epilog=EPILOG)
@click.option(
    "--stage",
    type=click.Choice(["ast", "ir", "plan", "sql"]),
    default="ir",
    show_default=True,
    help="What to print.",
)
@param_option
@click.argument("file", type=click.Path(path_type=Path))
def command(stage: str, params: dict[str, Value], file: Path) -> None:
    """Print what a stage of the compilation makes of a rule file.

    ast: the syntax tree; ir: typed rules in evaluation order; plan: joins, one plan for a rule and one for the
    violations of an invariant; sql: the statements that DuckDB runs.
    """
    if stage == "ast":
        _show_tree(file)
        return
    from tcrules.engine.show import show_program
    from tcrules.rules.loading import load_rules

    program = load_rules([file], library=False, parameters=params).program
    if stage == "ir":
        click.echo(show_program(program))
        return
    for title, plan in _plans(program):
        click.echo(f"// {title}")
        click.echo(_printed(plan, stage))


def _show_tree(file: Path) -> None:
    from rich.pretty import pprint

    from tcrules.cli.common import result_console
    from tcrules.grammar.diagnostics import TcrError
    from tcrules.grammar.parser import parse

    text = file.read_text(encoding="utf-8")
    parsed = parse(text, str(file))
    if parsed.program is None:
        raise TcrError(parsed.diagnostics, {str(file): text})
    pprint(parsed.program, console=result_console(), expand_all=True, indent_guides=False)


def _plans(program: Program) -> Iterator[tuple[str, Plan]]:
    from tcrules.engine.plan.build import compile_body, compile_rule, violated
    from tcrules.engine.show import show_atom

    for stratum in program.strata:
        for rule in stratum.rules:
            yield show_atom(rule.head), compile_rule(rule)
    for invariant in program.invariants:
        yield f"violations of {invariant.id}", violated(invariant.expect, compile_body(invariant.each))


def _printed(plan: Plan, stage: str) -> str:
    if stage == "plan":
        from tcrules.engine.plan.print import print_plan

        return print_plan(plan)
    from tcrules.engine import sql
    from tcrules.engine.plan.plan import columns

    output = [(sql.name_of(variable.name), variable) for variable in columns(plan)]
    text: str = sql.query(plan, output).sql(dialect="duckdb", pretty=True)
    return text + "\n"
