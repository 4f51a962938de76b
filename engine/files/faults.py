"""What is wrong with a file of facts: file, line, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: So many faults of a file are told.
MOST = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `line` counts from 1 (rows in Parquet files), 0 speaks of the whole file."""

    line: int
    message: str


class FileFault(Exception):
    """A file whose facts cannot be used, with all its faults (at most `MOST`).

    Attributes:
        path: the file, or the folder that lacks it.
        faults: in the order of lines.
        help: how to mend it; may be empty.
    """

    def __init__(self, path: Path, faults: list[Fault], help: str = "") -> None:
        self.path, self.faults, self.help = path, tuple(faults), help
        super().__init__(path, self.faults, help)

    def __str__(self) -> str:
        lines = [
            f"{self.path}:{fault.line}: {fault.message}" if fault.line else f"{self.path}: {fault.message}"
            for fault in self.faults[:MOST]
        ]
        if len(self.faults) >= MOST:
            lines.append(f"{self.path}: there may be more faults")
        return "\n".join(lines)


class FileFaults(Exception):
    """Several files whose facts cannot be used."""

    def __init__(self, faults: list[FileFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))

    @property
    def help(self) -> str:
        """How to mend them."""
        return "\n".join(dict.fromkeys(fault.help for fault in self.faults if fault.help))
