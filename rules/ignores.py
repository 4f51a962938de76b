"""Comments in a training script that say which violations are meant: `# tcr: ignore[rule-id, other-rule] reason`."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, replace
from pathlib import Path

#: What is larger was not written by hand.
MAX_BYTES = 4 * 1024 * 1024
_COMMENT = re.compile(r"#\s*tcr:\s*ignore\b(?:\s*\[([^\]]*)\])?(.*)")
_LAYOUT = frozenset({tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER})


@dataclass(frozen=True, slots=True)
class Ignore:
    """One comment: violations of `rules` on the lines `first` to `last` are meant. `line` is that of the comment."""

    file: str
    line: int
    rules: tuple[str, ...]
    reason: str
    first: int
    last: int

    def covers(self, file: str, line: int) -> bool:
        """Whether it speaks about a line of a file."""
        return file == self.file and self.first <= line <= self.last


def read_ignores(file: str) -> tuple[Ignore, ...]:
    """The comments of a script, none where there is no such file, or no text. The script is read, never run."""
    path = Path(file)
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ()
        source = path.read_bytes()
    except OSError:
        return ()
    return ignores(source, file) if b"tcr:" in source else ()


def ignores(source: bytes, file: str) -> tuple[Ignore, ...]:
    """The comments in a source text; what looks like one inside of a string is none.

    A comment speaks about the statement in which it stands, a comment outside of all about the next one: all of its
    lines, but not those of a block below it. Of a text that is no Python, what precedes the fault is read.

    >>> [(i.rules, i.reason, i.first) for i in ignores(b"# tcr: ignore[a, b] known\\nf()\\n", "t.py")]
    [(('a', 'b'), 'known', 2)]
    """
    found: list[Ignore] = []
    waiting: list[Ignore] = []
    first = 0
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            line = token.start[0]
            if token.type == tokenize.COMMENT:
                match = _COMMENT.search(token.string)
                if match is not None:
                    waiting.append(_ignore(match, file, line))
            elif token.type == tokenize.NEWLINE:
                found += [replace(ignore, first=first or line, last=line) for ignore in waiting]
                waiting, first = [], 0
            elif token.type not in _LAYOUT:
                first = first or line
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError):
        pass
    return (*found, *waiting)


def _ignore(match: re.Match[str], file: str, line: int) -> Ignore:
    rules = tuple(dict.fromkeys(name.strip() for name in (match[1] or "").split(",") if name.strip()))
    return Ignore(file, line, rules, match[2].strip(" \t:-–—"), line, line)
