"""Text to tree: `parse`, `parse_tests`, `parse_literals`.

A file is cut into statements (`scan.py`), each is parsed (`machine.py`) with the start symbol of its kind and
built (`build.py`), then comments find their owners (`comments.py`). Faults of all statements are collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tcrules.grammar import ast
from tcrules.grammar.diagnostics import Diagnostic, Label, TcrError
from tcrules.grammar.limits import LIMITS, Limits
from tcrules.grammar.molds import Molds, Stamp, Statements
from tcrules.grammar.records import collector_paused, dataclass
from tcrules.grammar.scan import Chunk, Source, scan
from tcrules.grammar.words import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.grammar.build import Body
    from tcrules.grammar.scan import Comment, Scan

_PROGRAM_KINDS = ("import", "type", "relation", "param", "rule", "invariant", "template", "suppress")
_TEST_KINDS = ("import", "test")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The tree of a file, or None where it has an error; warnings come beside a tree."""

    program: ast.Program | None
    diagnostics: tuple[Diagnostic, ...]


def parse(text: str, name: str, limits: Limits = LIMITS, *, molds: bool = True) -> Parsed:
    """Parse a `.tcr` file. Every input gives a result: faults are diagnostics, never exceptions.

    Statements of one outline are parsed once and built when they are looked at (`molds.py`); with `molds` off each is
    parsed by itself, with the same result.

    >>> parse("inside(X, Y) :- parent(X, Y).", "a.tcr").program.statements[0].head.relation
    'inside'
    >>> [d.code for d in parse("inside(X Y).", "a.tcr").diagnostics]
    ['TCR106']
    """
    with collector_paused():
        result = _parse_file(text, name, _PROGRAM_KINDS, limits, molds=molds)
    if result.failed:
        return Parsed(None, result.diagnostics)
    parts = cast("tuple[ast.Statement | Stamp, ...]", result.statements)
    statements: Sequence[ast.Statement] = cast("tuple[ast.Statement, ...]", parts)
    if any(isinstance(part, Stamp) for part in parts):
        statements = Statements(parts)
    return Parsed(ast.Program(statements, result.span, result.trailing), result.diagnostics)


def parse_tests(text: str, name: str) -> ast.TestFile:
    """Parse a `.tcr-test` file; raises `TcrError` with all its faults."""
    result = _parse_file(text, name, _TEST_KINDS)
    if result.failed:
        raise TcrError(result.diagnostics, {name: text})
    imports = tuple(item for item in result.statements if isinstance(item, ast.Import))
    tests = tuple(item for item in result.statements if isinstance(item, ast.TestCase))
    return ast.TestFile(imports, tests, result.span, result.trailing)


def parse_literals(text: str, name: str) -> tuple[ast.Literal, ...]:
    """Parse the body of a query, such as `lr(step: S, value: V), V > 10.0`; raises `TcrError`."""
    from tcrules.grammar.comments import attach, place

    file = _File(Source(text, name), ("query",))
    faults, comments, body = file.query()
    if faults or body is None:
        raise TcrError(faults, {name: text})
    after = place((), file.literals, comments, file.source)
    if after:
        last = body.literals[-1]
        attach(last, (*last.comments, *after))
    return body.literals


@dataclass(frozen=True, slots=True)
class _Result:
    statements: tuple[object, ...]
    trailing: tuple[str, ...]
    span: ast.Span
    diagnostics: tuple[Diagnostic, ...]

    @property
    def failed(self) -> bool:
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)


def _parse_file(
    text: str, name: str, kinds: tuple[str, ...], limits: Limits = LIMITS, *, molds: bool = False
) -> _Result:
    file = _File(Source(text, name), kinds, limits)
    span = file.source.span(0, len(text))
    unusable = file.unusable()
    if unusable:
        return _Result((), (), span, tuple(unusable))
    scanned = scan(file.source, limits, outlines=molds)
    statements = file.statements(scanned)
    diagnostics = sorted([*scanned.diagnostics, *file.diagnostics], key=_position)
    trailing: tuple[str, ...] = ()
    if not any(item.severity == "error" for item in diagnostics):
        from tcrules.grammar.comments import place

        tops = cast("list[ast.Statement | ast.TestCase | Stamp]", statements)
        trailing = place(tops, file.literals, scanned.comments, file.source)
    return _Result(tuple(statements), trailing, span, _limited(diagnostics, limits.errors))


class _File:
    """One file on its way: its faults and the literals that may own comments."""

    def __init__(self, source: Source, kinds: tuple[str, ...], limits: Limits = LIMITS) -> None:
        self.source = source
        self.limits = limits
        self.kinds = kinds
        self.diagnostics: list[Diagnostic] = []
        self.literals: list[ast.Literal] = []
        self.molds = Molds(self.alone)

    def unusable(self) -> list[Diagnostic]:
        """The fault of a text that is not worth reading."""
        if len(self.source.text) <= self.limits.characters:
            return []
        label = Label(self.source.span(0, 0), f"{len(self.source.text):,} characters")
        help = "split it; is this a rule file at all?"
        message = f"file too large: the limit is {self.limits.characters:,} characters"
        return [Diagnostic("TCR117", "error", message, (label,), (), help)]

    def statements(self, scanned: Scan) -> list[object]:
        """Parse every statement that the scan has not already refused."""
        found = []
        errors = len(scanned.diagnostics)
        for chunk in scanned.chunks:
            if chunk.broken:
                continue
            if len(self.diagnostics) + errors > self.limits.errors:
                break
            statement = self.statement(chunk)
            if statement is not None:
                found.append(statement)
        return found

    def statement(self, chunk: Chunk) -> object | None:
        """Parse one statement; None where it has an error."""
        from tcrules.grammar.build_statements import StatementBuilder
        from tcrules.grammar.machine import Unfit, run

        if chunk.kind not in self.kinds:
            self.diagnostics.append(self.misplaced(chunk))
            return None
        if chunk.outline is not None:
            stamp = self.molds.stamp(chunk.outline, self.source.span(chunk.start, chunk.end))
            if stamp is not None:
                return stamp
        text = self.source.text[chunk.start : chunk.end]
        builder = StatementBuilder(self.source, chunk.start)
        start = chunk.kind if chunk.kind == "query" else f"{chunk.kind}_statement"
        try:
            statement = run(text, start, builder)
        except Unfit:
            self.diagnostics.append(self.syntax_fault(text, start, chunk))
            return None
        self.diagnostics += builder.diagnostics or _too_much(statement, chunk, self.source, self.limits.depth)
        self.literals += builder.hosts
        return statement

    def alone(self, text: str, name: str) -> ast.Statement | None:
        """The tree of one statement in a source of its own, None where it has faults."""
        kind = "invariant" if text.startswith("invariant") else "rule"
        file = _File(Source(text, name), (kind,), self.limits)
        statement = file.statement(Chunk(kind, 0, len(text)))
        return None if file.diagnostics else cast("ast.Statement", statement)

    def syntax_fault(self, text: str, start: str, chunk: Chunk) -> Diagnostic:
        """What is wrong with a text that the machine refused, as lark sees it."""
        from lark.exceptions import UnexpectedInput
        from tcrules.grammar.explain import explain
        from tcrules.grammar.tables import lark

        try:
            lark().parse(text, start=start)
        except UnexpectedInput as fault:
            return explain(fault, chunk, self.source)
        raise AssertionError("lark accepts what its tables refuse")

    def query(self) -> tuple[list[Diagnostic], list[Comment], Body | None]:
        """Parse the whole file as a query."""
        faults = self.unusable()
        if faults:
            return faults, [], None
        scanned = scan(self.source)
        faults = [item for item in scanned.diagnostics if item.severity == "error"]
        if faults:
            return faults, [], None
        start = 1 if self.source.text.startswith("\ufeff") else 0
        body = self.statement(Chunk("query", start, len(self.source.text)))
        return self.diagnostics, scanned.comments, cast("Body | None", body)

    def misplaced(self, chunk: Chunk) -> Diagnostic:
        """The fault of a statement in the wrong kind of file."""
        span = self.source.span(chunk.start, min(chunk.end, chunk.start + len(chunk.kind)))
        message = f"`{chunk.kind}` does not belong in this file"
        help = "tests stand in a `.tcr-test` file of their own"
        if "test" in self.kinds:
            message = "a test file consists of `import` and `test` only"
            help = "state facts inside of `facts { … }` of a test; rules stand in a `.tcr` file"
        return Diagnostic("TCR118", "error", message, (Label(span),), (), help)


def _too_much(statement: object, chunk: Chunk, source: Source, deepest: int) -> list[Diagnostic]:
    """Faults of a tree that only the whole shows: depth, and the one integer that fits only below a minus.

    Operator chains nest without brackets, so the depth must be counted here, and without recursion.
    """
    pending: list[tuple[object, int]] = [(statement, 0)]
    while pending:
        node, depth = pending.pop()
        if depth > deepest:
            label = Label(source.span(chunk.start, chunk.end), "in this statement")
            help = "give parts of it a name: `A = …, B = A + …`"
            message = f"nested too deeply: the limit is {deepest} levels"
            return [Diagnostic("TCR116", "error", message, (label,), (), help)]
        if isinstance(node, tuple):
            pending += [(item, depth) for item in node]
        elif isinstance(node, ast.Constant):
            if not isinstance(node.value, str | float) and node.value > INT_MAX:
                label = Label(node.span, "integers have 64 bits")
                return [Diagnostic("TCR113", "error", "integer out of range", (label,))]
        elif hasattr(node, "__match_args__") and not isinstance(node, ast.Span):
            pending += [(getattr(node, name), depth + 1) for name in node.__match_args__]
    return []


def _position(diagnostic: Diagnostic) -> int:
    return diagnostic.labels[0].span.start if diagnostic.labels else 0


def _limited(diagnostics: list[Diagnostic], most: int) -> tuple[Diagnostic, ...]:
    if len(diagnostics) <= most:
        return tuple(diagnostics)
    message = f"too many errors: only the first {most} are shown"
    last = Diagnostic("TCR121", "error", message, diagnostics[most].labels)
    return (*diagnostics[:most], last)
