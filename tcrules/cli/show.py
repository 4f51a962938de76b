"""`tcrules show`: the stages of compilation, from text to SQL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import param_option, remark
from tcrules.cli.faults import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcrules.engine.ir import Program, Value
    from tcrules.engine.plan.plan import Plan

EPILOG = """\b
Examples:
  tcrules show --stage ir project.tcr
  tcrules show --stage sql project.tcr optimizer-updates-params
  tcrules show --stage plan --families learned.tcr
  tcrules show config
"""


@click.command(epilog=EPILOG)
@click.option(
    "--stage",
    type=click.Choice(["ast", "ir", "plan", "sql"]),
    default="ir",
    show_default=True,
    help="What to print.",
)
@click.option("--families", "grouped", is_flag=True, help="Invariants that differ only by constants as one.")
@param_option
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("rule", required=False)
def command(stage: str, grouped: bool, params: dict[str, Value], file: Path, rule: str | None) -> None:
    """Print what a stage of the compilation makes of a rule file, or of one RULE in it; or the settings.

    With the word `config` for FILE: the settings of the project, and where each comes from.

    RULE is the id of an invariant or template, or the name of a derived relation.

    ast: the syntax tree; ir: typed rules in evaluation order; plan: joins, one plan for a rule and one for the
    violations of an invariant; sql: the statements that DuckDB runs.
    """
    if str(file) == "config" and rule is None:
        _show_config(params)
        return
    if stage == "ast":
        _show_tree(file, rule)
        return
    from tcrules.engine.show import show_program
    from tcrules.rules.loading import load_rules

    program = _only(load_rules([file], library=False, parameters=params).program, file, rule)
    if grouped:
        program = _grouped(program)
    if stage == "ir":
        click.echo(show_program(program))
        return
    for title, plan in _plans(program):
        click.echo(f"// {title}")
        click.echo(_printed(plan, stage))


def _show_config(params: dict[str, Value]) -> None:
    from rich.table import Table
    from rich.text import Text

    from tcrules.cli.common import result_console
    from tcrules.config import find_config
    from tcrules.report.terminal import plain
    from tcrules.settings import settings, told

    config = find_config()
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for name, setting in settings(config, {"params": params}).items():
        table.add_row(name, Text(plain(told(setting.value))), Text(plain(setting.origin)))
    result_console().print(table)
    remark(f"tcrules: settings file: {config.path or 'none'}")


def _only(program: Program, file: Path, rule: str | None) -> Program:
    """The part of a program that belongs to one name."""
    if rule is None:
        return program
    strata = tuple(s for s in program.strata if any(p.name == rule for p in s.predicates))
    invariants = tuple(invariant for invariant in program.invariants if invariant.id == rule)
    templates = tuple(template for template in program.templates if template.invariant.id == rule)
    if not (strata or invariants or templates):
        derived = [predicate.name for stratum in program.strata for predicate in stratum.predicates]
        ids = [
            one.id for one in (*program.invariants, *(template.invariant for template in program.templates))
        ]
        raise _unknown(rule, file, [*derived, *ids])
    return replace(program, strata=strata, invariants=invariants, templates=templates)


def _unknown(rule: str, file: Path, known: Iterable[str]) -> Refusal:
    from tcrules.grammar.diagnostics import did_you_mean

    near = did_you_mean(rule, known)
    return Refusal(f"error: {file} has no rule '{rule}'", f"did you mean '{near}'?" if near else "")


def _grouped(program: Program) -> Program:
    """The program with one invariant for each family; what varies is read from a table `$family<n>`."""
    from tcrules.engine.families import families

    return replace(program, invariants=tuple(family.invariant for family in families(program.invariants)))


def _show_tree(file: Path, rule: str | None) -> None:
    from rich.pretty import pprint

    from tcrules.cli.common import result_console
    from tcrules.grammar import ast
    from tcrules.grammar.diagnostics import TcrError
    from tcrules.grammar.parser import parse

    text = file.read_text(encoding="utf-8")
    parsed = parse(text, str(file))
    if parsed.program is None:
        raise TcrError(parsed.diagnostics, {str(file): text})
    shown: object = parsed.program
    if rule is not None:
        names = [
            s.head.relation if isinstance(s, ast.Rule) else getattr(s, "id", getattr(s, "name", ""))
            for s in parsed.program.statements
        ]
        shown = [s for s, name in zip(parsed.program.statements, names, strict=True) if name == rule]
        if not shown:
            raise _unknown(rule, file, names)
    pprint(shown, console=result_console(), expand_all=True, indent_guides=False)


def _plans(program: Program) -> Iterator[tuple[str, Plan]]:
    from tcrules.engine.plan.build import compile_body, compile_rule, violated
    from tcrules.engine.show import show_atom

    for stratum in program.strata:
        for rule in stratum.rules:
            yield show_atom(rule.head), compile_rule(rule)
    for template in program.templates:
        yield f"bindings of {template.invariant.id}", compile_body(template.invariant.each)
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
