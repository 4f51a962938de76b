"""The shipped rules, and what the documentation of any rule says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.grammar import parse, print_statement
from tcrules.grammar.ast import Invariant
from tcrules.grammar.diagnostics import TcrError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Folder of the shipped rules; a `.tcr` file there is found without a list.
LIBRARY = Path(__file__).parent / "library"
#: Declarations of what imports bring along; only files that import them have these relations.
IMPORTS = Path(__file__).parent / "imports"

SECTIONS = ("why", "example", "false alarms", "see")


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule for people: `summary` is the first sentence of its documentation, `text` the rule itself."""

    id: str
    severity: str
    tags: tuple[str, ...]
    summary: str
    sections: dict[str, str]
    file: Path
    line: int
    text: str

    def section(self, name: str) -> str:
        """Text of one of `SECTIONS`, "" where the rule does not say."""
        return self.sections.get(name, "")


def library_paths() -> tuple[Path, ...]:
    """The shipped rule files, by name."""
    return tuple(sorted(LIBRARY.glob("*.tcr")))


def shipped_file(name: str) -> Path | None:
    """The shipped rule file of a name; what an import with a bare name may mean."""
    return next((path for folder in (LIBRARY, IMPORTS) if (path := folder / name).is_file()), None)


def library_tests() -> tuple[Path, ...]:
    """The shipped rule tests, by name."""
    return tuple(sorted(LIBRARY.glob("*.tcr-test")))


def catalogue(paths: Iterable[Path] | None = None) -> tuple[Entry, ...]:
    """Entries of all invariants in rule files (default: the shipped ones), in file order.

    Raises `TcrError` with the faults of the first file that does not parse, `OSError` where one cannot be read.
    """
    entries: list[Entry] = []
    for path in library_paths() if paths is None else paths:
        text = path.read_text(encoding="utf-8")
        parsed = parse(text, str(path))
        if parsed.program is None:
            raise TcrError(parsed.diagnostics, {str(path): text})
        invariants = (s for s in parsed.program.statements if isinstance(s, Invariant))
        entries.extend(_entry(invariant, path) for invariant in invariants)
    return tuple(entries)


def severity_of(invariant: Invariant) -> str:
    """`error`, `warning` or `note`; a rule that does not say is a warning."""
    names = [annotation.name for annotation in invariant.annotations]
    return next((name for name in names if name in ("error", "warning", "note")), "warning")


def read_documentation(doc: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Summary and sections of a doc comment: `why: …` begins a section that lasts until the next."""
    summary: list[str] = []
    sections: dict[str, list[str]] = {}
    into = summary
    for line in doc:
        name, colon, rest = line.partition(":")
        if colon and name.strip() in SECTIONS:
            into = sections.setdefault(name.strip(), [])
            line = rest
        if line.strip():
            into.append(line.strip())
    return " ".join(summary), {name: " ".join(lines) for name, lines in sections.items()}


def _entry(invariant: Invariant, path: Path) -> Entry:
    summary, sections = read_documentation(invariant.doc)
    tags = tuple(str(t) for a in invariant.annotations if a.name == "tags" for t in a.arguments)
    return Entry(
        id=invariant.id,
        severity=severity_of(invariant),
        tags=tags,
        summary=summary,
        sections=sections,
        file=path,
        line=invariant.span.line,
        text=print_statement(invariant),
    )
