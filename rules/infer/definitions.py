"""What rules need besides themselves: the relations, types and parameters that files of templates define."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar import ast
from tcrules.grammar.molds import nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Definition: TypeAlias = ast.TypeDeclaration | ast.RelationDeclaration | ast.ParameterDeclaration | ast.Rule
#: What a definition is about: "relation", "type" or "param", and the name.
Subject: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Definitions:
    """Definitions in the order of their files; `uses` are the subjects that those of a subject mention."""

    statements: tuple[Definition, ...]
    uses: Mapping[Subject, frozenset[Subject]]

    def needed(self, users: Iterable[object]) -> list[Definition]:
        """The definitions that syntax trees use, and those that these use, without comments."""
        found: set[Subject] = set()
        waiting = list(_used(tuple(users)))
        while waiting:
            subject = waiting.pop()
            if subject not in found:
                found.add(subject)
                waiting += self.uses.get(subject, ())
        return [replace(one, comments=()) for one in self.statements if subject_of(one) in found]


def definitions(statements: Iterable[ast.Statement]) -> Definitions:
    """Those among the statements of files."""
    chosen = tuple(one for one in statements if isinstance(one, Definition))
    uses: dict[Subject, frozenset[Subject]] = defaultdict(frozenset)
    for one in chosen:
        uses[subject_of(one)] |= _used(one)
    return Definitions(chosen, uses)


def subject_of(definition: Definition) -> Subject:
    """What a definition is about; a relation may have a declaration and several rules."""
    match definition:
        case ast.TypeDeclaration(name):
            return "type", name
        case ast.ParameterDeclaration(name):
            return "param", name
        case ast.RelationDeclaration(name):
            return "relation", name
        case ast.Rule(head):
            return "relation", head.relation


def _used(node: object) -> frozenset[Subject]:
    found: set[Subject] = set()
    for part in nodes(node):
        match part:
            case ast.Atom(relation):
                found.add(("relation", relation))
            case ast.Parameter(name):
                found.add(("param", name))
            case ast.TypeDeclaration(base=kind):
                found.add(("type", kind))
            case (
                ast.ColumnDeclaration(type=kind)
                | ast.ParameterDeclaration(type=kind)
                | ast.MetaDeclaration(type=kind)
            ):
                found.add(("type", kind))
    return frozenset(found)
