"""Text files line by line: slow, exact, with every fault of a file."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.files.faults import MOST, Fault, FileFault
from tcrules.engine.files.layout import has_header
from tcrules.engine.files.quick import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tcrules.engine.files.layout import Column, Layout
    from tcrules.engine.ir import Predicate, Value

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE
)
_LIMIT = 2**63
_SHOWN = 40
_TYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}


def read_carefully(path: Path, layout: Layout, predicate: Predicate) -> list[Column]:
    """The columns of a file. Raises FileFault with the first `MOST` faults."""
    content = path.read_bytes()
    names = [column.name for column in predicate.columns]
    if not content and layout.may_have_header:
        header = layout.delimiter.join(names)
        raise FileFault(
            path, [Fault(0, "the file is empty")], f"a relation without facts has the line {header!r}"
        )
    columns: list[list[Value]] = [[] for _ in names]
    faults: list[Fault] = []
    first = content[: content.find(b"\n") + 1] or content
    skip = has_header(first, layout, names)
    text = _text(path, content)
    for line, row in read_rows(io.StringIO(text, newline=""), layout, faults, longest=max(len(text), 1)):
        if skip and line == 1:
            continue
        faults.extend(_add(row, predicate, columns, line))
        if len(faults) >= MOST:
            break
    if faults:
        raise FileFault(path, faults[:MOST])
    bases = [column.type.base for column in predicate.columns]
    return [_array(values, base) for values, base in zip(columns, bases, strict=True)]


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fault = Fault(line, f"the byte 0x{content[error.start]:02x} is no UTF-8 text")
        raise FileFault(
            path, [fault], "facts are UTF-8 text; is this a compressed or another kind of file?"
        ) from None


def read_rows(
    lines: Iterable[str], layout: Layout, faults: list[Fault], *, longest: int
) -> Iterator[tuple[int, list[str]]]:
    """Rows with the lines where they begin; a fault of the format ends them. `lines` keep their line ends."""
    quoting = {"quotechar": layout.quote} if layout.quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    csv.field_size_limit(longest)
    rows = csv.reader(lines, delimiter=layout.delimiter, strict=True, **quoting)
    begin = 1
    try:
        for row in rows:
            yield begin, row
            begin = rows.line_num + 1
    except csv.Error as error:
        faults.append(Fault(begin, f"{error}; a text that begins with a quote ends with one"))


def _add(row: list[str], predicate: Predicate, columns: list[list[Value]], line: int) -> Iterator[Fault]:
    if len(row) != len(columns):
        what = "an empty line" if not row else f"{len(row)} column{'s' * (len(row) > 1)}"
        wanted = ", ".join(column.name for column in predicate.columns)
        yield Fault(line, f"{what} instead of {len(columns)} ({wanted})")
        return
    for text, column, values in zip(row, predicate.columns, columns, strict=True):
        value = parse_value(text, column.type.base)
        if value is None:
            yield Fault(line, f"column {column.name}: {complaint(text, column.type.base)}")
        else:
            values.append(value)


def complaint(text: str, base: str) -> str:
    """Why a text is no value of a base type."""
    if "\0" in text:
        why = "holds a NUL"
    else:
        why = f"is no {base}" + (" of 64 bits" if base == "int" and _INT.fullmatch(text) else "")
    return repr(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "") + f" {why}"


def parse_value(text: str, base: str) -> Value | None:
    """The value of a base type that a text stands for, None where it stands for none."""
    if "\0" in text:
        return None
    if base == "string":
        return text
    if base == "bool":
        return {"true": True, "false": False}.get(text)
    text = text.strip(" ")
    if base == "float":
        return float(text) if _FLOAT.fullmatch(text) else None
    if not _INT.fullmatch(text) or len(text) > _SHOWN:
        return None
    return int(text) if -_LIMIT <= int(text) < _LIMIT else None


def _array(values: list[Value], base: str) -> Column:
    return encode([str(value) for value in values]) if base == "string" else np.array(values, _TYPES[base])
