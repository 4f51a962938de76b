"""A conversation with facts: goals, rules that are added on the way, explanations. Knows no terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tcrules.engine.analyse import SourceProgram, analyse, find_files, load
from tcrules.engine.provenance import explain_violation
from tcrules.grammar import ast
from tcrules.grammar.diagnostics import TcrError
from tcrules.grammar.parser import parse, parse_literals
from tcrules.names import Names, relations_of
from tcrules.report.explaining import add_reasons, missing_graph
from tcrules.report.graph import GraphBuilder, Node
from tcrules.report.tree import as_tree
from tcrules.rules.loading import shipped_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.tree import Tree

    from tcrules.engine.ir import Fact, Invariant, Predicate, Program, Value
    from tcrules.engine.store import Store

#: Names of what was typed, in diagnostics.
TYPED, RULES = "<prompt>", "<rules>"


class Facts(Protocol):
    """Where facts come from."""

    def open(self, program: Program) -> Store:
        """A store with them; kept until rules change."""
        ...

    def prepare(self, store: Store, body: Sequence[object]) -> None:
        """Read what a body needs, where that is not done by the store."""
        ...

    def close(self, store: Store) -> None: ...


@dataclass(slots=True)
class Session:
    """Rule files, facts, and the rules that were typed.

    Args:
        paths: rule files.
        facts: what they are asked about.
        parameters: values of `param` declarations.
    """

    paths: Sequence[Path]
    facts: Facts
    parameters: Mapping[str, Value | ast.Constant] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)
    _files: tuple[SourceProgram, ...] = ()
    _sources: dict[str, str] = field(default_factory=dict)
    _program: Program | None = None
    _store: Store | None = None

    def __post_init__(self) -> None:
        from tcrules.rules.catalogue import shipped_file

        loaded = load(map(str, self.paths), find_files(shipped_file))
        self._files, self._sources = loaded.programs, dict(loaded.sources)
        if loaded.failed:
            raise TcrError(loaded.diagnostics, loaded.sources)
        self._program = self._analysed(self.typed, ())

    @property
    def program(self) -> Program:
        """All rules, typed ones too."""
        assert self._program is not None
        return self._program

    @property
    def names(self) -> Names:
        """What can be asked about, for completion."""
        return Names(relations_of(self.program.predicates.values()))

    # -------------------------------------------------------------------------------------------- asking

    def ask(self, goal: str, limit: int | None = None) -> tuple[tuple[str, ...], list[Fact]]:
        """The bindings of a goal. Raises TcrError where it is faulty."""
        query = self._query(goal)
        return self._prepared(query).query(query.each, limit)

    def explain(self, goal: str) -> Tree:
        """Why the first answer to a goal holds, or why there is none."""
        query = self._query(goal)
        store = self._prepared(query)
        _, answers = store.query(query.each, 1)
        if not answers:
            missing = missing_graph(self.program, store, query.each, goal.strip())
            assert missing is not None, "no answer, and nothing is missing"
            return as_tree(*missing)
        names = [variable.name for variable in query.variables]
        binding = dict(zip(names, answers[0], strict=True))
        proof = explain_violation(self.program, store, query, binding)
        assert proof is not None, "an answer without a proof"
        builder = GraphBuilder(self.program, store)
        root = builder.add(Node("asked", "violation", f"holds: {goal.strip()}"))
        add_reasons(builder, proof, root)
        return as_tree(builder.graph, root)

    def _query(self, goal: str) -> Invariant:
        literals = parse_literals(goal, TYPED)
        query = ast.Invariant("query", literals, ((ast.Test(ast.Constant(False)),),), message="query")
        program = self._analysed(self.typed, (SourceProgram(TYPED, ast.Program((query,))),), goal)
        return next(invariant for invariant in program.invariants if invariant.id == query.id)

    def _prepared(self, query: Invariant) -> Store:
        if self._store is None:
            self._store = self.facts.open(self.program)
        try:
            self.facts.prepare(self._store, query.each)
        except BaseException:
            self.forget_results()
            raise
        return self._store

    # -------------------------------------------------------------------------------------------- rules

    def add(self, text: str) -> tuple[Predicate, ...]:
        """Add rules or declarations; the derived relations that they speak of. Raises TcrError, and adds nothing."""
        self._program = self._analysed([*self.typed, text], (), text)
        self.typed.append(text)
        self.forget_results()
        heads = {s.head.relation for s in self._parsed([text]).statements if isinstance(s, ast.Rule)}
        return tuple(self.program.predicates[name] for name in sorted(heads))

    def forget(self) -> None:
        """Forget all rules that were typed."""
        self.typed.clear()
        self._program = self._analysed((), ())
        self.forget_results()

    def forget_results(self) -> None:
        """Drop what was derived, as after a query that was broken off."""
        if self._store is not None:
            self.facts.close(self._store)
            self._store = None

    def _parsed(self, texts: Sequence[str]) -> ast.Program:
        text = "\n".join(texts)
        parsed = parse(text, RULES)
        if parsed.program is None:
            raise TcrError(parsed.diagnostics, {RULES: text})
        return parsed.program

    def _analysed(self, typed: Sequence[str], more: tuple[SourceProgram, ...], text: str = "") -> Program:
        own = self._parsed(typed)
        programs = [*self._files, SourceProgram(RULES, own), *more]
        analysis = analyse(programs, self.parameters, shipped_ids(programs))
        if analysis.program is None:
            raise TcrError(analysis.diagnostics, {**self._sources, RULES: "\n".join(typed), TYPED: text})
        return analysis.program
