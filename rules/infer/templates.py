"""The templates that rules are learned from: the shipped ones, analysed, with what learning needs of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.engine.analyse import analyse, find_files, load
from tcrules.grammar import ast, print_statement
from tcrules.grammar.diagnostics import TcrError
from tcrules.instrument.schema import SCHEMA_VERSION
from tcrules.rules.infer.model import Shape
from tcrules.rules.infer.ranges import range_fault

from tcrules import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.engine.ir import Program, Template, Var

#: Folder of the shipped templates; a `.tcr` file there is found without a list.
FOLDER = Path(__file__).parent.parent / "templates"


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """Analysed templates.

    Attributes:
        program: the analysed files.
        trees: the syntax trees, by id.
        rules: the rules for derived relations that templates use.
        shapes: what learning needs to know of each template, by id.
        keys: for each template a hash that changes with its meaning: its text, those rules, the versions.
    """

    program: Program
    trees: Mapping[str, ast.Template]
    rules: tuple[ast.Rule, ...]
    shapes: Mapping[str, Shape]
    keys: Mapping[str, str]


def shipped_templates() -> tuple[Path, ...]:
    """The shipped template files, by name."""
    return tuple(sorted(FOLDER.glob("*.tcr")))


def load_templates(paths: Iterable[Path] | None = None) -> TemplateSet:
    """Read and analyse template files (default: the shipped ones).

    Raises:
        TcrError: the files have faults, such as a metavariable over fingerprints; it carries all of them.
    """
    files = shipped_templates() if paths is None else tuple(paths)
    loaded = load(map(str, files), find_files())
    analysis = analyse(loaded.programs)
    if loaded.failed or analysis.program is None:
        raise TcrError((*loaded.diagnostics, *analysis.diagnostics), loaded.sources)
    statements = [statement for source in loaded.programs for statement in source.program.statements]
    trees = {statement.id: statement for statement in statements if isinstance(statement, ast.Template)}
    misused = [fault for tree in trees.values() if (fault := range_fault(tree)) is not None]
    if misused:
        raise TcrError(misused, loaded.sources)
    rules = tuple(statement for statement in statements if isinstance(statement, ast.Rule))
    shapes = {template.invariant.id: shape_of(template) for template in analysis.program.templates}
    return TemplateSet(analysis.program, trees, rules, shapes, _keys(trees, rules))


def _keys(trees: Mapping[str, ast.Template], rules: Iterable[ast.Rule]) -> dict[str, str]:
    common = "\n".join([__version__, str(SCHEMA_VERSION), *map(print_statement, rules)])
    return {
        name: hashlib.sha256(f"{common}\n{print_statement(tree)}".encode()).hexdigest()[:16]
        for name, tree in trees.items()
    }


def shape_of(template: Template) -> Shape:
    """What learning needs to know of a template."""
    return Shape(
        id=template.invariant.id,
        bound=_typed(template.bound),
        free=_typed(template.free),
        guard=_typed(template.guard),
        tags=frozenset(template.invariant.tags),
    )


def _typed(variables: Sequence[Var]) -> tuple[tuple[str, str], ...]:
    return tuple((variable.name.removeprefix("?"), variable.type.name) for variable in variables)
