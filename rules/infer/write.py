"""Learned rules as text: a rule file that people read, review and keep under version control."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from tcrules.grammar import ast, print_program
from tcrules.rules.infer.instantiate import instantiate, show
from tcrules.rules.infer.model import Interval
from tcrules.rules.infer.names import EVERY
from tcrules.rules.infer.sentences import sentence, subject, why
from tcrules.rules.infer.simplify import simplify

from tcrules import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.ir import Value
    from tcrules.rules.infer.model import Learned, Run, Shape
    from tcrules.rules.infer.templates import TemplateSet

#: Characters of an id after which its words are left out.
_LONGEST_SLUG = 60
#: Characters of the line above a section.
_WIDTH = 100
_NOT_IN_IDS = re.compile(r"[^a-z0-9_]+")


def write(rules: Sequence[Learned], templates: TemplateSet, runs: Sequence[Run]) -> str:
    """A complete rule file, grouped by subject; the same rules and runs in any order give the same text."""
    sections: dict[tuple[int, str], list[ast.Invariant]] = defaultdict(list)
    for name, rule in _identified(rules).items():
        tree, shape = templates.trees[rule.template], templates.shapes[rule.template]
        built = simplify(instantiate(tree, rule, name))
        sections[subject(rule, shape)].append(replace(built, doc=_doc(tree, rule, shape)))
    invariants: list[ast.Invariant] = []
    for (_, title), members in sorted(sections.items()):
        members[0] = replace(members[0], comments=(_ruler(title),))
        invariants += members
    invariants[0] = replace(invariants[0], comments=(*_header(rules, runs), *invariants[0].comments))
    definitions = templates.definitions.needed(invariants)
    if definitions:
        definitions[0] = replace(definitions[0], comments=(_ruler("definitions that rules above use"),))
    return print_program(ast.Program((*invariants, *definitions)))


def _ruler(title: str) -> str:
    return f"{'-' * (_WIDTH - len(title))} {title}"


def _header(rules: Sequence[Learned], runs: Sequence[Run]) -> tuple[str, ...]:
    torch = ", ".join(sorted({run.torch for run in runs if run.torch})) or "unknown"
    names = ", ".join(sorted(run.name for run in runs))
    tiers = Counter(rule.tier for rule in rules)
    counts = ", ".join(
        f"{tiers[t]} {t}{'s' if tiers[t] > 1 else ''}" for t in ("error", "warning", "note") if tiers[t]
    )
    return (
        f"{len(rules)} {'rule' if len(rules) == 1 else 'rules'} ({counts}) that held in {len(runs)} healthy "
        f"{'run' if len(runs) == 1 else 'runs'}: {names}.",
        f"Learned by tcrules {__version__} from runs with torch {torch}. Edit freely: these are ordinary rules.",
        "",
    )


def _doc(tree: ast.Template, rule: Learned, shape: Shape) -> tuple[str, ...]:
    """What the rule says, in a sentence, and why we believe it."""
    doc = [sentence(line, rule, shape) for line in tree.doc]
    if rule.guard:
        doc.append(
            f"Only where {' and '.join(f'{g.variable} {g.op} {_quoted(g.value)}' for g in rule.guard)}."
        )
    return (*doc, "", *why(rule.evidence))


def _quoted(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else show(value)


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
