"""How the text formats are written: delimiter, quotes, header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

#: One column: int64, float64 or bool values; a string column as a code per fact, and the texts that codes stand for.
Column: TypeAlias = "np.ndarray | tuple[np.ndarray, list[str]]"


@dataclass(frozen=True, slots=True)
class Layout:
    """A text format. Without quotes, a text is everything between delimiters."""

    delimiter: str
    quote: str | None
    may_have_header: bool


#: By suffix. `.facts` is Soufflé's: tabs, no quotes, no header.
LAYOUTS = {
    ".facts": Layout("\t", None, False),
    ".tsv": Layout("\t", '"', True),
    ".csv": Layout(",", '"', True),
}
SUFFIXES = (*LAYOUTS, ".parquet")


def has_header(first_line: bytes, layout: Layout, names: list[str]) -> bool:
    """Whether the first line of a file is exactly the names of the columns."""
    if not layout.may_have_header:
        return False
    words = (
        first_line.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n").split(layout.delimiter)
    )
    return [word.strip('"') for word in words] == names
