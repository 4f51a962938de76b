"""An account of what an import had to leave out or to mend: nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts by reason, with the place of the first occurrence."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, place: str, number: int = 1) -> None:
        """Count something; `reason` reads on after a number: `lines that are no JSON`."""
        self.counts[reason] = self.counts.get(reason, 0) + number
        self.first.setdefault(reason, place)

    def notes(self) -> tuple[str, ...]:
        """One sentence per reason, in the order of first occurrence.

        >>> tally = Tally()
        >>> tally.add("lines that are no JSON", "a.log:3")
        >>> tally.notes()
        ('1 × lines that are no JSON (first: a.log:3)',)
        """
        return tuple(
            f"{number:,} × {reason} (first: {self.first[reason]})" for reason, number in self.counts.items()
        )
