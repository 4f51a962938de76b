"""Cuts a source into statements before anything is parsed, and collects its comments.

This is what makes recovery simple: each statement is parsed alone, so a fault in one cannot hide the others.
The cut is by brackets and `.`, and falls back to "a line that can only begin a statement" where these do not
add up.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from tcrules.grammar.ast import Span
from tcrules.grammar.diagnostics import Diagnostic, Label
from tcrules.grammar.limits import LIMITS, Limits
from tcrules.grammar.outlines import Form, Outline, likely_end, outline
from tcrules.grammar.records import dataclass, field

TOKEN = re.compile(
    r"""
    (?P<comment>(?<![A-Za-z0-9_)])//[^\n]*|//(?![A-Za-z0-9_($?-])[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
  | (?P<unclosed>"[^\n]*)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9]+(?:\.[0-9]+)?[A-Za-z0-9_]*)
  | (?P<open>[({])
  | (?P<close>[)}])
  | (?P<dot>\.)
  | (?P<space>[ \t\r\n\f]+)
  | (?P<other>:-|<:|[^ \t\r\n\f"A-Za-z0-9_(){}./]+?|/)
    """,
    re.VERBOSE,
)
# What can only be the beginning of a statement. In no legal statement does one of these stand inside of it.
_STARTER = re.compile(
    r"""(?P<import>import)\s*" | (?P<type>type)\s+[A-Za-z_]\w*\s*<: | (?P<relation>relation)\s+[A-Za-z_]\w*\s*\(
      | (?P<param>param)\s+[A-Za-z_]\w*\s*[:=] | (?P<invariant>invariant)\s+[A-Za-z_]
      | (?P<template>template)\s+[A-Za-z_] | (?P<suppress>suppress)\s+[A-Za-z_] | (?P<test>test)\s*" """,
    re.VERBOSE | re.ASCII,
)
_LOOSE_STARTER = re.compile(
    r"(import|type|relation|param|invariant|template|suppress|test)(?![A-Za-z0-9_])(?!\s*(\(|:-))"
)
# What goes on with a statement on a line of its own.
_CONTINUES = re.compile(r"(because|until)(?![A-Za-z0-9_])(?!\s*\()")
_HEAD = re.compile(r"[a-z][a-z0-9_]*\(")
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})
_ENDS_CHAIN = frozenset({",", ".", "(", "{", "}"})
_PAIR = {")": "(", "}": "{"}
_CLOSER = {"(": ")", "{": "}"}
_UNFINISHED = frozenset({":", "=", "<:", "<", ",", "-", ":-", ".", "or"})
# `X // 2, …`: what follows a division that became a comment.
_LOST_DIVISOR = re.compile(r"//\s*([0-9][0-9.e]*|[A-Z][A-Za-z0-9_]*|\$[a-z][a-z0-9_]*)\s*([-+*%,.)}]|\Z)")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment: `text` is without the mark and one leading blank; `trailing` where code precedes on the line."""

    start: int
    end: int
    text: str
    doc: bool
    trailing: bool


@dataclass(slots=True)
class Chunk:
    """One statement's text; `kind` is its first word, or `rule`. `broken`: a fault was reported already."""

    kind: str
    start: int
    end: int
    broken: bool = False
    outline: Outline | None = None


@dataclass(slots=True)
class Source:
    """A text with its name and line starts: makes spans."""

    text: str
    name: str
    _lines: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def span(self, start: int, end: int) -> Span:
        """The span of `text[start:end]`."""
        line = bisect_right(self._lines, start)
        return Span(self.name, start, end, line, start - self._lines[line - 1] + 1)

    def line(self, offset: int) -> int:
        """The 1-based line of an offset."""
        return bisect_right(self._lines, offset)


@dataclass(slots=True)
class Scan:
    """What `scan` found."""

    chunks: list[Chunk]
    comments: list[Comment]
    diagnostics: list[Diagnostic]


def scan(source: Source, limits: Limits = LIMITS, *, outlines: bool = True) -> Scan:
    """Cut `source` into statements. Linear in its length; never raises.

    Where a statement has the outline of an earlier one, its tokens are not looked at, except with `outlines` off.
    """
    scanner = _Scanner(source, limits, outlines)
    scanner.run()
    return Scan(scanner.chunks, scanner.comments, scanner.diagnostics)


class _Scanner:
    """The state of one scan: the open statement, its open brackets, and the last token."""

    def __init__(self, source: Source, limits: Limits, outlines: bool) -> None:
        self.source = source
        self.limits = limits
        self.outlines = outlines
        self.forms: dict[object, Form] = {}
        self.form: Form | None = None
        self.errors = 0
        self.text = source.text
        self.chunks: list[Chunk] = []
        self.comments: list[Comment] = []
        self.diagnostics: list[Diagnostic] = []
        self.chunk: Chunk | None = None
        self.brackets: list[int] = []
        self.previous = ""
        self.end = 0
        self.chain = 0

    def run(self) -> None:
        tokens = TOKEN.finditer(self.text, 1 if self.text.startswith("\ufeff") else 0)
        while (match := next(tokens, None)) is not None and self.errors <= self.limits.errors:
            kind = match.lastgroup
            if kind == "space":
                continue
            if kind == "comment":
                self._comment(match)
                continue
            self._before(match)
            if self.chunk is None:
                if self._recognise(match.start()):
                    tokens = TOKEN.finditer(self.text, self.end)
                    continue
                self._begin(match)
            self._token(kind or "other", match)
            if self.chunk is not None:
                self.chunk.end = match.end()
            self.previous, self.end = match.group(), match.end()
        self._finish()

    # ------------------------------------------------------------------------------------ tokens

    def _token(self, kind: str, match: re.Match[str]) -> None:
        if kind == "open":
            self.brackets.append(match.start())
            if len(self.brackets) == self.limits.nesting:
                self._fault(
                    "TCR116", match, "brackets are nested too deeply", f"the limit is {self.limits.nesting}"
                )
        elif kind == "close":
            self._close(match)
        elif kind == "dot":
            self._dot(match)
        elif kind == "unclosed":
            self._unclosed(match)
        if match.group() in _ARITHMETIC:
            self.chain += 1
            if self.chain == self.limits.operators:
                label = f"operator {self.limits.operators} in one expression"
                self._fault("TCR116", match, "expression is nested too deeply", label)
        elif match.group() in _ENDS_CHAIN:
            self.chain = 0

    def _close(self, match: re.Match[str]) -> None:
        wanted = _PAIR[match.group()]
        if not self.brackets:
            text = "no bracket is open here"
            self._fault("TCR104", match, f"`{match.group()}` closes nothing", text)
            return
        while self.brackets:
            opened = self.brackets.pop()
            if self.text[opened] == wanted:
                break
            self._not_closed(opened, match.start())
        ends_block = wanted == "{" and not self.brackets
        if ends_block and self.chunk is not None and self.chunk.kind in _BLOCKS:
            self._cut(match.end())

    def _dot(self, match: re.Match[str]) -> None:
        if self.chunk is None or self.chunk.kind != "rule":
            return
        if self.brackets:  # `.` never stands inside the brackets of a rule
            self._not_closed(self.brackets[-1], match.start())
        self._cut(match.end())

    def _unclosed(self, match: re.Match[str]) -> None:
        span = self.source.span(match.start(), match.start() + 1)
        self._report(
            Diagnostic(
                "TCR102",
                "error",
                "string is not closed",
                (Label(span, "it begins here and the line ends first"),),
                ("a string stands on one line",),
                'end it with `"`; write a line break as `\\n` and a quote as `\\"`',
            )
        )

    def _comment(self, match: re.Match[str]) -> None:
        text = match.group().rstrip()
        doc = text.startswith("///")
        body = text[3:] if doc else text[2:]
        line_start = self.text.rfind("\n", 0, match.start()) + 1
        before = self.text[line_start : match.start()] if match.start() - line_start < 500 else "code"
        trailing = bool(before.strip(" \t\r\f\ufeff"))
        # After `)` a comment is more likely than a division
        is_operand = self.previous[:1].isdigit() or self.previous[:1].isupper()
        if trailing and is_operand and _LOST_DIVISOR.match(text[:200]):
            self._division(match)
        # A mark after code cannot be documentation of what follows; it stays a comment.
        self.comments.append(
            Comment(match.start(), match.end(), body.removeprefix(" "), doc and not trailing, trailing)
        )

    def _division(self, match: re.Match[str]) -> None:
        span = self.source.span(match.start(), match.start() + 2)
        self.diagnostics.append(
            Diagnostic(
                "TCR122",
                "warning",
                "`//` with a blank beside it starts a comment",
                (Label(span, "the rest of the line is not read"),),
                (),
                "write an integer division without blanks, `X//2`; reword the comment if it is one",
            )
        )

    # ---------------------------------------------------------------------------------- statements

    def _before(self, match: re.Match[str]) -> None:
        """End the open statement if `match` cannot belong to it."""
        if self.chunk is None or match.lastgroup != "word" or not self._first_on_line(match.start()):
            return
        if _STARTER.match(self.text, match.start()) and self.previous != ":-":
            if self.brackets:
                self._not_closed(self.brackets[-1], match.start())
            self._cut(self.end)
        elif self.chunk.broken and self.chunk.kind == "rule":
            if self._is_head(match.start()):
                self._cut(self.end)
        elif self.brackets or self.previous in _UNFINISHED:
            return
        elif self.chunk.kind not in _BLOCKS and self.chunk.kind != "rule":
            if self.chunk.kind == "suppress" and _CONTINUES.match(self.text, match.start()):
                return
            if self.end > self.chunk.start + len(self.chunk.kind):
                self._cut(self.end)
        elif self.chunk.kind == "rule" and self._is_head(match.start()):
            self._cut(self.end)

    def _begin(self, match: re.Match[str]) -> None:
        starter = _LOOSE_STARTER.match(self.text, match.start())
        self.chunk = Chunk(starter.group(1) if starter else "rule", match.start(), match.end())

    def _recognise(self, start: int) -> bool:
        """Cut a statement that has the outline of an earlier one."""
        form = self.form.following if self.form is not None else None
        found = form.match(self.text, start) if form is not None else None
        if found is None:
            end = likely_end(self.text, start) if self.forms else -1
            new = outline(self.text[start:end]) if end > 0 else None
            form = self.forms.get(new.key) if new is not None else None
            found = None if new is None else (new, end)
        if form is None or found is None:
            return False
        self.chunks.append(Chunk(form.kind, start, found[1], outline=found[0]))
        self.previous, self.end = self.text[found[1] - 1], found[1]
        self._came(form)
        return True

    def _came(self, form: Form | None) -> None:
        if self.form is not None:
            self.form.following = form
        self.form = form

    def _cut(self, end: int) -> None:
        assert self.chunk is not None
        self.chunk.end = end
        if self.outlines and not self.chunk.broken and self.chunk.kind in _OUTLINED:
            self.chunk.outline = outline(self.text[self.chunk.start : end])
        self._came(self._form(self.chunk))
        self.chunks.append(self.chunk)
        self.chunk = None
        self.brackets.clear()

    def _form(self, chunk: Chunk) -> Form | None:
        if chunk.outline is None:
            return None
        key = chunk.outline.key
        return self.forms.get(key) or self.forms.setdefault(key, Form(chunk.kind, chunk.outline))

    def _finish(self) -> None:
        if self.chunk is None:
            return
        if self.brackets:
            self._not_closed(self.brackets[-1], self.chunk.end)
        self._cut(self.chunk.end)

    def _is_head(self, offset: int) -> bool:
        """Whether a rule seems to begin here: a name and `(` at the very left."""
        return self.text[offset - 1] == "\n" and _HEAD.match(self.text, offset) is not None

    def _first_on_line(self, offset: int) -> bool:
        return self.source.line(self.end) < self.source.line(offset)

    # -------------------------------------------------------------------------------------- faults

    def _not_closed(self, opened: int, found: int) -> None:
        mark = self.text[opened]
        closer = _CLOSER[mark]
        found_label = Label(self.source.span(found, found + 1), f"`{closer}` is missing before this")
        self._report(
            Diagnostic(
                "TCR103",
                "error",
                f"`{mark}` is not closed",
                (Label(self.source.span(opened, opened + 1), "opened here"), found_label),
                (),
                f"add the missing `{closer}`",
            )
        )

    def _fault(self, code: str, match: re.Match[str], message: str, label: str) -> None:
        span = self.source.span(match.start(), match.end())
        self._report(Diagnostic(code, "error", message, (Label(span, label),)))

    def _report(self, diagnostic: Diagnostic) -> None:
        """One fault of this kind of a statement is enough: what follows are consequences."""
        if self.chunk is None or not self.chunk.broken:
            self.diagnostics.append(diagnostic)
            self.errors += 1
        if self.chunk is not None:
            self.chunk.broken = True


_BLOCKS = frozenset({"invariant", "template", "test"})
_OUTLINED = frozenset({"invariant", "rule"})
