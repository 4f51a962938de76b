"""Judging rules by what they say: learned rules as an analysed program, for filters that check facts with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.analyse import analyse, load_text
from tcrules.grammar import ast, print_program
from tcrules.grammar.diagnostics import TcrError
from tcrules.instrument.runs import open_run
from tcrules.rules.infer.filters.library import repeating
from tcrules.rules.infer.instantiate import instantiate
from tcrules.rules.infer.mutation import scored
from tcrules.rules.infer.simplify import simplify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.engine.ir import Program
    from tcrules.rules.infer.filters import Judge
    from tcrules.rules.infer.model import Dropped, Learned, Run
    from tcrules.rules.infer.options import Options
    from tcrules.rules.infer.templates import TemplateSet


def judges(templates: TemplateSet, runs: Sequence[Run]) -> list[tuple[str, Judge]]:
    """Filters of all rules that need their text, with their stages."""

    def library(rules: Sequence[Learned], _: Options) -> tuple[list[Learned], list[Dropped]]:
        return repeating(rules, program_of(rules, templates)) if rules else ([], [])

    def mutation(rules: Sequence[Learned], options: Options) -> tuple[list[Learned], list[Dropped]]:
        subject = _subject(runs)
        if subject is None or subject.path is None or not rules:
            return list(rules), []
        return scored(rules, program_of(rules, templates), open_run(subject.path).facts, options)

    return [("redundancy", library), ("mutation", mutation)]


def program_of(rules: Sequence[Learned], templates: TemplateSet) -> Program:
    """The rules as they will be written, analysed, in the same order."""
    invariants = [
        simplify(instantiate(templates.trees[rule.template], rule, f"rule-{place}"))
        for place, rule in enumerate(rules)
    ]
    statements: tuple[ast.Statement, ...] = (*invariants, *templates.definitions.needed(invariants))
    loaded = load_text(print_program(ast.Program(statements)), "learned.tcr")
    analysis = analyse(loaded.programs)
    if analysis.program is None:
        raise TcrError((*loaded.diagnostics, *analysis.diagnostics), loaded.sources)
    return analysis.program


def _subject(runs: Sequence[Run]) -> Run | None:
    """The run that faults are injected into: of those that ended well the shortest, whatever their order."""
    able = [run for run in runs if run.path is not None and run.steps]
    return min(able, key=lambda run: (not run.complete, run.steps, run.project, run.name), default=None)
