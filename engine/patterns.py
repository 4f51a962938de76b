r"""Text patterns whose meaning is the same on every executor: globs, and small regular expressions.

A regular expression matches the whole text. It is made of characters, `.` (anything but a line feed),
classes `[a-z]` and `[^a-z]`, `\d \w \s` and their complements (ASCII), groups `(…)` and `(?:…)`, `|`, and
the repetitions `* + ? {m} {m,} {m,n}`; a backslash before punctuation takes it literally. That is a subset
of RE2 on which RE2, Python and Java agree; matching is by an automaton, so no pattern runs for ever.
"""

from __future__ import annotations

from functools import lru_cache

from tcrules.grammar.records import dataclass, field

_DIGIT = frozenset("0123456789")
_WORD = _DIGIT | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_SPACE = frozenset("\t\n\f\r ")
_SHORT = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_SPECIAL = frozenset(".[]{}()*+?|^$\\")
MAXIMAL_REPEAT = 100
_MAXIMAL_STATES = 5000


class PatternError(ValueError):
    """The pattern is outside of the language above; the text says why."""


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character: in `members` or in one of `ranges`, or not so where `inverted`."""

    members: frozenset[str]
    ranges: tuple[tuple[str, str], ...] = ()
    inverted: bool = False

    def accepts(self, character: str) -> bool:
        found = character in self.members or any(low <= character <= high for low, high in self.ranges)
        return found != self.inverted


@dataclass(slots=True)
class Automaton:
    """A non-deterministic automaton; sets of states met while matching are kept (`steps`)."""

    edges: list[list[tuple[_Chars, int]]] = field(default_factory=list)
    silent: list[list[int]] = field(default_factory=list)
    start: int = 0
    end: int = 0
    steps: dict[tuple[frozenset[int], str], frozenset[int]] = field(default_factory=dict)

    def state(self) -> int:
        if len(self.edges) >= _MAXIMAL_STATES:
            raise PatternError("the pattern is too large")
        self.edges.append([])
        self.silent.append([])
        return len(self.edges) - 1

    def _closure(self, states: set[int]) -> frozenset[int]:
        waiting = list(states)
        while waiting:
            for target in self.silent[waiting.pop()]:
                if target not in states:
                    states.add(target)
                    waiting.append(target)
        return frozenset(states)

    def _step(self, states: frozenset[int], character: str) -> frozenset[int]:
        key = (states, character)
        found = self.steps.get(key)
        if found is None:
            if len(self.steps) > 20_000:
                self.steps.clear()
            targets = {
                target for state in states for chars, target in self.edges[state] if chars.accepts(character)
            }
            found = self.steps[key] = self._closure(targets)
        return found

    def matches(self, text: str) -> bool:
        """Whether the whole text is accepted; O(length of the text) once the sets of states are known."""
        states = self._closure({self.start})
        for character in text:
            states = self._step(states, character)
            if not states:
                return False
        return self.end in states


class _Reader:
    """Reads a pattern into an automaton; a piece is a pair of its first and last state."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.machine = Automaton()

    def read(self) -> Automaton:
        self.machine.start, self.machine.end = self._alternatives()
        if self.at < len(self.pattern):
            raise PatternError(f"unmatched {self.pattern[self.at]!r}")
        return self.machine

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise PatternError("the pattern ends too early")
        self.at += 1
        return character

    def _alternatives(self) -> tuple[int, int]:
        first, last = self.machine.state(), self.machine.state()
        while True:
            begin, end = self._sequence()
            self.machine.silent[first].append(begin)
            self.machine.silent[end].append(last)
            if self._peek() != "|":
                return first, last
            self.at += 1

    def _sequence(self) -> tuple[int, int]:
        first = last = self.machine.state()
        while self._peek() not in ("", "|", ")"):
            where = self.at
            begin, end = self._item()
            low, high = self._repetition()
            if (low, high) != (1, 1):
                after = self.at
                begin, end = self._repeated(where, low, high)
                self.at = after
            self.machine.silent[last].append(begin)
            last = end
        return first, last

    def _repeated(self, where: int, low: int, high: int | None) -> tuple[int, int]:
        """`low` copies of the item at `where` and up to `high` of them, or a loop where `high` is None."""
        first = last = self.machine.state()
        final = self.machine.state()
        for count in range(low if high is None else high):
            if count >= low:
                self.machine.silent[last].append(final)
            begin, last_of_copy = self._copy(where)
            self.machine.silent[last].append(begin)
            last = last_of_copy
        self.machine.silent[last].append(final)
        if high is None:
            begin, end = self._copy(where)
            self.machine.silent[final].append(begin)
            self.machine.silent[end].append(final)
        return first, final

    def _copy(self, where: int) -> tuple[int, int]:
        self.at = where
        return self._item()

    def _repetition(self) -> tuple[int, int | None]:
        mark = self._peek()
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if mark in simple:
            self.at += 1
            found = simple[mark]
        elif mark == "{":
            found = self._counts()
        else:
            return (1, 1)
        if self._peek() in ("*", "+", "?", "{"):
            raise PatternError("two repetitions in a row")
        return found

    def _counts(self) -> tuple[int, int | None]:
        close = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : close].partition(",")
        if close < 0 or not _number(low) or not (high == "" or _number(high)):
            raise PatternError("a repetition is written {m}, {m,} or {m,n}")
        self.at = close + 1
        most = int(low) if not comma else (int(high) if high else None)
        if int(low) > MAXIMAL_REPEAT or (most or 0) > MAXIMAL_REPEAT:
            raise PatternError(f"more than {MAXIMAL_REPEAT} repetitions")
        if most is not None and most < int(low):
            raise PatternError("a repetition {m,n} needs m <= n")
        return int(low), most

    def _item(self) -> tuple[int, int]:
        character = self._take()
        if character == "(":
            return self._group()
        if character == ".":
            return self._one(_Chars(frozenset("\n"), inverted=True))
        if character == "[":
            return self._one(self._class())
        if character == "\\":
            return self._one(self._escape())
        if character in _SPECIAL:
            raise PatternError(f"{character!r} cannot stand here; write \\{character} for the character")
        return self._one(_Chars(frozenset(character)))

    def _one(self, chars: _Chars) -> tuple[int, int]:
        first, last = self.machine.state(), self.machine.state()
        self.machine.edges[first].append((chars, last))
        return first, last

    def _group(self) -> tuple[int, int]:
        if self._peek() == "?":
            if self.pattern[self.at : self.at + 2] != "?:":
                raise PatternError("of the groups that begin with (? only (?:…) is known")
            self.at += 2
        piece = self._alternatives()
        if self._peek() != ")":
            raise PatternError("a group is not closed")
        self.at += 1
        return piece

    def _escape(self) -> _Chars:
        character = self._take()
        if character.lower() in _SHORT:
            return _Chars(_SHORT[character.lower()], inverted=character.isupper())
        if character in _ESCAPED:
            return _Chars(frozenset(_ESCAPED[character]))
        if character.isalnum() or not character.isascii():
            raise PatternError(f"the escape \\{character} is not known")
        return _Chars(frozenset(character))

    def _class(self) -> _Chars:
        inverted = self._peek() == "^"
        self.at += inverted
        members: set[str] = set()
        ranges: list[tuple[str, str]] = []
        while True:
            low = self._member(members)
            if low == "]":
                break
            if low and self._peek() == "-" and self.pattern[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                high = self._member(set())
                if len(high) != 1 or high == "]" or high < low:
                    raise PatternError("a range in a class needs two characters in order")
                ranges.append((low, high))
            elif low:
                members.add(low)
        if not members and not ranges:
            raise PatternError("an empty class")
        return _Chars(frozenset(members), tuple(ranges), inverted)

    def _member(self, members: set[str]) -> str:
        r"""The next character of a class, "]" at its end, "" where a set such as \d was added."""
        character = self._take()
        if character == "[":
            raise PatternError("write \\[ for a bracket within a class")
        if character != "\\":
            return character
        chars = self._escape()
        if chars.inverted:
            raise PatternError("a complement within a class")
        if len(chars.members) == 1:
            (only,) = chars.members
            if only == "]":
                members.add(only)
                return ""
            return only
        members |= chars.members
        return ""


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@lru_cache(maxsize=512)
def regex(pattern: str) -> Automaton:
    """The automaton of a regular expression; raises PatternError."""
    return _Reader(pattern).read()


def glob(pattern: str, text: str) -> bool:
    """Whether the whole text matches: `*` is any text, `?` one character; nothing else is special."""
    at = index = 0
    star = -1
    mark = 0
    while at < len(text):
        if index < len(pattern) and pattern[index] == "*":
            star, mark = index, at
            index += 1
        elif index < len(pattern) and pattern[index] in ("?", text[at]):
            at, index = at + 1, index + 1
        elif star >= 0:
            mark += 1
            at, index = mark, star + 1
        else:
            return False
    return pattern[index:].strip("*") == ""
