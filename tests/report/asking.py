"""Asks facts that are written as text why literals do not hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from tcrules.engine import naive
from tcrules.engine.facts import Coverage, Gap, MemoryFacts
from tcrules.engine.ir import Invariant, Program
from tcrules.grammar import parse_tests
from tcrules.grammar.diagnostics import TcrError
from tcrules.rules.testing import facts_of

from tcrules.report.explaining import missing_graph
from tcrules.report.tree import as_tree
from tcrules.selection import Selection, load_query


def asked(
    rules: Path | None, facts: str, ask: str, unrecorded: Iterable[str] = (), gaps: Iterable[list] = ()
) -> tuple[Program, Invariant, MemoryFacts]:
    """The program, what is asked, and the facts; without rules the shipped ones hold."""
    program, query = load_query(ask, Selection((rules,) if rules else (), library=rules is None))
    (case,) = parse_tests(f'test "it" {{ facts {{ {facts} }} expect {{ held nothing }} }}', "facts").tests
    found, faults = facts_of(case, program)
    assert not faults, faults
    names = frozenset(name for name, one in program.predicates.items() if one.observed) - set(unrecorded)
    told = [Gap(*gap[:5], tuple(map(tuple, gap[5]))) for gap in gaps]
    return program, query, replace(found, coverage=Coverage(names, tuple(told)))


def answer(rules: Path | None, facts: str, ask: str, **recording: Iterable) -> str:
    """What `tcrules explain --why-not` prints."""
    try:
        program, query, found = asked(rules, facts, ask, **recording)
    except TcrError as fault:
        return str(fault)
    model = naive.evaluate(program, found)
    missing = missing_graph(program, model, query.each, ask, found.coverage)
    if missing is None:
        return "it does hold"
    out = StringIO()
    Console(file=out, width=200, color_system=None, highlight=False).print(as_tree(*missing))
    return out.getvalue()
