"""Which rules to check: files, the shipped library, a selection by id or tag, values of parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tcrules.engine.analyse import SourceProgram, analyse, find_files, load
from tcrules.grammar import ast
from tcrules.grammar.diagnostics import TcrError, did_you_mean
from tcrules.grammar.parser import parse_literals
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.catalogue import library_paths, shipped_file
from tcrules.rules.loading import load_rules, shipped_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tcrules.engine.ir import Invariant, Program, Value
    from tcrules.instrument.schema import Relation

#: Name of a query in diagnostics.
QUERY = "<query>"


class SelectionError(Exception):
    """No rule remains to be checked.

    Attributes:
        message: why.
        help: how to mend it; may be empty.
    """

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(f"{message}\nhelp: {help}" if help else message)
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules to check a run against.

    Attributes:
        rules: rule files of the user.
        library: the shipped library is checked, too.
        only: ids and tags; empty means all.
        parameters: values for `param` declarations; as constants, they have a place.
        texts: what the constants were read from, by the name in their places.
    """

    rules: tuple[Path, ...] = ()
    library: bool = True
    only: tuple[str, ...] = ()
    parameters: Mapping[str, Value | ast.Constant] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def load_selection(selection: Selection) -> Program:
    """The program of a selection; only the selected invariants remain in it.

    Raises:
        TcrError: the files have faults; it carries all of them.
        SelectionError: nothing is selected.
    """
    chosen, library = selection.rules, selection.library
    rules = load_rules(chosen, library=library, parameters=selection.parameters, texts=selection.texts)
    return replace(rules.program, invariants=_selected(rules.program.invariants, selection.only))


def needed(program: Program) -> frozenset[str]:
    """The recorded relations that the rules read: what must be recorded to check them."""
    return frozenset().union(*(rule.needs | rule.watched for rule in program.invariants))


def load_query(
    body: str, selection: Selection, own: Mapping[str, Relation] | None = None
) -> tuple[Program, Invariant]:
    """The program of a selection, and the literals of `body` as an invariant whose every binding is a violation.

    `own` are relations of the run that is asked: they need no declaration.

    Raises:
        TcrError: the files or the query have faults.
    """
    literals = parse_literals(body, QUERY)
    query = ast.Invariant("query", literals, ((ast.Test(ast.Constant(False)),),), message="query")
    paths = [*(library_paths() if selection.library else ()), *selection.rules]
    files = load([str(path) for path in paths], find_files(shipped_file))
    elsewhere = () if selection.library else shipped_ids(files.programs)
    programs = [*files.programs, SourceProgram(QUERY, ast.Program((query,)))]
    known = {**BY_NAME, **_undeclared(own or {}, files.programs)}
    analysis = analyse(programs, selection.parameters, elsewhere, recorded=known)
    if files.failed or analysis.program is None:
        raise TcrError(
            (*files.diagnostics, *analysis.diagnostics), {**selection.texts, **files.sources, QUERY: body}
        )
    return analysis.program, next(i for i in analysis.program.invariants if i.id == query.id)


def _undeclared(own: Mapping[str, Relation], programs: Iterable[SourceProgram]) -> dict[str, Relation]:
    """Relations that the files neither declare nor derive."""
    statements = [statement for source in programs for statement in source.program.statements]
    meant = {s.name for s in statements if isinstance(s, ast.RelationDeclaration)}
    meant |= {s.head.relation for s in statements if isinstance(s, ast.Rule)}
    return {name: relation for name, relation in own.items() if name not in meant}


def _selected(invariants: Sequence[Invariant], only: Sequence[str]) -> tuple[Invariant, ...]:
    if not invariants:
        raise SelectionError(
            "there are no rules to check", "give a rule file with --rules, or use the library"
        )
    known = {name for invariant in invariants for name in (invariant.id, *invariant.tags)}
    for name in only:
        if name not in known:
            near = did_you_mean(name, known)
            mend = f"did you mean '{near}'?" if near else "`tcrules rules` lists all"
            raise SelectionError(f"there is no rule and no tag '{name}'", mend)
    chosen = set(only)
    return tuple(i for i in invariants if not chosen or i.id in chosen or chosen & set(i.tags))
