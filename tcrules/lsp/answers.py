"""What an editor asks about a place in a text: meaning, definition, other names, layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine.ir import Var
from tcrules.engine.values import FUNCTIONS
from tcrules.grammar.diagnostics import TcrError
from tcrules.grammar.parser import parse, parse_tests
from tcrules.grammar.printer import print_program, print_tests
from tcrules.instrument.schema import BY_NAME
from tcrules.lsp.document import Document, names_of
from tcrules.lsp.occurrences import Occurrence, at, occurrences, same
from tcrules.names import Completion, complete
from tcrules.rules.catalogue import LIBRARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcrules.engine import ir
    from tcrules.engine.ir import Predicate

_LOWER = re.compile(r"[a-z][a-z0-9_]*")
_UPPER = re.compile(r"[A-Z][A-Za-z0-9_]*")
_RULE = re.compile(r"[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*")
_FORMS = {"variable": _UPPER, "metavariable": _UPPER, "rule": _RULE}
_RESERVED = frozenset({"not", "true", "false", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Place:
    """A range of characters in a file."""

    file: str
    start: int
    end: int


class RenameRefused(Exception):
    """A name cannot be changed to another one; the text says why."""


# ------------------------------------------------------------------------------------------------ hover


def hover(document: Document, offset: int) -> tuple[str, Occurrence] | None:
    """What a name means, as Markdown."""
    found = at(document.text, offset)
    if found is None:
        return None
    text = _HOVERS[found.kind](document, found)
    return (text, found) if text else None


def _relation(document: Document, found: Occurrence) -> str:
    predicate = document.program.predicates.get(found.name) if document.program is not None else None
    known = BY_NAME.get(found.name)
    if predicate is None and known is None:
        return _documentation(document, found)
    if predicate is not None:
        title = _signature(predicate)
    else:
        assert known is not None
        title = f"{known.name}({', '.join(f'{c.name}: {c.type}' for c in known.columns)})"
    parts = [f"```tcr\n{title}\n```"]
    if known is not None:
        parts.append(known.doc)
        parts.append(
            "\n".join(f"- `{c.name}`: {c.type}{f' – {c.doc}' if c.doc else ''}" for c in known.columns)
        )
    else:
        parts.append(_documentation(document, found))
    return "\n\n".join(part for part in parts if part)


def _signature(predicate: Predicate) -> str:
    columns = ", ".join(
        column.type.name if column.name.startswith("$") else f"{column.name}: {column.type.name}"
        for column in predicate.columns
    )
    return f"{predicate.name}({columns})"


def _column(document: Document, found: Occurrence) -> str:
    known = BY_NAME.get(found.owner)
    column = next((c for c in known.columns if c.name == found.name), None) if known is not None else None
    if column is not None:
        return f"`{found.name}`: **{column.type}** of `{found.owner}`" + (
            f"\n\n{column.doc}" if column.doc else ""
        )
    if document.program is not None and found.owner in document.program.predicates:
        for declared in document.program.predicates[found.owner].columns:
            if declared.name == found.name:
                return f"`{found.name}`: **{declared.type.name}** of `{found.owner}`"
    return ""


def _variable(document: Document, found: Occurrence) -> str:
    mark = "?" if found.kind == "metavariable" else ""
    for name, kind in _types(document, found.start):
        if name == mark + found.name:
            return f"`{name}`: **{kind}**"
    return ""


def _types(document: Document, offset: int) -> Iterator[tuple[str, str]]:
    """Variables with their types, of the statement around an offset."""
    program = document.program
    if program is None:
        return
    statements: list[ir.Rule | ir.Invariant] = [
        *(rule for stratum in program.strata for rule in stratum.rules),
        *program.invariants,
        *(template.invariant for template in program.templates),
    ]
    for statement in statements:
        span = statement.span
        if span.source == document.name and span.start <= offset <= span.end:
            for variable in _variables(statement):
                yield variable.name.split("#")[0], variable.type.name


def _variables(node: object) -> Iterator[Var]:
    if isinstance(node, Var):
        yield node
    elif isinstance(node, tuple):
        for part in node:
            yield from _variables(part)
    else:
        for slot in getattr(node, "__slots__", ()):
            yield from _variables(getattr(node, slot))


def _function(_: Document, found: Occurrence) -> str:
    function = FUNCTIONS[found.name]
    return (
        f"```tcr\n{function.name}({', '.join(function.parameters)}): {function.result}\n```\n\n{function.doc}"
    )


def _documentation(document: Document, found: Occurrence) -> str:
    """The statement that defines a name: its `///` lines, and its first line where that says it all."""
    for place in definitions(document, found):
        text = document.sources[place.file]
        begin = text.rfind("\n", 0, place.start) + 1
        doc: list[str] = []
        for line in reversed(text[:begin].splitlines()):
            if not line.startswith("///"):
                break
            doc.insert(0, line.removeprefix("///").strip())
        head = text[begin:].split("\n", 1)[0] if found.kind in ("parameter", "type") else ""
        parts = [f"```tcr\n{head}\n```" if head else "", "\n".join(doc)]
        if any(parts):
            return "\n\n".join(part for part in parts if part)
    return ""


_HOVERS = {
    "relation": _relation,
    "column": _column,
    "variable": _variable,
    "metavariable": _variable,
    "function": _function,
    "parameter": _documentation,
    "type": _documentation,
    "rule": _documentation,
}

# ------------------------------------------------------------------------------------------------ definition, rename


def definition(document: Document, offset: int) -> list[Place]:
    """Where a name is declared; for a variable, where its statement first mentions it."""
    found = at(document.text, offset)
    return definitions(document, found) if found is not None else []


def definitions(document: Document, found: Occurrence) -> list[Place]:
    """Where the name of an occurrence is declared or, without a declaration, derived."""
    if found.kind == "variable":
        first = same(document.text, found, here=True)[0]
        return [Place(document.name, first.start, first.end)]
    places = [
        (_declared(text, other), Place(file, other.start, other.end))
        for file, text in document.sources.items()
        for other in same(text, found, here=file == document.name)
        if other.defines
    ]
    return [place for _, place in sorted(places, key=lambda entry: not entry[0])]


def _declared(text: str, found: Occurrence) -> bool:
    return found.kind != "relation" or text[: found.start].rstrip().endswith("relation")


def rename(document: Document, offset: int, new: str, texts: Mapping[str, str]) -> list[Place]:
    """All places of a name, to become `new`, in this file, what it imports and other open files.

    Raises:
        RenameRefused: the name is not the user's, or the new one would mean something else.
    """
    found = at(document.text, offset)
    if found is None or found.kind in ("function", "column"):
        raise RenameRefused("there is no name of a relation, variable, parameter, type or rule here")
    if not _FORMS.get(found.kind, _LOWER).fullmatch(new) or new in _RESERVED:
        raise RenameRefused(f"`{new}` is no name of a {found.kind}")
    files = {**texts, **document.sources}
    local = found.kind in ("variable", "metavariable")
    if local:
        files = {document.name: document.text}
    elif found.kind == "relation" and found.name in BY_NAME:
        raise RenameRefused(f"`{found.name}` is a relation of recorded runs")
    places = [
        Place(file, other.start, other.end)
        for file, text in files.items()
        for other in same(text, found, here=file == document.name)
    ]
    if any(place.file.startswith(str(LIBRARY)) for place in places):
        raise RenameRefused(f"`{found.name}` belongs to the shipped library")
    if _taken(found, new, files, document.name):
        raise RenameRefused(f"there is a {found.kind} `{new}` already")
    return places


def _taken(found: Occurrence, new: str, files: Mapping[str, str], here: str) -> bool:
    if found.kind == "relation" and (new in BY_NAME or new in FUNCTIONS):
        return True
    wanted = Occurrence(found.kind, new, 0, 0, found.statement)
    return any(same(text, wanted, here=file == here) for file, text in files.items())


# ------------------------------------------------------------------------------------------------ completion, layout


def completions(document: Document, offset: int) -> list[Completion]:
    """How the text may go on at an offset."""
    text = document.text
    here = next((found.statement for found in reversed(occurrences(text)) if found.start <= offset), 0)
    variables = [
        found.name
        for found in occurrences(text)
        if found.kind == "variable" and found.statement == here and not found.start <= offset <= found.end
    ]
    return complete(text[:offset], names_of(document), variables)


def formatted(document: Document) -> str | None:
    """The text in canonical layout; None where it has a syntax error."""
    if document.name.endswith(".tcr-test"):
        try:
            return print_tests(parse_tests(document.text, document.name))
        except TcrError:
            return None
    parsed = parse(document.text, document.name)
    return print_program(parsed.program) if parsed.program is not None else None


def outline(document: Document) -> list[Occurrence]:
    """The names that a file defines, each once."""
    first: dict[tuple[str, str], Occurrence] = {}
    for found in occurrences(document.text):
        if found.defines and found.kind not in ("column", "metavariable"):
            first.setdefault((found.kind, found.name), found)
    return list(first.values())
