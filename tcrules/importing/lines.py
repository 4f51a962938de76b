"""JSON lines of files that may be damaged: cut off, glued together, with junk between them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tcrules.importing.tally import Tally

#: A longer line is left out instead of being held in memory.
LONGEST_LINE = 64 << 20
NO_JSON = "lines that are no JSON object, left out"
CUT = "lines at the end of a file that were cut off, left out"
LONG = f"lines of more than {LONGEST_LINE >> 20} MiB, left out"
GLUED = "lines that hold more than one record, all of them read"
_BLANK = b" \t\r\n\0"
_DECODER = json.JSONDecoder()


class Record(NamedTuple):
    """A JSON object and where it stands."""

    content: dict[str, Any]
    place: str


def read_records(
    path: Path, tally: Tally, advance: Callable[[int], None] = lambda _bytes: None
) -> Iterator[Record]:
    """Yield the JSON objects of a file, one a line, and count what is none; holds one line at a time.

    Args:
        path: the file.
        tally: what was left out is counted here.
        advance: called with the number of bytes that were read since the last call.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            place = f"{path.name}:{number}"
            whole = line.endswith(b"\n")
            advance(len(line))
            if not whole and len(line) == LONGEST_LINE:
                advance(_skip_line(file))
                tally.add(LONG, place)
                continue
            yield from _parse(line.strip(_BLANK), place, whole, tally)


def _skip_line(file: Any) -> int:
    skipped = 0
    while part := file.readline(LONGEST_LINE):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _parse(line: bytes, place: str, whole: bool, tally: Tally) -> Iterator[Record]:
    if not line:
        return
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        yield from _salvage(line, place, whole, tally)
        return
    if isinstance(content, dict):
        yield Record(content, place)
    else:
        tally.add(NO_JSON, place)


def _salvage(line: bytes, place: str, whole: bool, tally: Tally) -> Iterator[Record]:
    """What can be read of a line that is no JSON: records that a lost line end has glued together."""
    text = line.decode("utf-8", "replace")
    start = text.find("{")
    found = 0
    while start >= 0:
        try:
            content, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            # The beginning of a record whose rest is lost; another one may follow it.
            tally.add(NO_JSON if whole else CUT, place)
            start = text.find('{"', start + 1)
            start = -1 if _nested(text, start) else start
            continue
        found += 1
        yield Record(content, place)
        start = text.find("{", end)
    if found > 1:
        tally.add(GLUED, place)
    elif not found and "{" not in text:
        tally.add(NO_JSON, place)


def _nested(text: str, start: int) -> bool:
    """Whether a brace opens a part of a record: what stands before it then is its name, or a list."""
    return start > 0 and text[:start].rstrip()[-1:] in (":", ",", "[")
