"""Writes facts of one process so that nothing is lost when it is killed.

Each relation is a file of fixed-width rows, mapped shared: a row that was written is in the page cache and
survives `kill -9`. Space is reserved on the disk before it is mapped, because a write into a hole of a full
disk is a SIGBUS that would end the training run. Nothing is created before the first row, so a process
without facts leaves no trace.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import threading
from itertools import count
from typing import TYPE_CHECKING, Protocol

from tcrules.instrument.layout import META, NAMES, STRINGS, USER, row_format, stored_columns
from tcrules.instrument.schema import BY_NAME, TYPES, Relation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FIRST_CHUNK, LAST_CHUNK = 4 << 10, 4 << 20
#: Reserved at once, so that gaps can be told on a full disk; more than a session tells.
GAP_CHUNK = 32 << 10
MAX_STRINGS, MAX_STRING, MAX_STRING_BYTES = 200_000, 4000, 64 << 20
DEFAULT_LIMIT = 2 << 30
OVERFLOW = "…"
GAP = "instrument_gap"
WHY_STRINGS = "too many distinct strings: later ones are recorded as …"
WHY_LIMIT = "the disk budget of the process is used up"
WHY_SPACE = "no space left on the device"
WHY_IO = "the run folder cannot be written"
#: Written when a segment is created, so that a gap can be recorded when nothing else can be written any more.
_EARLY = ("", "*", OVERFLOW, WHY_STRINGS, WHY_LIMIT, WHY_SPACE, WHY_IO, *BY_NAME)


class Writer(Protocol):
    """Writes one fact: the relation's columns in schema order, positional, without `rank`."""

    def __call__(self, *columns: int | float | bool | str) -> None: ...


class _Rows:
    """The row file of one relation. `next` hands out offsets; `map` holds what is mapped so far."""

    __slots__ = ("capacity", "map", "next", "pack_into", "relation", "size", "stopped")

    def __init__(self, relation: Relation) -> None:
        layout = struct.Struct(row_format(relation))
        self.relation = relation.name
        self.size = layout.size
        self.pack_into = layout.pack_into
        self.reset()

    def reset(self) -> None:
        """Forget the file. The map of another process must never be written to."""
        self.map: mmap.mmap | bytearray = bytearray()
        self.capacity = 0
        self.stopped = False
        self.next: Callable[[], int] = count(0, self.size).__next__


class Sink:
    """The segment of one process.

    Args:
        folder: the segment's own folder; created with the first fact.
        limit: bytes of disk that the process may use; a relation that would exceed it is stopped with a gap.
        describe: returns what `meta.json` holds; called when the folder is created and by `write_meta`.
    """

    def __init__(
        self, folder: Path, *, limit: int = DEFAULT_LIMIT, describe: Callable[[], Mapping[str, object]] = dict
    ) -> None:
        self._limit = limit
        self._describe = describe
        self._writers: dict[str, Writer] = {}
        self._rows: dict[str, _Rows] = {}
        #: Descriptor of a file, and which file it is: the program may close descriptors that are not its own.
        self._files: dict[str, tuple[int, tuple[int, int]]] = {}
        self._ids: dict[str, int] = {}
        #: Called with (relation, why) when facts of a relation are lost; a full table is reported as relation
        #: "*".
        self.on_stop: Callable[[str, str], None] = lambda _relation, _why: None
        #: Called once when the folder was created, before the first row.
        self.on_open: Callable[[], None] = lambda: None
        self.reset(folder)

    def reset(self, folder: Path) -> None:
        """Start over in `folder`, keeping the writers that were handed out: what a fork needs."""
        self._close_files()
        self.folder = folder
        self.opened = False
        self._broken = self._closed = self._overflowed = False
        self._lock = threading.RLock()
        self._ids.clear()  # in place: the writers hold it
        self._used = self._string_bytes = 0
        for rows in self._rows.values():
            rows.reset()

    def writer(self, relation: str) -> Writer:
        """Return the writer of a relation; about 0.5 µs per fact of eight columns, safe in any thread.

        The writer raises TypeError or struct.error on a wrong number or type of columns (nothing is written
        then), and nothing on a full disk or after `close`: the relation is stopped and a gap recorded.

        Raises:
            KeyError: the schema has no such relation.
        """
        if relation not in self._writers:
            schema = BY_NAME[relation]
            rows = self._rows.setdefault(relation, _Rows(schema))
            self._writers[relation] = _compile(schema, rows, self._ids, self.intern, self._place)
        return self._writers[relation]

    def intern(self, text: str) -> int:
        """Return the id of `text` in this segment, adding it when new; texts are cut at 4,000 characters.

        -1 if it cannot be written any more: then no fact may be that has it.
        """
        if not isinstance(text, str):
            raise TypeError(f"a column of text got {type(text).__name__}")
        with self._lock:
            self._open()
            known = self._ids.get(text)
            if known is not None:
                return known
            data = text[:MAX_STRING].encode("utf-8", "backslashreplace")
            if len(self._ids) >= MAX_STRINGS or self._string_bytes + len(data) > MAX_STRING_BYTES:
                return self._overflow()
            if not self.append(STRINGS, struct.pack("<I", len(data)) + data):
                return -1
            self._string_bytes += len(data)
            return self._ids.setdefault(text, len(self._ids))

    def append(self, file: str, data: bytes) -> bool:
        """Append to a file of the segment with one unbuffered write; False if it could not be written."""
        with self._lock:
            self._open()
            if self._broken or self._closed:
                return False
            if self._used + len(data) > self._limit:
                self._fail(WHY_LIMIT)
                return False
            try:
                written = os.write(self._descriptor(file), data)
            except OSError as fault:
                self._fail(_reason(fault))
                return False
            self._used += written
            if written < len(data):  # a torn tail ends the file: whatever followed could not be told from it
                self._fail(WHY_SPACE)
                return False
            return True

    def _descriptor(self, file: str) -> int:
        known = self._files.get(file)
        if known is None:
            descriptor = os.open(self.folder / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            known = self._files[file] = descriptor, _identity(descriptor)
        elif _identity(known[0]) != known[1]:  # it is a file of the program by now
            del self._files[file]
            return self._descriptor(file)
        return known[0]

    def _close_files(self) -> None:
        for descriptor, identity in self._files.values():
            try:
                if _identity(descriptor) == identity:
                    os.close(descriptor)
            except OSError:
                pass
        self._files.clear()

    def write_meta(self) -> None:
        """Rewrite `meta.json` atomically; nothing happens before the first fact."""
        if not self.opened or self._broken:
            return
        temporary = self.folder / f".{META}"
        try:
            temporary.write_text(json.dumps(self._describe(), default=str), encoding="utf-8")
            os.replace(temporary, self.folder / META)
        except Exception:
            pass  # the previous description stays; a description asks the system, and torch

    def close(self) -> None:
        """Cut the files to their used length and stop writing; idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for rows in self._rows.values():
                self._finish(rows)
            self._close_files()

    def _finish(self, rows: _Rows) -> None:
        mapped, capacity, rows.map, rows.capacity, rows.stopped = (
            rows.map,
            rows.capacity,
            bytearray(),
            0,
            True,
        )
        # Taken after the swap: a thread that still holds the old map got its offset earlier, so it lies
        # below, and what follows never cuts off a page that is about to be written.
        used = rows.next()
        if isinstance(mapped, mmap.mmap):
            try:
                os.truncate(self._path(rows), min(used, capacity))
            except OSError:
                pass

    def _path(self, rows: _Rows) -> Path:
        return self.folder / f"{rows.relation}.rows"

    def _open(self) -> None:
        """Create the folder and what must exist before any row; with the lock held."""
        if self.opened or self._closed:
            return
        self.opened = True
        try:
            self._make_folder()
        except OSError as fault:
            self._fail(_reason(fault))
            return
        self.write_meta()
        encoded = [text.encode() for text in _EARLY]
        if self.append(STRINGS, b"".join(struct.pack("<I", len(text)) + text for text in encoded)):
            self._ids.update((text, index) for index, text in enumerate(_EARLY))
        self._grow(self._rows.setdefault(GAP, _Rows(BY_NAME[GAP])))
        self.on_open()

    def _make_folder(self) -> None:
        """Make a folder that nobody has: clocks may stand still, and process ids are the same in every container."""
        first = self.folder
        for number in range(1, 1000):
            try:
                self.folder.mkdir(parents=True)
                return
            except FileExistsError:
                self.folder = first.with_name(f"{first.name}-{number}")
        raise FileExistsError(errno.EEXIST, "folders of this name exist", str(first))

    def _overflow(self) -> int:
        if not self._overflowed:
            self._overflowed = True
            self.on_stop("*", WHY_STRINGS)
        return self._ids.get(OVERFLOW, 0)

    def _fail(self, why: str) -> None:
        """Stop writing texts, and with them whatever refers to new ones."""
        if not self._broken:
            self._broken = True
            self.on_stop("*", why)

    def _place(self, rows: _Rows, offset: int, values: tuple[int | float | bool, ...]) -> None:
        """Write a row that the mapped part of the file has no room for."""
        with self._lock:
            self._open()
            while not rows.stopped and rows.capacity < offset + rows.size:
                self._grow(rows)
            if not rows.stopped:
                rows.pack_into(rows.map, offset, *values)

    def _grow(self, rows: _Rows) -> None:
        """Reserve and map the next chunk, or stop the relation. Other threads may still use the old map."""
        chunk = GAP_CHUNK if rows.relation == GAP else min(max(rows.capacity, FIRST_CHUNK), LAST_CHUNK)
        if self._closed or self._broken:  # a gap for all relations was recorded already
            rows.stopped = True
            return
        if self._used + chunk > self._limit:
            self._stop(rows, WHY_LIMIT)
            return
        try:
            descriptor = os.open(self._path(rows), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _reserve(descriptor, rows.capacity, chunk)
                rows.map = mmap.mmap(descriptor, rows.capacity + chunk)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as fault:
            self._stop(rows, _reason(fault))
            return
        rows.capacity += chunk
        self._used += chunk

    def _stop(self, rows: _Rows, why: str) -> None:
        if not rows.stopped:
            rows.stopped = True
            if rows.relation != GAP:
                self.on_stop(rows.relation, why)


def _reason(fault: OSError | ValueError) -> str:
    """Return why a file could not be written; a limit on the size of files is a lack of space, too."""
    full = isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return WHY_SPACE if full else WHY_IO


def _identity(descriptor: int) -> tuple[int, int]:
    about = os.fstat(descriptor)
    return about.st_dev, about.st_ino


def _reserve(descriptor: int, start: int, length: int) -> None:
    """Extend a file by blocks that exist, so that storing into the map cannot fail."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, length)
        return
    if os.pwrite(descriptor, bytes(length), start) != length:  # macOS
        raise OSError(errno.ENOSPC, "short write")


def _compile(
    relation: Relation,
    rows: _Rows,
    ids: dict[str, int],
    intern: Callable[[str], int],
    place: Callable[[_Rows, int, tuple[int | float | bool, ...]], None],
) -> Writer:
    """Generate the writer of a relation.

    Generated rather than written once over `*columns`, which costs three times as much. `rows.next` is a C
    function and `pack_into` one C call: each is atomic under the interpreter lock, so threads never share an
    offset.
    """
    kinds = [TYPES[column.type] for column in stored_columns(relation)]
    names = [f"c{i}" for i in range(len(kinds))]
    texts = [name for name, kind in zip(names, kinds, strict=True) if kind == "string"]
    values = ", ".join(f"i{name}" if name in texts else name for name in names)
    lines = [f"def write({', '.join(names)}, /):"]
    if texts:
        lines += ["    try:", *(f"        i{name} = ids[{name}]" for name in texts)]
        lines += ["    except KeyError:", *(f"        i{name} = intern({name})" for name in texts)]
        lines += [f"        if min({', '.join(f'i{name}' for name in texts)}, 0) < 0: return"]
    lines += [
        "    offset = rows.next()",
        "    try:",
        f"        rows.pack_into(rows.map, offset, {values}, 1)",
        "    except error:",
        "        if offset + rows.size <= rows.capacity: raise",
        f"        place(rows, offset, ({values}, 1))",
    ]
    scope: dict[str, object] = {
        "ids": ids,
        "intern": intern,
        "rows": rows,
        "place": place,
        "error": struct.error,
    }
    exec("\n".join(lines), scope)  # the text is made of our own schema only
    write: Writer = scope["write"]  # type: ignore[assignment]
    return write


__all__ = ["NAMES", "USER", "Sink", "Writer"]
