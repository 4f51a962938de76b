"""Turns a parser's "unexpected token" into a message that says what, where, why, and how to mend it.

Each `_…` function below recognises one kind of mistake and returns None for others; `_EXPLANATIONS` is their order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lark import UnexpectedCharacters, UnexpectedToken
from tcrules.grammar.diagnostics import Diagnostic, Label, did_you_mean
from tcrules.grammar.explain_words import CONFUSABLE, HABITS, expected_text
from tcrules.grammar.records import dataclass
from tcrules.grammar.scan import TOKEN
from tcrules.grammar.words import SECTION_WORDS, SUPPRESSION_WORDS, TEST_WORDS, VALUE_AGGREGATES

if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput
    from tcrules.grammar.ast import Span
    from tcrules.grammar.scan import Chunk, Source

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE = re.compile(r"[A-Z][A-Za-z0-9_]*")
_WORDISH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STARTS_ITEM = re.compile(r'[A-Za-z0-9_"?$]')
_ENDS_ITEM = re.compile(r'[A-Za-z0-9_)}"]\Z')
_AFTER_NAME = frozenset({"LPAR", "LBRACE", "COLON"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a parser stopped: `text` is the token there (empty at the end), `last` and `before` precede it."""

    chunk: Chunk
    source: Source
    start: int
    text: str
    last: str
    last_start: int
    before: str
    expected: frozenset[str]
    is_character: bool

    def span(self) -> Span:
        return self.source.span(self.start, self.start + max(len(self.text), 1))

    def last_span(self) -> Span:
        return self.source.span(self.last_start, self.last_start + len(self.last))

    def gap(self) -> Span:
        """Just behind the last token: where something is missing."""
        end = self.last_start + len(self.last)
        return self.source.span(max(end - 1, 0), end)

    def rest(self) -> str:
        return self.source.text[self.start : self.chunk.end][:200]


def explain(fault: UnexpectedInput, chunk: Chunk, source: Source) -> Diagnostic:
    """The message for a fault in `chunk`."""
    place = _locate(fault, chunk, source)
    for explanation in _EXPLANATIONS:
        diagnostic = explanation(place)
        if diagnostic is not None:
            return diagnostic
    return _unexpected(place)


def _locate(fault: UnexpectedInput, chunk: Chunk, source: Source) -> _Place:
    start, expected = chunk.end, frozenset[str]()
    parser = getattr(fault, "interactive_parser", None)
    if parser is not None:  # what the tables expect is more: states of the same shape are merged
        expected = frozenset(parser.accepts())
    if isinstance(fault, UnexpectedToken):
        if fault.token.type != "$END":
            start = chunk.start + (fault.token.start_pos or 0)
    elif isinstance(fault, UnexpectedCharacters):
        start = chunk.start + (fault.pos_in_stream or 0)
    last, last_start, before, text = "", chunk.start, "", ""
    for match in TOKEN.finditer(source.text, chunk.start, chunk.end):
        if match.lastgroup in ("space", "comment"):
            continue
        if match.end() > start:
            text = match.group()[max(start - match.start(), 0) :]
            break
        before, last, last_start = last, match.group(), match.start()
    return _Place(
        chunk,
        source,
        start,
        text,
        last,
        last_start,
        before,
        expected,
        isinstance(fault, UnexpectedCharacters),
    )


def _error(
    code: str, message: str, span: Span, label: str = "", help: str | None = None, *notes: str
) -> Diagnostic:
    return Diagnostic(code, "error", message, (Label(span, label),), notes, help)


# ----------------------------------------------------------------------------------------------- mistakes


def _unfinished(place: _Place) -> Diagnostic | None:
    if place.text:
        return None
    kind = place.chunk.kind
    if kind == "rule" and place.last in (",", ":-"):
        message = f"the rule ends after `{place.last}`"
        return _error("TCR101", message, place.gap(), "a literal must follow", "add it, or write `.` instead")
    if kind == "rule" and "DOT" in place.expected and _ENDS_ITEM.search(place.last):
        help = "a rule or fact ends with `.`"
        return _error("TCR107", "missing `.`", place.gap(), "the rule ends here", help)
    if kind in ("invariant", "template", "test"):
        message = f"this {kind} has no body"
        return _error("TCR110", message, place.gap(), "`{` must follow", f"write `{kind} … {{ … }}`")
    if _NAME.fullmatch(place.last) and place.expected <= _AFTER_NAME:
        return _lower_case(place)
    what = "query" if kind == "query" else f"`{kind}` statement" if kind != "rule" else "rule"
    label = f"expected {expected_text(place.expected)}"
    return _error("TCR101", f"the {what} is not finished", place.gap(), label)


def _habit(place: _Place) -> Diagnostic | None:
    rest = place.rest()
    if (place.last, rest[:1]) in (("/", "*"), ("*", "*"), ("=", "<")):  # the first half is a token of its own
        rest = place.last + rest[:1]
    for mark, meaning in HABITS:
        if not (place.text.lower() == mark if mark.isalpha() else rest.startswith(mark)):
            continue
        # After `or` a literal may be complete already, so that only a section can follow.
        if mark in ("or", "and") and not place.expected & {"COMMA", "EACH"}:
            continue
        span = place.source.span(place.start, place.start + len(mark))
        what = "cannot stand here" if mark == "or" else "is not used in this language"
        return _error("TCR109", f"`{mark}` {what}", span, "", meaning)
    return None


def _comma_before_section(place: _Place) -> Diagnostic | None:
    if place.before == "," and place.last in SECTION_WORDS and place.expected <= _AFTER_NAME:
        message = f"a comma before `{place.last}`"
        help = "remove the comma at the end of the section before"
        return _error("TCR101", message, place.last_span(), "read as a literal after the comma", help)
    if place.last == "," and place.text in (")", "}", "."):
        message = f"nothing follows the comma before `{place.text}`"
        return _error("TCR101", message, place.last_span(), "remove this comma, or add what should follow")
    return None


def _lower_case(place: _Place) -> Diagnostic | None:
    word = _short(place.last)
    if not (_NAME.fullmatch(place.last) and place.expected and place.expected <= _AFTER_NAME):
        return None
    if "LPAR" not in place.expected:
        return None
    if (
        place.text
        and _VARIABLE.fullmatch(place.text[:1])
        and place.start == place.last_start + len(place.last)
    ):
        return None  # camelCase: a malformed name
    help = f'a variable starts with a capital letter: `{word.capitalize()}`; a text is quoted: `"{word}"`'
    help += f"; a relation or function needs its arguments: `{word}(…)`"
    if word in ("count", *VALUE_AGGREGATES):
        help = f"an aggregate is written `{'count' if word == 'count' else word + '(V)'} {{ … }}`"
    elif place.source.text[place.last_start - 1 : place.last_start] == ".":
        help = "there are no directives: a relation is declared by `relation name(column: type, …)`"
    return _error(
        "TCR108",
        f"`{word}` is neither a variable nor a text",
        place.last_span(),
        "starts with a lower-case letter",
        help,
    )


def _constraint(place: _Place) -> Diagnostic | None:
    if place.text != ":-" or place.last:
        return None
    help = "what must never happen is an invariant: `invariant name { forbid a(X), b(X) }`"
    return _error("TCR101", "a rule without a head", place.span(), "a relation must stand before this", help)


def _not_a_relation(place: _Place) -> Diagnostic | None:
    if place.last != "not" or not place.text or place.text == "=":
        return None
    help = "write the opposite comparison, such as `!=` for `=`, or braces: `not { … }`"
    label = "expected a relation or `{`"
    return _error("TCR101", "`not` stands before a relation or braces only", place.span(), label, help)


def _capital_name(place: _Place) -> Diagnostic | None:
    if not _VARIABLE.fullmatch(place.last) or place.text not in ("(", ":", "{"):
        return None
    kind = "a column" if place.text == ":" else "a relation or function"
    lower = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", place.last).lower()
    label = "a capital letter starts a variable"
    message = f"`{_short(place.last)}` cannot be the name of {kind}"
    return _error("TCR119", message, place.last_span(), label, f"names are lower-case: `{_short(lower)}`")


_SECTIONS = {"FACTS": TEST_WORDS, "VERDICT": TEST_WORDS, "EACH": SECTION_WORDS, "UNTIL": SUPPRESSION_WORDS}
"""Where a word may begin that is expected, the words that may stand there."""


def _section_word(place: _Place) -> Diagnostic | None:
    word = _WORDISH.match(place.rest())
    known = next((words for first, words in _SECTIONS.items() if first in place.expected), None)
    if word is None or known is None:
        return None
    guess = did_you_mean(word.group(), [item for item in known if item != word.group()])
    if word.group() in known or (guess is None and "COMMA" in place.expected):
        return None
    span = place.source.span(place.start, place.start + word.end())
    label = f"expected {expected_text(place.expected - {'COMMA', 'OR', 'LBRACE'})}"
    help = f"did you mean `{guess}`?" if guess else None
    return _error("TCR101", f"unknown word `{word.group()}`", span, label, help)


def _missing_comma(place: _Place) -> Diagnostic | None:
    if "COMMA" not in place.expected or (place.is_character and not place.text):
        return None
    if not (_STARTS_ITEM.match(place.text) and _ENDS_ITEM.search(place.last)):
        return None
    span = place.gap()
    help = f"write `,` between `{_short(place.last)}` and `{_short(place.text)}`"
    if place.chunk.kind == "rule" and "DOT" in place.expected:
        help += "; or `.` if a rule ends here"
    return _error("TCR106", "missing comma", span, "`,` is missing after this", help)


def _malformed_name(place: _Place) -> Diagnostic | None:
    rest = place.rest()
    number = re.match(r"[0-9][A-Za-z0-9_.]*", rest)
    if number is not None and place.expected & {"INT", "FLOAT", "NAME"}:
        span = place.source.span(place.start, place.start + number.end())
        help = "numbers look like `10`, `0.5`, `1e-3`; names do not start with a digit"
        return _error("TCR119", f"`{_short(number.group())}` is not a number", span, "", help)
    word = _WORDISH.match(rest)
    if word is None or not place.expected & {"NAME", "ID"}:
        return None
    span = place.source.span(place.start, place.start + word.end())
    shown = _short(word.group())
    if "ID" in place.expected:
        mended = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", "-", word.group()).lower().strip("-")
        help = f"ids are lower-case words joined by `-`: `{_short(re.sub('-+', '-', mended))}`"
        return _error("TCR119", f"`{shown}` is not an id", span, "", help)
    mended = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", word.group()).lower().strip("_")
    help = f"names are lower-case words joined by `_`: `{_short(mended)}`"
    return _error("TCR119", f"`{shown}` is not a name", span, "", help)


def _strange_character(place: _Place) -> Diagnostic | None:
    character = place.rest()[:1]
    if not place.is_character or (character.isascii() and character.isprintable()):
        return None
    span = place.source.span(place.start, place.start + 1)
    shown = f"`{character}`" if character.isprintable() else "character"
    help = CONFUSABLE.get(character, "outside of strings and comments only ASCII is used")
    return _error("TCR105", f"{shown} U+{ord(character):04X} is not part of the language", span, "", help)


def _unexpected(place: _Place) -> Diagnostic:
    what = _short(place.text or place.rest()[:1])
    label = f"expected {expected_text(place.expected)}" if place.expected else ""
    return _error("TCR101", f"unexpected `{what}`", place.span(), label)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"


_EXPLANATIONS = (
    _unfinished,
    _constraint,
    _habit,
    _comma_before_section,
    _lower_case,
    _not_a_relation,
    _capital_name,
    _section_word,
    _missing_comma,
    _malformed_name,
    _strange_character,
)
