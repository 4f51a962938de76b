"""The templates that rules are learned from: the shipped ones, analysed, with what learning needs of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.engine.analyse import analyse, find_files, load
from tcrules.grammar import ast, print_statement
from tcrules.grammar.diagnostics import TcrError
from tcrules.instrument.schema import SCHEMA_VERSION
from tcrules.rules.infer.definitions import Definition, Definitions, definitions
from tcrules.rules.infer.model import InferError, Shape
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
        definitions: the relations, types and parameters that the files define.
        shapes: what learning needs to know of each template, by id.
        keys: for each template a hash that changes with its meaning: its text, what it uses of those, the versions.
    """

    program: Program
    trees: Mapping[str, ast.Template]
    definitions: Definitions
    shapes: Mapping[str, Shape]
    keys: Mapping[str, str]


def shipped_templates() -> tuple[Path, ...]:
    """The shipped template files, by name."""
    return tuple(sorted(FOLDER.glob("*.tcr")))


def shipped_file(name: str) -> Path | None:
    """The shipped template file of a name; what an import with a bare name may mean."""
    return path if (path := FOLDER / name).is_file() else None


def template_files(given: Iterable[Path], *, shipped: bool = True) -> tuple[Path, ...]:
    """Template files that a user names, after the shipped ones; of a folder all `.tcr` files.

    Raises:
        InferError: one is not there, a folder has none, or there is none at all.
    """
    files = list(shipped_templates()) if shipped else []
    for path in given:
        found = sorted(path.rglob("*.tcr")) if path.is_dir() else [path]
        if not found:
            raise InferError(f"the folder '{path}' has no template file", "its files must be named *.tcr")
        if not found[0].exists():
            raise InferError(
                f"there is no template file '{path}'", "give a .tcr file or a folder of such files"
            )
        files += found
    if not files:
        raise InferError("no templates to learn from", "name some with --templates FILE")
    return tuple(dict.fromkeys(files))


def load_templates(paths: Iterable[Path] | None = None) -> TemplateSet:
    """Read and analyse template files (default: the shipped ones).

    Raises:
        TcrError: the files have faults, such as a metavariable over fingerprints; it carries all of them.
    """
    return _shipped() if paths is None else _load(tuple(paths))


@cache
def _shipped() -> TemplateSet:
    """The shipped templates, read once in a process: they take half a second."""
    return _load(shipped_templates())


def _load(files: Sequence[Path]) -> TemplateSet:
    loaded = load(map(str, files), find_files(shipped_file))
    analysis = analyse(loaded.programs)
    if loaded.failed or analysis.program is None:
        raise TcrError((*loaded.diagnostics, *analysis.diagnostics), loaded.sources)
    statements = [statement for source in loaded.programs for statement in source.program.statements]
    trees = {statement.id: statement for statement in statements if isinstance(statement, ast.Template)}
    misused = [fault for tree in trees.values() if (fault := range_fault(tree)) is not None]
    if misused:
        raise TcrError(misused, loaded.sources)
    defined = definitions(statements)
    shapes = {template.invariant.id: shape_of(template) for template in analysis.program.templates}
    return TemplateSet(analysis.program, trees, defined, shapes, _keys(trees, defined))


def _keys(trees: Mapping[str, ast.Template], defined: Definitions) -> dict[str, str]:
    """What statistics of a template depend on: its text and that of what it uses, without documentation."""

    @cache
    def text(statement: ast.Template | Definition) -> str:
        return print_statement(replace(statement, doc=(), comments=()))

    keys = {}
    for name, tree in trees.items():
        used = sorted(map(text, defined.needed([tree])))
        content = "\n".join([f"{__version__} {SCHEMA_VERSION}", *used, text(tree)])
        keys[name] = hashlib.sha256(content.encode()).hexdigest()[:16]
    return keys


def shape_of(template: Template) -> Shape:
    """What learning needs to know of a template."""
    return Shape(
        id=template.invariant.id,
        bound=_typed(template.bound),
        free=_typed(template.free),
        guard=_typed(template.guard),
        tags=frozenset(template.invariant.tags),
        tier="note" if template.invariant.severity == "note" else "warning",
    )


def _typed(variables: Sequence[Var]) -> tuple[tuple[str, str], ...]:
    return tuple((variable.name.removeprefix("?"), variable.type.name) for variable in variables)
