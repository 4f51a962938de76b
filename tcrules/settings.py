"""Settings: their kinds, and which of several sources counts: command line, environment, settings file, default."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.grammar.ast import Span
from tcrules.grammar.diagnostics import Diagnostic, Label, TcrError
from tcrules.grammar.words import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcrules.config import Config

_UNITS = "KMG"


class Bad(Exception):
    """A value that a setting cannot have; `inside` are keys below that of the setting."""

    def __init__(self, wanted: str, inside: tuple[str, ...] = ()) -> None:
        super().__init__(wanted)
        self.wanted, self.inside = wanted, inside


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of setting: its default, and how to read it from TOML data in a folder and from a text."""

    default: Any
    of_data: Callable[[Any, Path], Any]
    of_text: Callable[[str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and where it comes from in words."""

    value: Any
    origin: str


Settings: TypeAlias = "dict[str, Setting]"


def size(text: str) -> int:
    """Bytes, written as a number with a unit. Raises Bad.

    >>> size("2 GB"), size("512MB")
    (2147483648, 536870912)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG])(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise Bad("a size such as 500MB or 4GB")
    return int(float(found[1]) * 1024 ** (_UNITS.index(found[2].upper()) + 1))


def settings(
    config: Config, given: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Each setting with where it comes from.

    What is given on the command line counts before `TCRULES_NAME` of the environment, that before the settings file,
    that before the default. Rule files are added to those of the settings file; of parameters each is looked at by
    itself, as `params.NAME`. Raises TcrError for an unusable value in the environment.
    """
    found: Settings = {}
    for name, kind in KINDS.items():
        place = config.places.get(name)
        origin = f"{config.path}:{place.line}" if place is not None else ""
        in_file = Setting(config.values[name], origin) if name in config.values else None
        above = _given(name, kind, given, environment)
        if name == "params":
            found.update(_parameters(config, given.get(name) or {}))
        elif name == "rules" and above is not None and in_file is not None:
            both = {path.resolve(): path for path in (*in_file.value, *above.value)}
            found[name] = Setting(tuple(both.values()), f"{in_file.origin}, {above.origin}")
        else:
            found[name] = above or in_file or Setting(kind.default, "default")
    return found


def told(value: Any) -> str:
    """A value for readers.

    >>> told(None), told(()), told((Path("a.tcr"), "b")), told(True), told("x")
    ('none', 'none', 'a.tcr, b', 'true', '"x"')
    """
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return (
        str(value).lower()
        if isinstance(value, bool)
        else quote(value)
        if isinstance(value, str)
        else str(value)
    )


def variable(name: str) -> str:
    """The environment variable of a setting.

    >>> variable("max-seconds")
    'TCRULES_MAX_SECONDS'
    """
    return f"TCRULES_{name.replace('-', '_').upper()}"


def _parameters(config: Config, given: Mapping[str, Any]) -> Settings:
    found: Settings = {}
    for name, value in config.values.get("params", {}).items():
        found[f"params.{name}"] = Setting(value, f"{config.path}:{config.places[f'params.{name}'].line}")
    found.update({f"params.{name}": Setting(value, "--param") for name, value in given.items()})
    return found


def _given(name: str, kind: Kind, given: Mapping[str, Any], environment: Mapping[str, str]) -> Setting | None:
    value = given.get(name)
    if value is not None and value != ():
        option = f"--no-{name}" if value is False else f"--{name}"
        return Setting(value, option)
    text = environment.get(variable(name), "")
    if kind.of_text is None or not text:
        return None
    try:
        return Setting(kind.of_text(text), variable(name))
    except Bad as bad:
        place = Label(Span(variable(name), 0, len(text), 1, 1))
        message = f"the environment variable `{variable(name)}` must be {bad.wanted}"
        raise TcrError([Diagnostic("TCR702", "error", message, (place,))], {variable(name): text}) from None


# ------------------------------------------------------------------------------------------------ kinds


def _texts(data: Any, _folder: Path) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise Bad("a list of strings")
    return tuple(data)


def _paths(data: Any, folder: Path) -> tuple[Path, ...]:
    """Paths of a settings file are relative to its folder; they become relative to the working folder."""
    return tuple(Path(os.path.relpath(folder / item)) for item in _texts(data, folder))


def _yes(data: Any, _folder: Path) -> bool:
    if not isinstance(data, bool):
        raise Bad("true or false")
    return data


def _yes_text(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.strip().lower() not in known:
        raise Bad("true or false")
    return known[text.strip().lower()]


def _number(data: Any, _folder: Path) -> float:
    if isinstance(data, bool) or not isinstance(data, (int, float)) or not data > 0:
        raise Bad("a number above 0")
    return float(data)


def _number_text(text: str) -> float:
    try:
        return _number(float(text), Path())
    except ValueError:
        raise Bad("a number above 0") from None


def _count(data: Any, _folder: Path) -> int:
    if isinstance(data, bool) or not isinstance(data, int) or data < 1:
        raise Bad("a whole number above 0")
    return data


def _count_text(text: str) -> int:
    if not text.strip().isdecimal():
        raise Bad("a whole number above 0")
    return _count(int(text), Path())


def _size(data: Any, _folder: Path) -> int:
    if not isinstance(data, str):
        raise Bad("a size such as 500MB or 4GB")
    return size(data)


def _values(data: Any, _folder: Path) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Bad("a table of parameters")
    for name, value in data.items():
        if not isinstance(value, (bool, int, float, str)):
            raise Bad("a number, a string, true or false", (name,))
    return data


#: Settings by name.
KINDS: dict[str, Kind] = {
    "rules": Kind((), _paths, lambda text: tuple(Path(part) for part in text.split(os.pathsep) if part)),
    "library": Kind(True, _yes, _yes_text),
    "only": Kind((), _texts, lambda text: tuple(part.strip() for part in text.split(",") if part.strip())),
    "params": Kind({}, _values),
    "max-seconds": Kind(None, _number, _number_text),
    "max-memory": Kind(None, _size, size),
    "max-facts": Kind(None, _count, _count_text),
}
