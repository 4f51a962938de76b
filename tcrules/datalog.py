"""Rules over facts in files: what `tcrules query --facts` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine.analyse import SourceProgram, analyse, find_files, load
from tcrules.engine.files.faults import FileFault, FileFaults
from tcrules.engine.files.read import find, read_relation
from tcrules.engine.ir import Any_, Atom
from tcrules.engine.reads import dependencies
from tcrules.grammar import ast
from tcrules.grammar.diagnostics import Diagnostic, Label, TcrError, did_you_mean
from tcrules.grammar.parser import parse_literals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tcrules.engine.files.layout import Column
    from tcrules.engine.ir import Body, Predicate, Program, Value
    from tcrules.engine.vector import VectorStore

#: Name of a goal in diagnostics.
GOAL = "<goal>"


@dataclass(frozen=True, slots=True)
class Datalog:
    """A program to run over files.

    Attributes:
        program: the analysed rules.
        results: derived relations that the file declares; all derived ones where it declares none.
        goal: the body that was asked for.
    """

    program: Program
    results: tuple[Predicate, ...]
    goal: Body | None


def load_datalog(paths: Sequence[Path], goal: str | None, parameters: Mapping[str, Value]) -> Datalog:
    """Read and analyse rule files and a goal. Raises TcrError with all faults."""
    files = load(map(str, paths), find_files())
    sources = dict(files.sources)
    programs = list(files.programs)
    if goal is not None:
        literals = parse_literals(goal, GOAL)
        query = ast.Invariant("query", literals, ((ast.Test(ast.Constant(False)),),), message="query")
        programs.append(SourceProgram(GOAL, ast.Program((query,))))
        sources[GOAL] = goal
    analysis = analyse(programs, parameters, recorded={})
    program = analysis.program
    if files.failed or program is None:
        raise TcrError((*files.diagnostics, *analysis.diagnostics), sources)
    body = next((i.each for i in program.invariants if i.id == "query"), None) if goal is not None else None
    return Datalog(program, _results(files.programs, program), body)


def _results(files: Sequence[SourceProgram], program: Program) -> tuple[Predicate, ...]:
    derived = {name: found for name, found in program.predicates.items() if not found.observed}
    declared = [
        derived[statement.name]
        for file in files
        for statement in file.program.statements
        if isinstance(statement, ast.RelationDeclaration) and statement.name in derived
    ]
    return tuple(declared or derived.values())


def chosen(datalog: Datalog, names: Sequence[str]) -> tuple[Predicate, ...]:
    """The results, or those of the given names. Raises TcrError for a name that no relation has."""
    known = datalog.program.predicates
    if not names:
        return datalog.results
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TcrError([_unknown(name, known) for name in unknown], {})
    return tuple(known[name] for name in names)


def _unknown(name: str, known: Iterable[str]) -> Diagnostic:
    near = did_you_mean(name, known)
    place = Label(ast.Span("--relation", 0, 0, 1, 1))
    return Diagnostic(
        "TCR201",
        "error",
        f"unknown relation `{name}`",
        (place,),
        (),
        f"did you mean `{near}`?" if near else None,
    )


def open_store(program: Program, folder: Path, bodies: Sequence[Body]) -> VectorStore:
    """A store with the facts of all relations that the bodies depend on. Raises FileFaults with the faults of all."""
    from tcrules.engine.optimise import optimised
    from tcrules.engine.vector import VectorStore

    store = VectorStore(optimised(program))
    needed = observed(program, bodies)
    read = read_files(folder, needed)
    for predicate in needed:
        store.load(predicate, read.pop(predicate.name))  # the arrays are not needed twice
    return store


def observed(program: Program, bodies: Sequence[Body]) -> list[Predicate]:
    """The relations without rules that the bodies depend on."""
    found = [program.predicates[name] for name in sorted(dependencies(program, bodies))]
    return [predicate for predicate in found if predicate.observed]


def read_files(folder: Path, needed: Sequence[Predicate]) -> dict[str, list[Column]]:
    """Columns by relation. Raises FileFaults with the faults of all files."""
    read, faults = {}, []
    for predicate in needed:
        try:
            read[predicate.name] = read_relation(find(folder, predicate.name), predicate)
        except FileFault as fault:
            faults.append(fault)
    if faults:
        raise FileFaults(faults)
    return read


def everything(predicate: Predicate) -> Body:
    """The body that reads all facts of a relation."""
    return (Atom(predicate, (Any_(),) * len(predicate.columns)),)
