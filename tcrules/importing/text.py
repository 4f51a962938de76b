"""CSV and TSV files, row by row."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tcrules.engine.files.careful import complaint, parse_value, read_rows
from tcrules.engine.files.faults import MOST, Fault, FileFault
from tcrules.engine.files.layout import LAYOUTS
from tcrules.importing.files import wanted_columns
from tcrules.instrument.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tcrules.engine.ir import Predicate
    from tcrules.importing.files import Source
    from tcrules.importing.target import NewRun

#: Characters of one value.
LONGEST_VALUE = 16 << 20
#: From the narrowest on; any text is a string.
_KINDS = ("bool", "int", "float")


class TextReader:
    """Reads text files into a run; the first line names the columns."""

    def __init__(self, target: NewRun, advance: Callable[[int], None]) -> None:
        self._target = target
        self._advance = advance

    def read(self, source: Source) -> dict[str, str]:
        """Add the facts of a file; return base types by column. A file of a relation of the user's is read twice.

        Raises:
            FileFault: with the first `MOST` faults.
        """
        faults: list[Fault] = []
        names = self._header(source.path)
        types = dict.fromkeys(names, "string") if source.known else self._narrowest(source, names)
        predicate = wanted_columns(source, names, types)
        found = {column.name: column.type.base for column in predicate.columns}
        if not source.known:
            self._target.declare(source.relation, found)
        self._add(source, names, predicate, faults)
        if faults:
            raise FileFault(source.path, faults[:MOST])
        return found

    def _header(self, path: Path) -> list[str]:
        faults: list[Fault] = []
        with _rows(path, faults) as rows:
            for _, row in rows:
                return [name.strip() for name in row]
        raise FileFault(path, faults or [Fault(0, "the file is empty")], "the first line names the columns")

    def _narrowest(self, source: Source, names: list[str]) -> dict[str, str]:
        """The narrowest base type of each column that fits all of its values; a column without any is of strings."""
        open_kinds: list[list[str]] = [list(_KINDS) for _ in names]
        rows = 0
        faults: list[Fault] = []
        with _rows(source.path, faults) as lines:
            next(lines)
            for _, row in lines:
                rows += 1
                for kinds, text in zip(open_kinds, row, strict=False):
                    while kinds and _parse(text, kinds[0]) is None:
                        kinds.pop(0)
        if faults:
            raise FileFault(source.path, faults)
        return {
            name: (kinds[0] if kinds and rows else "string")
            for name, kinds in zip(names, open_kinds, strict=True)
        }

    def _add(self, source: Source, names: list[str], predicate: Predicate, faults: list[Fault]) -> None:
        wanted = [column.name for column in predicate.columns]
        bases = [column.type.base for column in predicate.columns]
        places = [names.index(name) for name in wanted]
        # Where all facts are of rank 0, its column may be missing: the schema has it first.
        first = (
            (0,)
            if source.known and "rank" not in wanted and BY_NAME[source.relation].columns[0].name == "rank"
            else ()
        )
        with _rows(source.path, faults, self._advance) as lines:
            next(lines)
            for line, row in lines:
                if len(row) != len(names):
                    what = "an empty line" if not row else f"{len(row)} values"
                    faults.append(Fault(line, f"{what} instead of {len(names)} ({', '.join(names)})"))
                else:
                    values = [_parse(row[place], base) for place, base in zip(places, bases, strict=True)]
                    if None in values:
                        faults += _wrong(line, wanted, bases, [row[place] for place in places])
                    elif not faults:
                        self._target.add(source.relation, *first, *values)
                if len(faults) >= MOST:
                    return


def _wrong(line: int, names: list[str], bases: list[str], texts: list[str]) -> Iterator[Fault]:
    for name, base, text in zip(names, bases, texts, strict=True):
        if _parse(text, base) is None:
            yield Fault(line, f"column {name}: {complaint(text, base)}")


def _parse(text: str, base: str) -> Any:
    """A value; other programs write True and FALSE."""
    return parse_value(text.lower() if base == "bool" else text, base)


@contextmanager
def _rows(
    path: Path, faults: list[Fault], advance: Callable[[int], None] = lambda _bytes: None
) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Open a file and yield its rows with their lines. What is no text ends them with a fault."""
    layout = LAYOUTS.get(path.suffix, LAYOUTS[".csv"])
    with path.open("rb") as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        yield read_rows(_lines(text, faults, advance), layout, faults, longest=LONGEST_VALUE)


def _lines(text: io.TextIOWrapper, faults: list[Fault], advance: Callable[[int], None]) -> Iterator[str]:
    number = 0
    try:
        for line in text:
            number += 1
            advance(len(line))
            yield line
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        faults.append(Fault(number + 1, f"the byte 0x{byte:02x} here or below is no UTF-8 text"))
