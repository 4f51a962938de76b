"""Reads rule files and what they import, each once, what is imported first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.analyse.faults import Faults
from tcrules.engine.analyse.symbols import SourceProgram
from tcrules.grammar import ast
from tcrules.grammar.ast import Span
from tcrules.grammar.limits import LIMITS
from tcrules.grammar.molds import parts_of
from tcrules.grammar.parser import parse
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from tcrules.grammar.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a rule file; `name` is the same however the file was reached."""

    name: str
    text: str


#: Finds a file by the path that was written, and the name of the importing file (None: given by the user).
Finder: TypeAlias = Callable[[str, str | None], Source | None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """All files that could be parsed, imported ones first; `sources` are their texts, for rendering.

    `imports` are the names of imported files, by the importing file and what it writes.
    """

    programs: tuple[SourceProgram, ...]
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    imports: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Something could not be read or parsed."""
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)


def load(paths: Iterable[str], find: Finder) -> Loaded:
    """Read the files at `paths` and their imports."""
    loader = _Loader(find)
    for path in paths:
        loader.start(path)
    return loader.result()


def load_text(text: str, name: str = "<text>", find: Finder | None = None) -> Loaded:
    """Parse a text and what it imports; without `find` nothing can be imported."""
    loader = _Loader(find or _find_nothing)
    loader.visit(Source(name, text))
    return loader.result()


def _find_nothing(_path: str, _importer: str | None) -> Source | None:
    return None


def find_files(library: Callable[[str], Path | None] | None = None) -> Finder:
    """A finder over the file system: relative to the importing file, else bare names by `library`."""

    def find(path: str, importer: str | None) -> Source | None:
        base = Path(importer).parent if importer is not None else Path()
        candidates = [base / path]
        if library is not None and Path(path).name == path:
            shipped = library(path)
            candidates += [shipped] if shipped is not None else []
        for candidate in candidates:
            if candidate.is_file():
                return Source(os.path.normpath(candidate), rule_text(candidate))
        return None

    return find


class Unreadable(Exception):
    """A rule file that is there and cannot be read; says why."""


def rule_text(path: Path) -> str:
    """The text of a rule file.

    Raises:
        Unreadable: it is too large, no text, or the system refuses it.
    """
    try:
        if path.stat().st_size > 4 * LIMITS.characters:
            raise Unreadable(f"it has more than {LIMITS.characters:,} characters")
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Unreadable("it is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"byte 0x{data[error.start]:02x} in line {line} is not UTF-8") from error


class _Loader:
    def __init__(self, find: Finder) -> None:
        self.find = find
        self.faults = Faults()
        self.parsed: list[Diagnostic] = []
        self.programs: list[SourceProgram] = []
        self.sources: dict[str, str] = {}
        self.open: list[str] = []
        self.imports: dict[tuple[str, str], str] = {}

    def result(self) -> Loaded:
        return Loaded(tuple(self.programs), (*self.parsed, *self.faults.sorted()), self.sources, self.imports)

    def start(self, path: str) -> None:
        """Read a file that the user named."""
        source = self._find(path, None, Span(path, 0, 0, 1, 1), "there is no such file")
        if source is None:
            self.sources.setdefault(path, "")
        else:
            self.visit(source)

    def _find(self, path: str, importer: str | None, span: Span, mend: str) -> Source | None:
        """The source; None where it cannot be read, which is reported."""
        why, found = "", None
        try:
            found = self.find(path, importer)
        except Unreadable as error:
            why = f": {error}"
        if found is None:
            verb = "read" if why or importer is None else "find"
            self.faults.error("TCR212", f"cannot {verb} `{path}`{why}", span, mend=None if why else mend)
        return found

    def visit(self, source: Source) -> None:
        """Parse a source unless that was done, after everything that it imports."""
        if source.name in self.sources:
            return
        self.sources[source.name] = source.text
        parsed = parse(source.text, source.name)
        self.parsed += parsed.diagnostics
        if parsed.program is None:
            return
        self.open.append(source.name)
        for statement in parts_of(parsed.program.statements):
            if isinstance(statement, ast.Import):
                self._import(statement, source.name)
        self.open.pop()
        self.programs.append(SourceProgram(source.name, parsed.program))

    def _import(self, statement: ast.Import, importer: str) -> None:
        mend = "a path is relative to this file; a bare name may be a shipped rule file"
        found = self._find(statement.path, importer, statement.span, mend)
        if found is not None:
            self.imports[importer, statement.path] = found.name
        if found is None or (found.name in self.sources and found.name not in self.open):
            return
        if max(len(self.open) / LIMITS.imports, len(self.sources) / LIMITS.files) >= 1:
            message = f"too many imports: at most {LIMITS.files} files, {LIMITS.imports} deep"
            self.faults.error("TCR219", message, statement.span)
        elif found.name in self.open:
            cycle = " -> ".join([*self.open[self.open.index(found.name) :], found.name])
            notes = (f"the cycle: {cycle}",)
            self.faults.error("TCR213", f"`{statement.path}` imports itself", statement.span, notes=notes)
        else:
            self.visit(found)
