"""What rule files and their evaluation may use. Rule files are data from anywhere: each limit ends with a message."""

from __future__ import annotations

from tcrules.grammar.records import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one program; None: none.

    Attributes:
        characters: of one file (TCR117).
        nesting: open brackets in a statement, strings apart (TCR116).
        operators: of one expression without brackets (TCR116).
        depth: levels of a statement's tree; recursion over trees must bear it everywhere (TCR116).
        errors: reported of one file (TCR121).
        files: that one program imports, directly or not (TCR219).
        imports: that nest (TCR219).
        seconds: of one evaluation, wall time.
        memory: of the store, bytes; above it the store spills to disk, and fails where that is not enough.
        facts: derived in one evaluation; counted after each rule, so one rule alone is limited by time and memory.
    """

    characters: int = 64 * 1024 * 1024
    nesting: int = 60
    operators: int = 100
    depth: int = 100
    errors: int = 100
    files: int = 1_000
    imports: int = 100
    seconds: float | None = None
    memory: int | None = None
    facts: int | None = None


LIMITS = Limits()
