"""The language server over standard input and output: LSP to the functions of this package and back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from tcrules import __version__
from tcrules.lsp import answers
from tcrules.lsp.document import Document, understand

if TYPE_CHECKING:
    from tcrules.grammar.ast import Span
    from tcrules.grammar.diagnostics import Diagnostic
    from tcrules.lsp.answers import Place

SERVER = LanguageServer("tcrules", __version__)
_KINDS = {
    "relation": types.CompletionItemKind.Class,
    "column": types.CompletionItemKind.Field,
    "variable": types.CompletionItemKind.Variable,
    "parameter": types.CompletionItemKind.Constant,
    "function": types.CompletionItemKind.Function,
    "aggregate": types.CompletionItemKind.Function,
    "keyword": types.CompletionItemKind.Keyword,
    "constant": types.CompletionItemKind.Value,
}
_SYMBOLS = {
    "relation": types.SymbolKind.Class,
    "rule": types.SymbolKind.Event,
    "parameter": types.SymbolKind.Constant,
    "type": types.SymbolKind.TypeParameter,
}


# ------------------------------------------------------------------------------------------------ places


def _path(uri: str) -> str:
    """The path of a document; one that was never saved has its address as name."""
    path = to_fs_path(uri) if urlparse(uri).scheme == "file" else None
    return os.path.normpath(path or uri)


def _texts() -> dict[str, str]:
    return {_path(uri): document.source for uri, document in SERVER.workspace.text_documents.items()}


def _document(uri: str) -> Document:
    return understand(_path(uri), _texts())


def _uri(file: str) -> str:
    for uri in SERVER.workspace.text_documents:
        if _path(uri) == file:
            return str(uri)
    return str(from_fs_path(os.path.abspath(file)))


def _range(text: str, start: int, end: int) -> types.Range:
    """Offsets as lines and characters, in the unit that the client counts in."""
    lines = [f"{line}\n" for line in text.split("\n")]
    codec = SERVER.workspace.position_codec
    positions = [codec.position_to_client_units(lines, _position(text, offset)) for offset in (start, end)]
    return types.Range(*positions)


def _position(text: str, offset: int) -> types.Position:
    before = text[:offset]
    return types.Position(before.count("\n"), len(before) - before.rfind("\n") - 1)


def _offset(uri: str, position: types.Position) -> int:
    lines = [f"{line}\n" for line in SERVER.workspace.get_text_document(uri).source.split("\n")]
    at = SERVER.workspace.position_codec.position_from_client_units(lines, position)
    return sum(map(len, lines[: at.line])) + int(at.character)


def _location(document: Document, place: Place) -> types.Location:
    text = document.sources.get(place.file, _texts().get(place.file, ""))
    return types.Location(_uri(place.file), _range(text, place.start, place.end))


# ------------------------------------------------------------------------------------------------ diagnostics


@SERVER.feature(types.TEXT_DOCUMENT_DID_OPEN)
def _opened(_: LanguageServer, __: types.DidOpenTextDocumentParams) -> None:
    _publish()


@SERVER.feature(types.TEXT_DOCUMENT_DID_CHANGE)
def _changed(_: LanguageServer, __: types.DidChangeTextDocumentParams) -> None:
    _publish()


@SERVER.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def _closed(server: LanguageServer, given: types.DidCloseTextDocumentParams) -> None:
    empty = types.PublishDiagnosticsParams(given.text_document.uri, [])
    server.text_document_publish_diagnostics(empty)


def _publish() -> None:
    """Diagnostics of all open files: a change of one may mend or break those that import it."""
    for uri, document in SERVER.workspace.text_documents.items():
        found = [_diagnostic(document.source, fault) for fault in _document(uri).diagnostics]
        SERVER.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found))


def _diagnostic(text: str, fault: Diagnostic) -> types.Diagnostic:
    more = [*([fault.labels[0].text] if fault.labels[0].text else []), *fault.notes]
    more += [f"help: {fault.help}"] if fault.help else []
    severity = (
        types.DiagnosticSeverity.Error if fault.severity == "error" else types.DiagnosticSeverity.Warning
    )
    return types.Diagnostic(
        range=_span(text, fault.labels[0].span),
        message="\n".join([fault.message, *more]),
        severity=severity,
        code=fault.code,
        source="tcrules",
    )


def _span(text: str, span: Span) -> types.Range:
    return _range(text, span.start, max(span.end, min(span.start + 1, len(text))))


# ------------------------------------------------------------------------------------------------ questions


@SERVER.feature(types.TEXT_DOCUMENT_HOVER)
def _hover(_: LanguageServer, given: types.HoverParams) -> types.Hover | None:
    document = _document(given.text_document.uri)
    found = answers.hover(document, _offset(given.text_document.uri, given.position))
    if found is None:
        return None
    text, name = found
    place = _range(document.text, name.start, name.end)
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text), place)


@SERVER.feature(
    types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=["(", ",", " ", "$", "?"])
)
def _complete(_: LanguageServer, given: types.CompletionParams) -> types.CompletionList:
    document = _document(given.text_document.uri)
    offset = _offset(given.text_document.uri, given.position)
    items = [
        types.CompletionItem(
            label=found.text.strip(" :("),
            kind=_KINDS[found.kind],
            detail=found.kind,
            text_edit=types.TextEdit(_range(document.text, offset - found.length, offset), found.text),
        )
        for found in answers.completions(document, offset)
    ]
    return types.CompletionList(is_incomplete=False, items=items)


@SERVER.feature(types.TEXT_DOCUMENT_DEFINITION)
def _definition(_: LanguageServer, given: types.DefinitionParams) -> list[types.Location]:
    document = _document(given.text_document.uri)
    offset = _offset(given.text_document.uri, given.position)
    return [_location(document, place) for place in answers.definition(document, offset)]


@SERVER.feature(types.TEXT_DOCUMENT_RENAME)
def _rename(_: LanguageServer, given: types.RenameParams) -> types.WorkspaceEdit:
    document = _document(given.text_document.uri)
    offset = _offset(given.text_document.uri, given.position)
    try:
        places = answers.rename(document, offset, given.new_name, _texts())
    except answers.RenameRefused as refused:
        raise JsonRpcInvalidParams(str(refused)) from None
    changes: dict[str, list[types.TextEdit]] = {}
    for place in places:
        location = _location(document, place)
        changes.setdefault(location.uri, []).append(types.TextEdit(location.range, given.new_name))
    return types.WorkspaceEdit(changes=changes)


@SERVER.feature(types.TEXT_DOCUMENT_FORMATTING)
def _format(_: LanguageServer, given: types.DocumentFormattingParams) -> list[types.TextEdit] | None:
    document = _document(given.text_document.uri)
    text = answers.formatted(document)
    if text is None or text == document.text:
        return None
    return [types.TextEdit(_range(document.text, 0, len(document.text)), text)]


@SERVER.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def _symbols(_: LanguageServer, given: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    document = _document(given.text_document.uri)
    found = []
    for name in answers.outline(document):
        place = _range(document.text, name.start, name.end)
        found.append(types.DocumentSymbol(name.name, _SYMBOLS[name.kind], place, place))
    return found


def main() -> None:
    """Serve until the client leaves."""
    SERVER.start_io()
