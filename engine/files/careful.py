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
    from collections.abc import Iterator
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
    for line, row in _rows(_text(path, content), layout, faults, skip=has_header(first, layout, names)):
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


def _rows(text: str, layout: Layout, faults: list[Fault], *, skip: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows with the lines where they begin; a fault of the format ends them."""
    quoting = {"quotechar": layout.quote} if layout.quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    csv.field_size_limit(max(len(text), 1))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter, strict=True, **quoting)
    begin = 1
    try:
        for row in rows:
            if not (skip and begin == 1):
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
        value = None if "\0" in text else _value(text, column.type.base)
        if value is None:
            shown = repr(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
            why = (
                "holds a NUL" if "\0" in text else f"is no {column.type.base}{_range(text, column.type.base)}"
            )
            yield Fault(line, f"column {column.name}: {shown} {why}")
        else:
            values.append(value)


def _value(text: str, base: str) -> Value | None:
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


def _range(text: str, base: str) -> str:
    return " of 64 bits" if base == "int" and _INT.fullmatch(text) else ""


def _array(values: list[Value], base: str) -> Column:
    return encode([str(value) for value in values]) if base == "string" else np.array(values, _TYPES[base])
