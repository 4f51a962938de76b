"""Which call contains which: records of a thread, in their order, become calls with both ends."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.importing.tally import Tally

PRE, POST, EXCEPTION = "function_call (pre)", "function_call (post)", "function_call (post) (exception)"
KINDS = frozenset({PRE, POST, EXCEPTION})
#: Ends of calls that are remembered, to tell a repeated line from one whose beginning is lost.
REMEMBERED = 100_000
REPEATED = "repeated lines, read once"
NO_END = "calls without an end: their line is lost; they last as long as the enclosing call"
NO_BEGIN = "ends of calls without a beginning: their line is lost; they begin where they end"
UNPAIRED = "lines of the trace are lost: an end of a call is missing"


@dataclass(slots=True)
class Call:
    """A call that has begun. `inner` collects what happened inside: names that handlers agree on."""

    key: str
    call: int
    function: str
    api: str
    object: str
    parent: int
    step: int
    stage: str
    begin: int
    known: dict[str, Any] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Thread:
    """The open calls of a thread.

    Args:
        end: called with a call, its end, the record of its end (None where that is lost) and its enclosing call.
        tally: counts what does not fit.
    """

    end: Callable[[Call, int, dict[str, Any] | None, Call | None], None]
    tally: Tally
    stack: list[Call] = field(default_factory=list)
    last: int = 0
    _recent: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def repeated(self, key: str, kind: str, place: str) -> bool:
        """Whether a line was read before; counts it then."""
        known = key in self._recent or (kind == PRE and any(call.key == key for call in self.stack))
        if known:
            self.tally.add(REPEATED, place)
        return known

    def push(self, call: Call) -> None:
        """A call begins."""
        self.stack.append(call)

    def pop(self, key: str, at: int, record: dict[str, Any], place: str) -> bool:
        """A call ends; calls above it whose end is lost have ended, too. False where its beginning is lost."""
        position = next((n for n, call in enumerate(reversed(self.stack)) if call.key == key), None)
        if position is None:
            return False
        for _ in range(position):
            self._end(at, None, place)
        self._end(at, record, place)
        return True

    def remember(self, key: str) -> None:
        """The call with this key has ended."""
        self._recent[key] = None
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    def close(self, place: str) -> int:
        """The records have ended; returns how many calls had not."""
        number = len(self.stack)
        while self.stack:
            self._end(self.last, None, place)
        return number

    def _end(self, at: int, record: dict[str, Any] | None, place: str) -> None:
        call = self.stack.pop()
        if record is None:
            self.tally.add(NO_END, place)
        self.remember(call.key)
        self.end(call, at, record, self.stack[-1] if self.stack else None)
