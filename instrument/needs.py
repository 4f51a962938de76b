"""Which relations a recording is asked for: what nobody reads is not recorded, and not paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.schema import BY_NAME, SETTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tcrules.instrument.sink import Writer

#: Recorded whatever is asked for: what reports and names are made of, and what says that facts are missing.
ALWAYS = SETTLED | {"instrument_gap", "recorded_steps", "step", "epoch", "member", "metric"}
#: Facts about whatever is watched: written for what is, complete only where everything is.
CALLS = frozenset({"call", "location"})
#: Recorded where the options `full` or `apis` ask for calls of any function.
FULL = frozenset({"signature"})


class Needs:
    """The relations that are wanted by the options `relations`, `full` and `apis`: all if none are named, or calls are.

    Attributes:
        relations: those that are written.
        complete: those of which no fact is left out.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        relations = options.get("relations")
        asked = frozenset(BY_NAME if relations is None else relations)
        self.complete = frozenset(BY_NAME) if asked & CALLS else ALWAYS | asked
        if not options.get("full") and not options.get("apis"):
            self.complete -= FULL
        self.relations = self.complete | CALLS

    def any(self, relations: Iterable[str]) -> bool:
        """Whether one of these is wanted."""
        return not self.complete.isdisjoint(relations)

    def put(self, writer: Callable[[str], Writer]) -> Callable[[str], Writer]:
        """Return a function that gives the writers of a relation: one that does nothing where it is not wanted."""
        return lambda relation: writer(relation) if relation in self.relations else _nothing


def _nothing(*_columns: int | float | bool | str) -> None:
    """Write no fact."""
