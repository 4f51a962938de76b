"""Diagnostics as text with source lines and underlines, or as plain data for tools."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.grammar.ast import Span
    from tcrules.grammar.diagnostics import Diagnostic, Label

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "blue": "\x1b[1;34m", "bold": "\x1b[1m"}
_RESET = "\x1b[0m"
_TAB = "    "
_WIDEST = 160
_LONGEST = 4000


def render(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], color: bool = False) -> str:
    """All diagnostics, each with the lines it speaks of. `sources` maps the names in spans to their texts.

    A source that is missing costs only the quoted lines.
    """
    writer = _Writer(sources, color)
    return "\n".join(writer.diagnostic(diagnostic) for diagnostic in diagnostics)


def to_json(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as JSON-ready data; lines and columns are 1-based, `start` and `end` count characters."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "labels": [
            {
                "file": label.span.source,
                "line": label.span.line,
                "column": label.span.column,
                "start": label.span.start,
                "end": label.span.end,
                "text": label.text,
            }
            for label in diagnostic.labels
        ],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
    }


class _Writer:
    """Lays out diagnostics; splits each source into lines once."""

    def __init__(self, sources: Mapping[str, str], color: bool) -> None:
        self.sources = sources
        self.color = color
        self.lines: dict[str, list[str]] = {}

    def paint(self, text: str, color: str) -> str:
        return f"{_COLORS[color]}{text}{_RESET}" if self.color and text else text

    def diagnostic(self, item: Diagnostic) -> str:
        head = self.paint(f"{item.severity}[{item.code}]", item.severity)
        out = [head + self.paint(f": {printable(item.message)}", "bold")]
        gutter = max((len(str(label.span.line)) for label in item.labels), default=1)
        for position, group in enumerate(_by_file(item.labels)):
            arrow = "-->" if position == 0 else ":::"
            out += self.file(group, item.labels[0], item.severity, gutter, arrow)
        edge = " " * gutter
        for kind, text in [
            *(("note", note) for note in item.notes),
            *((("help", item.help),) if item.help else ()),
        ]:
            first, *rest = text.split("\n")
            out.append(
                f"{edge} {self.paint('=', 'blue')} {self.paint(f'{kind}:', 'bold')} {printable(first)}"
            )
            out += [f"{edge}         {printable(line)}" for line in rest]
        return "\n".join(out) + "\n"

    def file(
        self, labels: Sequence[Label], primary: Label, severity: str, gutter: int, arrow: str
    ) -> list[str]:
        """The quoted lines of one file, in order of line; a gap between them is marked."""
        span, edge = labels[0].span, " " * gutter
        place = f"{printable(span.source)}:{span.line}:{span.column}"
        out = [f"{edge}{self.paint(arrow, 'blue')} {place}"]
        source = self.source(span.source)
        if not source:
            return out
        bar = self.paint("|", "blue")
        out.append(f"{edge} {bar}")
        last = 0
        for label in sorted(labels, key=lambda label: (label.span.line, label.span.column)):
            line = label.span.line
            if line > len(source):
                continue
            if last and line > last + 1:
                out.append(self.paint("...", "blue"))
            if line != last:
                out.append(f"{self.paint(f'{line:>{gutter}}', 'blue')} {bar} {_quoted(source[line - 1])}")
            last = line
            mark, color = ("^", severity) if label is primary else ("-", "blue")
            under = _underline(source[line - 1], label.span, mark)
            text = f" {printable(label.text)}" if label.text else ""
            out.append(f"{edge} {bar} {under[0]}{self.paint(under[1] + text, color)}")
        return out

    def source(self, name: str) -> list[str]:
        if name not in self.lines:
            text = self.sources.get(name, "")
            # Only `\n` ends a line for the parser; `str.splitlines` knows eight more marks.
            self.lines[name] = [line.removesuffix("\r") for line in text.split("\n")] if text else []
        return self.lines[name]


def _by_file(labels: Sequence[Label]) -> list[list[Label]]:
    files: dict[str, list[Label]] = {}
    for label in labels:
        files.setdefault(label.span.source, []).append(label)
    return list(files.values())


def _quoted(line: str) -> str:
    shown = printable(line[:_WIDEST])
    return (shown + " …" if len(line) > _WIDEST else shown).rstrip()


def _underline(line: str, span: Span, mark: str) -> tuple[str, str]:
    """The blanks before and the marks below a span, in terminal cells, cut at the end of its line."""
    start = min(span.column - 1, _WIDEST, len(line))
    end = min(start + max(span.end - span.start, 1), _WIDEST, max(len(line), start + 1))
    before = _width(printable(line[:start]))
    return " " * before, mark * max(_width(printable(line[start:end])), 1)


def printable(text: str) -> str:
    """`text` with tabs as blanks and what a terminal might obey as `�`; hostile text is cut."""
    cut = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return "".join(_shown(character) for character in cut)


def _shown(character: str) -> str:
    if character == "\t":
        return _TAB
    category = unicodedata.category(character)
    return "\ufffd" if category in ("Cc", "Cf", "Cs", "Zl", "Zp") else character


def _width(text: str) -> int:
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
