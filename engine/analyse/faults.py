"""Collects the diagnostics of all passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.grammar.diagnostics import CODES, Diagnostic, Label, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.grammar.ast import Span
    from tcrules.grammar.diagnostics import Severity


class Faults:
    """A growing list of diagnostics; the same fault at the same place is kept once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, Span | None], Diagnostic] = {}

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        text: str = "",
        *,
        more: Iterable[tuple[Span, str]] = (),
        notes: tuple[str, ...] = (),
        mend: str | None = None,
    ) -> None:
        """Add an error at `span`; `more` are further labelled places, `mend` says how to repair it."""
        self._add("error", code, message, span, text, more, notes, mend)

    def warning(
        self,
        code: str,
        message: str,
        span: Span,
        text: str = "",
        mend: str | None = None,
        *,
        more: Iterable[tuple[Span, str]] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        """Add a warning at `span`; the rest as in `error`."""
        self._add("warning", code, message, span, text, more, notes, mend)

    def _add(
        self,
        severity: Severity,
        code: str,
        message: str,
        span: Span,
        text: str,
        more: Iterable[tuple[Span, str]],
        notes: tuple[str, ...],
        mend: str | None,
    ) -> None:
        assert code in CODES, code
        labels = (Label(span, text), *(Label(place, said) for place, said in more))
        self._found.setdefault(
            (code, message, span), Diagnostic(code, severity, message, labels, notes, mend)
        )

    def add(self, other: Faults) -> None:
        """Add what another list has."""
        self._found = {**other._found, **self._found}

    def within(self, span: Span) -> bool:
        """Whether an error was reported at a place within `span`."""
        places = (f.labels[0].span for f in self._found.values() if f.severity == "error")
        return any(p.source == span.source and span.start <= p.start and p.end <= span.end for p in places)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """All diagnostics by place."""

        def place(found: Diagnostic) -> tuple[str, int, str, str]:
            span = found.labels[0].span
            return (span.source, span.start, found.code, found.message)

        return tuple(sorted(self._found.values(), key=place))


def suggest(word: str, candidates: Iterable[str], mark: str = "") -> str | None:
    """A help line that names the most similar candidate, or None; `mark` is what such names begin with.

    >>> suggest("bachward", ["backward", "forward"])
    'did you mean `backward`?'
    """
    close = did_you_mean(word, candidates)
    return f"did you mean `{mark}{close}`?" if close else None


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "column"), counted(2, "column")
    ('1 column', '2 columns')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
