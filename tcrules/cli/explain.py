"""`tcrules explain`: why something is a violation, or why something does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tcrules.cli.common import (
    against_option,
    limited,
    remark,
    result_console,
    run_argument,
    selection_options,
    suggest,
)
from tcrules.cli.faults import Refusal
from tcrules.grammar.records import collector_paused

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.checking import Checked
    from tcrules.report.graph import Graph
    from tcrules.report.model import Violation
    from tcrules.selection import Selection

EPILOG = """\b
Examples:
  tcrules explain runs/a
  tcrules explain runs/a V2 --svg > V2.svg
  tcrules explain runs/a gradients-start-empty --json
  tcrules explain runs/a V1 --against runs/healthy
  tcrules explain runs/a --why-not 'zero_grad(step: 3)'
"""


@click.command(epilog=EPILOG)
@run_argument
@click.argument("violation", required=False, metavar="[V1|RULE-ID]")
@selection_options
@click.option("--dot", "form", flag_value="dot", help="Print the graph as DOT, for Graphviz.")
@click.option("--svg", "form", flag_value="svg", help="Print the graph as a picture.")
@click.option("--json", "form", flag_value="json", help="Print the graph as JSON.")
@click.option(
    "--why-not", metavar="LITERALS", help="Instead: why no facts of the run satisfy these literals."
)
@against_option
@limited
def command(
    run: Path,
    violation: str | None,
    chosen: Selection,
    form: str | None,
    why_not: str | None,
    against: Path | None,
) -> None:
    """Show the causal graph of a violation: evidence, calls with source lines, objects, what was missing.

    Without a name, the first violation of the report is explained.
    """
    if why_not is not None:
        _show_why_not(run, why_not, chosen, form or "tree")
    else:
        with collector_paused():  # the rules stay until the end
            show_violation(run, chosen, violation, form or "tree", against)


def show_violation(
    run: Path, chosen: Selection, name: str | None, form: str, against: Path | None = None
) -> None:
    """Print the causal graph of one violation as a tree, a picture, DOT or JSON."""
    from tcrules.aligning import parting
    from tcrules.checking import causal_graph, check_run

    with check_run(run, chosen) as checked:
        if not checked.report.violations and name is None:
            if not checked.report.evaluated:
                raise Refusal(
                    "error: no rule could be decided on this run", f"tcrules check {run} -v says why"
                )
            meant = (
                f" but for {len(checked.report.suppressed)} suppressed" if checked.report.suppressed else ""
            )
            click.echo(f"nothing to explain: the run violates no rule{meant}")
            return
        violation = _find(checked, name)
        parted = None if against is None else parting(run, against)
        graph, root = causal_graph(checked, violation, parted)
        others = [other.id for other in checked.report.violations if other.id != violation.id]
    _show(graph, root, form, f"{run} {violation.id}")
    if form == "tree":
        excuse = next((i.excuse for i in checked.report.suppressed if i.violation.id == violation.id), None)
        if excuse is not None:
            remark(f"tcrules: suppressed, because: {excuse.reason} ({excuse.place})")
        if against is not None and parted is None:
            remark(
                f"tcrules: {run} parts nowhere from {against}: calls agree, and what facts say but for numbers"
            )
        suggest(f"tcrules rules {violation.rule}", "what the rule says and why")
    if others and form == "tree":
        suggest(f"tcrules explain {run} {others[0]}", f"{len(others)} more")


def _show(graph: Graph, root: str, form: str, title: str) -> None:
    """Print a graph as a tree, a picture, DOT or JSON."""
    if form == "json":
        import json

        from tcrules.report.dot import as_data

        click.echo(json.dumps(as_data(graph), indent=2, ensure_ascii=False))
    elif form == "dot":
        from tcrules.report.dot import as_dot

        click.echo(as_dot(graph, title))
    elif form == "svg":
        from tcrules.report.svg import as_svg

        click.echo(as_svg(graph, title))
    else:
        from tcrules.report.tree import as_tree

        result_console().print(as_tree(graph, root))


def _find(checked: Checked, name: str | None) -> Violation:
    violations = checked.report.violations
    suppressed = [item.violation for item in checked.report.suppressed] if name is not None else []
    for violation in (*violations, *suppressed):
        if name is None or name in (violation.id, violation.rule):
            return violation
    verdict = checked.report.verdicts.get(name or "")
    if verdict is not None:
        why = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
        raise Refusal(f"error: the rule '{name}' is not violated, it is {verdict.status}{why}")
    names = ", ".join(violation.id for violation in violations[:10]) or "none"
    raise Refusal(f"error: there is no violation '{name}'", f"violations of this run: {names}")


def _show_why_not(run: Path, literals: str, chosen: Selection, form: str) -> None:
    from tcrules.checking import why_not_in

    found, answers = why_not_in(run, literals, chosen)
    if found is None:
        click.echo(f"it does hold, with {answers} {'binding' if answers == 1 else 'bindings'}")
        suggest(f"tcrules query {run} '{literals}'", "see them")
        return
    _show(*found, form, f"{run}: {literals}")
    if form == "tree":
        remark(
            "tcrules: shown is how far the literals can be satisfied, from the first on, and what comes near"
        )
