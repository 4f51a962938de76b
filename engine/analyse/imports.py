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
from tcrules.grammar.molds import parts_of
from tcrules.grammar.parser import parse
from tcrules.grammar.records import dataclass

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
    """All files that could be parsed, imported ones first; `sources` are their texts, for rendering."""

    programs: tuple[SourceProgram, ...]
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]

    @property
    def failed(self) -> bool:
        """Something could not be read or parsed."""
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)


def load(paths: Iterable[str], find: Finder) -> Loaded:
    """Read the files at `paths` and their imports."""
    loader = _Loader(find)
    for path in paths:
        source = find(path, None)
        if source is None:
            loader.faults.error("TCR212", f"cannot read `{path}`", Span(path, 0, 0, 1, 1))
            loader.sources.setdefault(path, "")
        else:
            loader.visit(source)
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
                try:
                    text = candidate.read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError):
                    return None
                return Source(os.path.normpath(candidate), text)
        return None

    return find


class _Loader:
    def __init__(self, find: Finder) -> None:
        self.find = find
        self.faults = Faults()
        self.parsed: list[Diagnostic] = []
        self.programs: list[SourceProgram] = []
        self.sources: dict[str, str] = {}
        self.open: list[str] = []

    def result(self) -> Loaded:
        return Loaded(tuple(self.programs), (*self.parsed, *self.faults.sorted()), self.sources)

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
        found = self.find(statement.path, importer)
        if found is None:
            mend = "a path is relative to this file; a bare name may be a shipped rule file"
            self.faults.error("TCR212", f"cannot find `{statement.path}`", statement.span, mend=mend)
        elif found.name in self.open:
            cycle = " -> ".join([*self.open[self.open.index(found.name) :], found.name])
            notes = (f"the cycle: {cycle}",)
            self.faults.error("TCR213", f"`{statement.path}` imports itself", statement.span, notes=notes)
        else:
            self.visit(found)
