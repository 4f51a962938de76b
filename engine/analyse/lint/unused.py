"""Relations, parameters and imports that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar import ast
from tcrules.grammar.molds import Stamp, nodes, parts_of
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcrules.engine.analyse.faults import Faults
    from tcrules.engine.analyse.imports import Loaded
    from tcrules.engine.analyse.symbols import SourceProgram
    from tcrules.grammar.ast import Span

#: What is named, and its name; the kinds are relation, parameter, type and rule.
Name: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _File:
    """What a file defines and mentions; `effects` are statements that matter without being named."""

    defines: dict[Name, Span] = field(default_factory=dict)
    mentions: set[Name] = field(default_factory=set)
    effects: bool = False
    imports: list[ast.Import] = field(default_factory=list)
    heads: dict[str, Span] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)


def unused(loaded: Loaded, faults: Faults) -> None:
    """Report TCR505 to TCR507 of all files."""
    files = {source.name: _read(source) for source in loaded.programs}
    _relations(files.values(), faults)
    _parameters(files.values(), faults)
    for name, file in files.items():
        _imports(name, file, files, loaded, faults)


def _read(source: SourceProgram) -> _File:
    file, seen = _File(), set()
    for part in parts_of(source.program.statements):
        if not isinstance(part, Stamp):
            _statement(part, file)
        elif part.mold.name not in seen:
            seen.add(part.mold.name)
            _statement(part.mold.made, file)
    return file


def _statement(statement: ast.Statement, file: _File) -> None:
    mentioned = set(_mentioned(statement))
    relations = {name for kind, name in mentioned if kind == "relation"}
    match statement:
        case ast.Import():
            file.imports.append(statement)
        case ast.Rule(head=head):
            name = head.relation
            file.heads.setdefault(name, head.span)
            file.reads.setdefault(name, set()).update(_relations_of(statement.body))
            file.defines.setdefault(("relation", name), head.span)
        case ast.RelationDeclaration(name):
            file.declared.setdefault(name, statement.span)
            file.defines.setdefault(("relation", name), statement.span)
        case ast.ParameterDeclaration(name):
            file.defines.setdefault(("parameter", name), statement.span)
        case ast.TypeDeclaration(name):
            file.defines.setdefault(("type", name), statement.span)
        case ast.Invariant() | ast.Template() | ast.Suppression():
            file.effects = True
            file.wanted |= relations
    file.mentions |= mentioned


def _mentioned(statement: ast.Statement) -> Iterator[Name]:
    for node in nodes(statement):
        match node:
            case ast.Atom(relation):
                yield "relation", relation
            case ast.Parameter(name):
                yield "parameter", name
            case (
                ast.ColumnDeclaration(type=kind)
                | ast.MetaDeclaration(type=kind)
                | ast.ParameterDeclaration(type=kind)
            ):
                yield "type", kind
            case ast.TypeDeclaration(base=base):
                yield "type", base
            case ast.Suppression(rule):
                yield "rule", rule
            case _:
                pass


def _relations_of(body: tuple[ast.Literal, ...]) -> set[str]:
    return {node.relation for node in nodes(body) if isinstance(node, ast.Atom)}


def _relations(files: Iterable[_File], faults: Faults) -> None:
    files = list(files)
    reads: dict[str, set[str]] = {}
    for file in files:
        for name, read in file.reads.items():
            reads.setdefault(name, set()).update(read)
    results = {name for file in files for name in file.declared if name in reads}
    if not results and not any(file.effects for file in files):
        return  # then all relations are results
    read_or_result = results | {name for file in files for name in file.wanted}
    waiting = list(read_or_result)
    while waiting:
        new = reads.get(waiting.pop(), set()) - read_or_result
        read_or_result |= new
        waiting += new
    for file in files:
        for name, span in file.heads.items():
            if name not in read_or_result:
                mend = "delete its rules, or declare it with `relation` if it is a result"
                faults.warning("TCR505", f"nothing reads `{name}`", span, "derived here", mend)
        for name, span in file.declared.items():
            if name not in read_or_result:
                message = f"nothing derives or reads `{name}`"
                faults.warning("TCR505", message, span, "declared here", "delete the declaration")


def _parameters(files: Iterable[_File], faults: Faults) -> None:
    files = list(files)
    read = {name for file in files for name in file.mentions}
    for file in files:
        for (kind, name), span in file.defines.items():
            if kind == "parameter" and (kind, name) not in read:
                faults.warning("TCR506", f"nothing reads the parameter `{name}`", span, mend="delete it")


# ------------------------------------------------------------------------------------------------ imports


def _imports(name: str, file: _File, files: dict[str, _File], loaded: Loaded, faults: Faults) -> None:
    """A file that only imports is a collection: it passes everything on."""
    seen: set[str] = set()
    collection = not (file.defines or file.mentions or file.effects)
    for statement in file.imports:
        target = loaded.imports.get((name, statement.path))
        if target is None or target not in files:
            continue
        if target in seen:
            message = f"`{statement.path}` is imported twice"
            faults.warning("TCR507", message, statement.span, mend="delete it")
        elif not collection and not _needs(file, target, files, loaded):
            message = f"nothing of `{statement.path}` is used here"
            faults.warning("TCR507", message, statement.span, mend="delete it")
        seen.add(target)


def _needs(file: _File, target: str, files: dict[str, _File], loaded: Loaded) -> bool:
    """Whether a file uses what another one, or what that imports, defines or does."""
    waiting, seen = [target], {target}
    while waiting:
        name = waiting.pop()
        found = files[name]
        if found.effects or file.mentions & found.defines.keys():
            return True
        targets = (loaded.imports.get((name, statement.path)) for statement in found.imports)
        new = {t for t in targets if t is not None and t in files} - seen
        seen |= new
        waiting += new
    return False
