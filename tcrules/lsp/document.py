"""What analysis says about one file, with the texts of open files in place of those on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine.analyse import Finder, Source, analyse, find_files, load
from tcrules.grammar.diagnostics import Diagnostic, TcrError
from tcrules.grammar.parser import parse_tests
from tcrules.instrument.schema import BY_NAME, TYPES
from tcrules.lsp.occurrences import occurrences
from tcrules.names import Names, relations_of
from tcrules.rules.catalogue import library_paths, shipped_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.ir import Program

#: Faults that may come from not reading the shipped library, which `check` reads besides a file.
_UNKNOWN = frozenset({"TCR201", "TCR208", "TCR401"})


@dataclass(frozen=True, slots=True)
class Document:
    """A file as far as it is understood.

    Attributes:
        name: its path.
        text: as it is in the editor.
        diagnostics: faults of this file.
        program: the rules of this file and of what it imports; None where something is faulty.
        sources: texts of all files that were read, by path.
    """

    name: str
    text: str
    diagnostics: tuple[Diagnostic, ...]
    program: Program | None
    sources: Mapping[str, str]


def understand(name: str, texts: Mapping[str, str]) -> Document:
    """Analyse the file `name`; `texts` are those of open files, by path."""
    name = os.path.normpath(name)
    if name.endswith(".tcr-test"):
        return _tests(name, texts[name])
    alone = _analysed(name, texts, ())
    if any(fault.code in _UNKNOWN for fault in alone.diagnostics):
        library = [os.path.normpath(path) for path in library_paths()]
        if name not in library:
            together = _analysed(name, texts, library)
            if len(together.diagnostics) < len(alone.diagnostics):
                return together
    return alone


def _analysed(name: str, texts: Mapping[str, str], more: Sequence[str]) -> Document:
    files = load([*more, name], _finder(texts))
    analysis = analyse(files.programs)
    faults = [*files.diagnostics, *analysis.diagnostics]
    own = tuple(fault for fault in faults if fault.labels and fault.labels[0].span.source == name)
    program = None if files.failed else analysis.program
    return Document(name, texts[name], own, program, files.sources)


def _tests(name: str, text: str) -> Document:
    faults: tuple[Diagnostic, ...] = ()
    try:
        parse_tests(text, name)
    except TcrError as error:
        faults = error.diagnostics
    return Document(name, text, faults, None, {name: text})


def _finder(texts: Mapping[str, str]) -> Finder:
    on_disk = find_files(shipped_file)

    def find(path: str, importer: str | None) -> Source | None:
        near = os.path.normpath(os.path.join(os.path.dirname(importer or ""), path))
        if near in texts:
            return Source(near, texts[near])
        return on_disk(path, importer)

    return find


def names_of(document: Document) -> Names:
    """What a text may speak of; while it is faulty, what its words and the schema tell."""
    if document.program is not None:
        relations = relations_of(document.program.predicates.values())
    else:
        relations = {name: relation.column_names() for name, relation in BY_NAME.items()}
        for text in document.sources.values():
            for found in occurrences(text):
                if found.kind == "relation" and found.defines:
                    relations.setdefault(found.name, ())
                elif found.kind == "column":
                    known = relations.get(found.owner, ())
                    if found.owner not in BY_NAME and found.name not in known:
                        relations[found.owner] = (*known, found.name)
    everything = [found for text in document.sources.values() for found in occurrences(text) if found.defines]
    parameters = dict.fromkeys(found.name for found in everything if found.kind == "parameter")
    types = dict.fromkeys([*TYPES, *(found.name for found in everything if found.kind == "type")])
    return Names(relations, tuple(parameters), tuple(types))
