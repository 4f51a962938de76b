"""The table of programs and faults (`suite.toml`) as data, and the text of a faulty program."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: What can be done wrong.
KINDS = (
    "drop", "duplicate", "reorder", "freeze", "desync", "dtype", "stale", "skip-rank", "wrong-group", "wrong-mode",
    "data", "checkpoint", "numeric",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake: pieces of the program's text, and what stands there instead. `first`: step where it can be seen."""

    id: str
    kind: str
    first: int
    what: str
    edit: tuple[tuple[str, str], ...]

    def apply(self, text: str) -> str:
        """Return the faulty program's text.

        Raises:
            ValueError: a piece does not occur exactly once.
        """
        for old, new in self.edit:
            if text.count(old) != 1:
                raise ValueError(f"{self.id}: {old!r} occurs {text.count(old)} times, not once")
            text = text.replace(old, new)
        return text


@dataclass(frozen=True, slots=True)
class Program:
    """A training script, flags of healthy runs to learn from and to check, and its faults."""

    name: str
    processes: int
    learn: tuple[tuple[str, ...], ...]
    check: tuple[tuple[str, ...], ...]
    faults: tuple[Fault, ...]

    @property
    def script(self) -> Path:
        """The healthy program."""
        return HERE / "programs" / f"{self.name}.py"

    def faulty(self, fault: Fault, folder: Path) -> Path:
        """Write the faulty program below `folder`, under the name of the healthy one."""
        path = folder / self.name / fault.id / self.script.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fault.apply(self.script.read_text(encoding="utf-8")), encoding="utf-8")
        return path


def load(path: Path = HERE / "suite.toml") -> tuple[Program, ...]:
    """Read the table.

    Raises:
        KeyError, TypeError: an entry lacks something, or has something unknown.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(_program(name, entry) for name, entry in table["program"].items())


def _program(name: str, entry: dict[str, object]) -> Program:
    given = dict(entry)
    faults = given.pop("fault")
    flags = {key: tuple(tuple(line.split()) for line in given.pop(key)) for key in ("learn", "check")}
    return Program(
        name=name,
        processes=given.pop("processes", 1),
        faults=tuple(Fault(**{**one, "edit": tuple(map(tuple, one["edit"]))}) for one in faults),
        **flags,
        **given,
    )
