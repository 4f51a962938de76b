"""What learning keeps beside a run: statistics by template, and what the run is. A run is read once.

The file says nothing that the facts do not say: one that is missing, damaged, of another recording or of another
version is the same as none.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tcrules.rules.infer.model import Counts, Values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.instrument.runs import RunFolder

#: File in a run folder.
CACHE = "statistics.json"
#: Changes where the same content would mean something else.
FORMAT = 2


@dataclass(frozen=True, slots=True)
class About:
    """What learning needs to know of a run besides its statistics.

    Attributes:
        project: the program, told apart by the file that steps the optimizer.
        steps: steps of optimizers.
        settings: what the command line and the script set, name -> values in order, as text.
    """

    project: str
    steps: int
    settings: Mapping[str, str]


@dataclass(slots=True)
class Kept:
    """What is known of a run.

    Attributes:
        about: None = not looked at yet.
        counts: statistics by key of the template.
        too_wide: key of the template -> the bound within which it had too many bindings.
        healthy: keys of the checks that found nothing.
    """

    about: About | None = None
    counts: dict[str, Counts] = field(default_factory=dict)
    too_wide: dict[str, int] = field(default_factory=dict)
    healthy: set[str] = field(default_factory=set)


def read_kept(folder: RunFolder) -> Kept:
    """What was kept of this recording; nothing where that cannot be read."""
    try:
        content: dict[str, Any] = json.loads((folder.path / CACHE).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["run"] != recording(folder):
            return Kept()
        return Kept(
            _about(content["about"]),
            {key: _unpacked(rows) for key, rows in content["templates"].items()},
            {str(key): int(most) for key, most in content["too_wide"].items()},
            set(map(str, content["healthy"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Kept()


def write_kept(folder: RunFolder, kept: Kept) -> None:
    """Keep it, at once or not at all; a run that goes on or cannot be written is read again the next time."""
    if folder.facts != folder.path / "facts":
        return  # read from a copy: still going on, or of an older version
    content = {
        "format": FORMAT,
        "run": recording(folder),
        "about": None if kept.about is None else asdict(kept.about),
        "templates": {key: _packed(one) for key, one in sorted(kept.counts.items())},
        "too_wide": kept.too_wide,
        "healthy": sorted(kept.healthy),
    }
    temporary = folder.path / f".{CACHE}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        os.replace(temporary, folder.path / CACHE)
    except OSError:
        temporary.unlink(missing_ok=True)


def recording(folder: RunFolder) -> list[object]:
    """Tells recordings apart, also those that used the same folder one after the other."""
    told = folder.manifest
    return [told.started, told.ended, told.command, told.host, told.pid, told.schema]


def _about(given: Mapping[str, Any] | None) -> About | None:
    if given is None:
        return None
    settings = {str(name): str(value) for name, value in given["settings"].items()}
    return About(str(given["project"]), int(given["steps"]), settings)


def _packed(counts: Counts) -> dict[str, Any]:
    return {
        "triggers": [[*key, number] for key, number in counts.triggers.items()],
        "held": [[*key, number] for key, number in counts.held.items()],
    }


def _unpacked(rows: Mapping[str, Any]) -> Counts:
    return Counts(
        {(_values(bound), _values(guard)): int(n) for bound, guard, n in rows["triggers"]},
        {(_values(bound), _values(guard), _values(free)): int(n) for bound, guard, free, n in rows["held"]},
    )


def _values(found: Sequence[Any]) -> Values:
    if not isinstance(found, list) or not all(isinstance(value, str | int | float) for value in found):
        raise TypeError("no values")
    return tuple(found)
