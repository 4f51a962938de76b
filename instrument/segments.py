"""Reads the segments of a run: what each process wrote, whether it ended well or was killed."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from tcrules.instrument.layout import HANDLE, MARK, META, NAMES, STRINGS, USER, row_dtype, stored_columns
from tcrules.instrument.names import resolve
from tcrules.instrument.schema import BY_NAME, TYPES
from tcrules.instrument.userfacts import BadFact, check_fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Records = dict[str, tuple[str | None, str]]
_UNNAMED = {"m": "module", "p": "param", "b": "buffer"}


@dataclass(frozen=True)
class Segment:
    """What one process wrote. Reading is lazy; damaged tails are left out."""

    folder: Path
    meta: Mapping[str, Any] = field(hash=False)

    @property
    def pid(self) -> int:
        return _int(self.meta.get("pid"))

    @property
    def started(self) -> float:
        """Start of the process or of its recording, in seconds since 1970."""
        started = self.meta.get("started")
        return float(started) if isinstance(started, int | float) else 0.0

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The intern table, placeholders unresolved."""
        return tuple(data.decode("utf-8", "replace") for data in _blocks(self.folder / STRINGS))

    @cached_property
    def records(self) -> Records:
        """Handle -> (root, path); the last record wins, but never one of last resort."""
        found: Records = {}
        for data in _blocks(self.folder / NAMES):
            note_name(found, data)
        return found

    def names(self, ambiguous: frozenset[str]) -> np.ndarray[Any, Any]:
        """Return the intern table with final names, as an object array to be indexed by ids."""
        return name_table(self.texts, resolve(self.records, ambiguous))

    def rows(self, relation: str, start: int = 0) -> np.ndarray[Any, Any]:
        """Return the complete rows of a relation from row number `start` on, fields `c0`, `c1`, … and `mark`.

        Rows that were torn, reserved and never filled, or refer to a text that was not written are left out.
        """
        schema = BY_NAME[relation]
        dtype = row_dtype(schema)
        try:
            data = np.fromfile(self.folder / f"{relation}.rows", dtype=dtype, offset=start * dtype.itemsize)
        except (OSError, ValueError):
            return np.empty(0, dtype)
        whole = data["mark"] == MARK
        for index, column in enumerate(stored_columns(schema)):
            if TYPES[column.type] == "string":
                whole &= data[f"c{index}"] < len(self.texts)
        complete: np.ndarray[Any, Any] = data[whole]
        return complete

    @cached_property
    def recorded(self) -> frozenset[str]:
        """Names of the relations that have at least one fact, user relations included."""
        files = [path.stem for path in self.folder.glob("*.rows") if path.stem in BY_NAME]
        return frozenset(name for name in files if len(self.rows(name))) | {
            name for name, _ in self.user_facts()
        }

    def user_facts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (relation, columns) of the facts that the script reported, in order."""
        try:
            lines = (self.folder / USER).read_bytes().split(b"\n")
        except OSError:
            return
        yield from user_facts(lines[:-1])


def note_name(records: Records, data: bytes) -> None:
    """Take over one block of the file of names; what makes no sense is left out."""
    try:
        handle, root, path = json.loads(data)
    except (ValueError, TypeError, RecursionError):
        return
    if not (isinstance(handle, str) and isinstance(path, str) and isinstance(root, str | None)):
        return
    if root is not None or records.get(handle, (None,))[0] is None:
        records[handle] = (root, path)


def name_table(texts: Iterable[str], final: Mapping[str, str]) -> np.ndarray[Any, Any]:
    """Return an intern table with names in place of handles, as an object array to be indexed by ids."""
    table = [final.get(text) or _unnamed(text) if text.startswith(HANDLE) else text for text in texts]
    return np.array([*table, ""], dtype=object)


def user_facts(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (relation, columns) of lines that the script wrote; what makes no sense is left out."""
    for line in lines:
        try:
            relation, columns = json.loads(line)
            # checked again: a name that is none would get into SQL and into the path of a file
            yield relation, check_fact(relation, columns, step=0)
        except (ValueError, TypeError, AttributeError, RecursionError, BadFact):
            continue


def read_segments(run: Path) -> tuple[list[Segment], list[str]]:
    """Return the segments of a run in order of their start, and notes on those that cannot be read."""
    segments, notes = [], []
    folders = sorted((run / "segments").glob("*")) if (run / "segments").is_dir() else []
    for folder in folders:
        segment = read_segment(folder)
        if segment is not None:
            segments.append(segment)
        else:
            notes.append(f"segments/{folder.name} is damaged and was left out")
    return in_order(segments), notes


def read_segment(folder: Path) -> Segment | None:
    """Return what one process wrote, None where nothing can be read."""
    try:
        meta = json.loads((folder / META).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(meta, dict):
        return None
    return Segment(folder, {key: meta[key] for key in meta if _is_sound(key, meta[key])})


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments in order of their start."""
    return sorted(segments, key=lambda segment: (segment.started, segment.pid, segment.folder.name))


def _is_sound(key: str, value: object) -> bool:
    """Whether an entry of `meta.json` is what readers expect; entries that nobody reads are."""
    if key in ("pid", "ppid", "rank", "world_size"):
        return type(value) is int and 0 <= value < 1 << 31
    if key == "started":
        return isinstance(value, int | float) and 0 <= value < 1 << 40
    if key in ("argv", "covers"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return key == "distributed" or isinstance(value, str)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the length-prefixed blocks of a file up to the first torn one."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    yield from blocks(data)


def blocks(data: bytes) -> Iterator[bytes]:
    """Yield the length-prefixed blocks of some bytes up to the first torn one; each takes four bytes more."""
    position = 0
    while position + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, position)
        position += 4 + length
        if position > len(data):
            return
        yield data[position - length : position]


def _unnamed(handle: str) -> str:
    return f"{_UNNAMED.get(handle[1:2], 'object')}?{handle[2:]}"


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
