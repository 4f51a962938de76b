"""The settings of a project: `tcrules.toml`, or the table `[tool.tcrules]` of `pyproject.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcrules.grammar.ast import Span
from tcrules.grammar.diagnostics import Diagnostic, Label, TcrError, did_you_mean
from tcrules.settings import KINDS, Bad

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWN, SHARED = "tcrules.toml", "pyproject.toml"
_TABLE = ("tool", "tcrules")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_FAULT_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)")


@dataclass(frozen=True, slots=True)
class Config:
    """What a settings file says.

    Attributes:
        path: the file; None where there is none.
        text: its text.
        values: settings by name, checked.
        places: where each setting, and each parameter (`params.NAME`), stands.
    """

    path: Path | None = None
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Span] = field(default_factory=dict)


def find_config(start: Path | None = None) -> Config:
    """The settings of the nearest folder that has some, from `start` (default: the working folder) upwards.

    Raises TcrError with all faults of the file: unknown settings, values of a wrong type.
    """
    where = (start or Path.cwd()).absolute()
    for folder in (where, *where.parents):
        own, shared = folder / OWN, folder / SHARED
        shared_text = _text(shared) if shared.is_file() else ""
        table = _shared(shared, shared_text) if "tcrules" in shared_text else None
        if own.is_file():
            if table is not None:
                first = Label(_locate(str(shared), shared_text, _TABLE), "settings")
                second = Label(Span(str(own), 0, 0, 1, 1), "settings")
                message = f"this folder has settings in {OWN} and in {SHARED}"
                fault = Diagnostic("TCR703", "error", message, (first, second), (), "keep one of them")
                raise TcrError([fault], {str(shared): shared_text})
            text = _text(own)
            return _checked(own, text, _parsed(own, text), ())
        if table is not None:
            return _checked(shared, shared_text, table, _TABLE)
    return Config()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"settings cannot be read: {error.reason} at byte {error.start}"
        fault = Diagnostic("TCR703", "error", message, (Label(Span(str(path), 0, 0, 1, 1)),))
        raise TcrError([fault], {}) from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _FAULT_PLACE.search(str(error))
        line, column = (int(found[1]), int(found[2])) if found else (text.count("\n") + 1, 1)
        place = Label(Span(str(path), 0, 0, line, column))
        message = "this is not TOML: " + _FAULT_PLACE.sub("", str(error)).removesuffix(
            " (at end of document)"
        )
        raise TcrError([Diagnostic("TCR703", "error", message, (place,))], {str(path): text}) from None


def _shared(path: Path, text: str) -> Any:
    """The table of a file that is made for others, too; None where it has none. What is no TOML is theirs to tell."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        if ".".join(_TABLE) not in text:
            return None
        data = _parsed(path, text)
    tool = data.get(_TABLE[0])
    return tool.get(_TABLE[1]) if isinstance(tool, dict) else None


def _checked(path: Path, text: str, table: Any, above: tuple[str, ...]) -> Config:
    name = str(path)
    if not isinstance(table, dict):
        table = {"": table}
    values: dict[str, Any] = {}
    faults = []
    places: dict[str, Span] = {}
    for key, value in table.items():
        place = places[key] = _locate(name, text, (*above, key))
        kind = KINDS.get(key)
        if kind is None:
            near = did_you_mean(key, KINDS)
            help = f"did you mean `{near}`?" if near else f"settings are {', '.join(KINDS)}"
            message = f"unknown setting `{'.'.join((*above, key))}`"
            faults.append(Diagnostic("TCR701", "error", message, (Label(place),), (), help))
            continue
        try:
            values[key] = kind.of_data(value, path.parent)
        except Bad as bad:
            inner = (*above, key, *bad.inside)
            message = f"`{'.'.join(inner)}` must be {bad.wanted}"
            faults.append(Diagnostic("TCR702", "error", message, (Label(_locate(name, text, inner)),)))
    if faults:
        raise TcrError(faults, {name: text})
    for parameter in values.get("params", ()):
        places[f"params.{parameter}"] = _locate(name, text, (*above, "params", parameter))
    return Config(path, text, values, places)


def _locate(name: str, text: str, path: tuple[str, ...]) -> Span:
    """The line of a key, or of the innermost table around it that has a line of its own."""
    best, found = -1, Span(name, 0, 0, 1, 1)
    for own, place in _keys(name, text):
        if path[: len(own)] == own and len(own) > best:
            best, found = len(own), place
    return found


def _keys(name: str, text: str) -> Iterator[tuple[tuple[str, ...], Span]]:
    """Each key and each table with its line; lines of texts of several lines may look like keys."""
    table: tuple[str, ...] = ()
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _parts(header[1])
        if header or key:
            own = table if header else (*table, *_parts(key[1] if key else ""))
            column = len(line) - len(line.lstrip()) + 1
            yield own, Span(name, start + column - 1, start + len(line.rstrip()), number, column)
        start += len(line) + 1


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
