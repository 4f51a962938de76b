"""Learned rules as text: a rule file that people read, review and keep under version control."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tcrules.grammar import ast, print_program
from tcrules.rules.infer.instantiate import fill_text, helpers, instantiate, show
from tcrules.rules.infer.model import Interval
from tcrules.rules.infer.names import EVERY

from tcrules import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.rules.infer.model import Learned, Run
    from tcrules.rules.infer.templates import TemplateSet

#: Characters of an id after which its words are left out.
_LONGEST_SLUG = 60
_NOT_IN_IDS = re.compile(r"[^a-z0-9_]+")


def write(rules: Sequence[Learned], templates: TemplateSet, runs: Sequence[Run]) -> str:
    """A complete rule file; the same rules and runs in any order give the same text."""
    invariants = []
    for name, rule in _identified(rules).items():
        tree = templates.trees[rule.template]
        built = instantiate(tree, rule, name)
        invariants.append(replace(built, doc=_doc(tree, rule)))
    statements: list[ast.Statement] = [*helpers(templates.rules, invariants), *invariants]
    statements[0] = replace(statements[0], comments=_header(runs))
    return print_program(ast.Program(tuple(statements)))


def _header(runs: Sequence[Run]) -> tuple[str, ...]:
    torch = ", ".join(sorted({run.torch for run in runs if run.torch})) or "unknown"
    names = ", ".join(sorted(run.name for run in runs))
    return (
        f"Rules that held in {len(runs)} healthy {'run' if len(runs) == 1 else 'runs'}: {names}.",
        f"Learned by tcrules {__version__} from runs with torch {torch}. Edit freely: these are ordinary rules.",
        "",
    )


def _doc(tree: ast.Template, rule: Learned) -> tuple[str, ...]:
    """What the rule says, in a sentence, and why we believe it."""
    filling = dict(rule.filling)
    doc = [fill_text(line, filling) for line in tree.doc]
    if rule.guard:
        conditions = " and ".join(f"{g.variable} {g.op} {show(g.value)}" for g in rule.guard)
        doc.append(f"Only where {conditions}: elsewhere it does not hold.")
    found = rule.evidence
    names = f", for {found.bindings} names" if found.bindings > 1 else ""
    runs = f"{found.runs} {'run' if found.runs == 1 else 'runs'}"
    return (*doc, "", f"why: it held for all {found.triggers} instances in {runs}{names}.")


def _identified(rules: Sequence[Learned]) -> Mapping[str, Learned]:
    """Rules by readable ids; where two would be equal, later ones get a number."""
    named: dict[str, Learned] = {}
    for rule in rules:
        name = base = _id(rule)
        number = 2
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = rule
    return named


def _id(rule: Learned) -> str:
    given = [one for _, one in rule.filling if not isinstance(one, Interval)]
    words = ["all" if show(one) == EVERY else show(one).replace(EVERY, "all") for one in given]
    words += [f"{g.variable} {'' if g.op == '=' else 'not'} {show(g.value)}" for g in rule.guard]
    slug = _NOT_IN_IDS.sub("-", " ".join(words).lower()).strip("-_")[:_LONGEST_SLUG].strip("-_")
    return f"learned-{rule.template}-{slug}" if slug else f"learned-{rule.template}"
