"""Files of a segment while their process writes them: each is read on from where reading stopped."""

from __future__ import annotations

import os
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from tcrules.instrument.layout import MARK, NAMES, STRINGS, USER, row_dtype, stored_columns
from tcrules.instrument.schema import TYPES
from tcrules.instrument.segments import Records, blocks, name_table, note_name, user_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tcrules.instrument.schema import Relation

#: Bytes of rows that are looked at in one go.
WINDOW = 32 << 10
#: A row that is not complete after so many seconds, while later ones are, never will be.
PATIENCE_S = 2.0

Array = np.ndarray[Any, Any]


class Stop(Enum):
    """Why reading stopped: at the last row, before a later step, at a row that is being written, or half-way."""

    END = 0
    LATER = 1
    TORN = 2
    MORE = 3


class Texts:
    """The intern table of a segment and what is known about its handles.

    Attributes:
        table: id -> text, names in place of handles, as it was made last.
        paths: texts that are absolute paths of Python files.
    """

    def __init__(self, folder: Path) -> None:
        self.records: Records = {}
        self.table: Array = name_table((), {})
        self.paths: list[str] = []
        self._texts: list[str] = []
        self._strings, self._names = _Blocks(folder / STRINGS), _Blocks(folder / NAMES)
        self._used = np.zeros(0, dtype=bool)

    def __len__(self) -> int:
        return len(self._texts)

    def read(self) -> None:
        """Read the texts that are new."""
        new = [data.decode("utf-8", "replace") for data in self._strings.read()]
        self._texts += new
        self.paths += [text for text in new if text.endswith(".py") and os.path.isabs(text)]

    def read_names(self) -> bool:
        """Read what has become known about handles; whether there was anything."""
        found = self._names.read()
        for data in found:
            note_name(self.records, data)
        return bool(found)

    def use(self, ids: Array) -> None:
        """These texts are part of facts that were handed on: their names must not change any more."""
        if len(self._used) < len(self._texts):
            self._used = np.concatenate([self._used, np.zeros(len(self._texts), dtype=bool)])
        self._used[ids] = True

    def name(self, final: Mapping[str, str]) -> bool:
        """Make the table anew; False if a name that was used is another one now."""
        before, self.table = self.table, name_table(self._texts, final)
        used = np.flatnonzero(self._used)
        return bool(np.array_equal(before[used], self.table[used]))


class Rows:
    """The rows of one relation in a segment."""

    def __init__(self, folder: Path, relation: Relation) -> None:
        self.relation = relation
        columns = stored_columns(relation)
        self._path = folder / f"{relation.name}.rows"
        self._dtype = row_dtype(relation)
        self.texts = [f"c{at}" for at, column in enumerate(columns) if TYPES[column.type] == "string"]
        steps = [f"c{at}" for at, column in enumerate(columns) if column.type == "step"]
        self._step = steps[0] if len(steps) == 1 else None
        self._at = 0
        self._torn = (-1, 0.0)

    def read(self, until: float, texts: Texts, *, final: bool = False) -> tuple[Array, Stop]:
        """Return the next complete rows, those before the first that belongs to a step later than `until`.

        `final`: nobody writes any more, so that what is incomplete is lost.
        """
        data = self._window(self._at, WINDOW)
        whole = self._whole(data, texts)
        count, stop = len(data), Stop.MORE if data.nbytes + self._dtype.itemsize > WINDOW else Stop.END
        if not whole.all():
            first = int(np.argmin(whole))
            last = len(whole) - int(np.argmax(whole[::-1])) if whole.any() else 0
            lost = last > first and (final or self._is_lost(self._at + first))
            count, stop = (last, stop) if lost else (first, Stop.TORN if last > first else Stop.END)
        if self._step is not None and count:
            later = whole[:count] & (data[self._step][:count] > until)
            if later.any():
                count, stop = int(np.argmax(later)), Stop.LATER
        self._at += count
        return data[:count][whole[:count]], stop

    def all(self, texts: Texts) -> Iterator[Array]:
        """Yield all complete rows, in portions; where reading goes on is not touched."""
        at = 0
        while len(data := self._window(at, 32 * WINDOW)):
            yield data[self._whole(data, texts)]
            at += len(data)

    def begun(self) -> bool:
        """Whether there is a complete row at the beginning."""
        first = self._window(0, self._dtype.itemsize)
        return len(first) > 0 and first["mark"][0] == MARK

    def _window(self, at: int, size: int) -> Array:
        item = self._dtype.itemsize
        data = _read(self._path, at * item, size // item * item)
        return np.frombuffer(data[: len(data) // item * item], self._dtype)

    def _whole(self, data: Array, texts: Texts) -> Array:
        whole: Array = data["mark"] == MARK
        if self.texts and whole.any():
            highest = max(int(data[name][whole].max()) for name in self.texts)
            if highest >= len(texts):
                texts.read()
            for name in self.texts if highest >= len(texts) else ():
                whole &= data[name] < len(texts)
        return whole

    def _is_lost(self, row: int) -> bool:
        now = time.monotonic()
        if self._torn[0] != row:
            self._torn = row, now
        return now - self._torn[1] > PATIENCE_S


class UserFacts:
    """The facts that the script of a segment reports."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / USER
        self._at = 0

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield those that are new: relation, columns."""
        data = _read(self._path, self._at)
        end = data.rfind(b"\n") + 1
        self._at += end
        yield from user_facts(data[:end].split(b"\n")[:-1])


class _Blocks:
    """A file of length-prefixed blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> list[bytes]:
        """Return the complete blocks that are new."""
        found = list(blocks(_read(self._path, self._at)))
        self._at += sum(4 + len(data) for data in found)
        return found


def _read(path: Path, start: int, size: int = -1) -> bytes:
    """Return what a file holds from `start` on, up to `size` bytes; nothing of a file that is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        size = os.fstat(descriptor).st_size - start if size < 0 else size
        return os.pread(descriptor, size, start) if size > 0 else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
