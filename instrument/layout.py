"""The layout of a row on disk, shared by the writer (`sink`) and the reader (`segments`).

A row is the relation's columns without `rank`, little-endian and unpadded, followed by one marker byte.
`struct` clears the row before it fills it and writes the marker last, so a row whose marker is not `MARK` was
torn by a kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.instrument.schema import TYPES, Column, Relation

if TYPE_CHECKING:
    import numpy as np

#: Last byte of a row that was written to its end.
MARK = 1
#: Base type -> `struct` code. Strings are stored as ids of the segment's intern table.
CODES = {"int": "q", "float": "d", "bool": "?", "string": "I"}
NUMPY_CODES = {"int": "<i8", "float": "<f8", "bool": "u1", "string": "<u4"}
#: Files of a segment that are not rows.
META, STRINGS, NAMES, USER = "meta.json", "strings.bin", "names.bin", "user.bin"
#: First character of a placeholder in the intern table; `names.bin` maps the rest of the text to the final
#: name.
HANDLE = "\x01"


def stored_columns(relation: Relation) -> tuple[Column, ...]:
    """Return the columns that a probe passes: all but `rank`, which is known only when the run is sealed."""
    return tuple(column for column in relation.columns if column.name != "rank")


def row_format(relation: Relation) -> str:
    """Return the `struct` format of a row.

    >>> from tcrules.instrument.schema import BY_NAME
    >>> row_format(BY_NAME["step"])
    '<qqqB'
    """
    return "<" + "".join(CODES[TYPES[column.type]] for column in stored_columns(relation)) + "B"


def row_dtype(relation: Relation) -> np.dtype[np.void]:
    """Return the packed numpy dtype of a row; its fields are `c0`, `c1`, … and `mark`."""
    import numpy as np

    fields = [(f"c{i}", NUMPY_CODES[TYPES[column.type]]) for i, column in enumerate(stored_columns(relation))]
    return np.dtype([*fields, ("mark", "u1")])
