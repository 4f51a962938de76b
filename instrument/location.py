"""The user's source line that a call came from."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

_HERE = os.path.dirname(os.path.abspath(__file__))
MAX_CACHED = 20_000


class Locator:
    """Finds the innermost frame outside torch, this project and the standard library.

    Libraries that train on the user's behalf (Lightning, Transformers) count as user code: theirs is the line
    that made the call.
    """

    def __init__(self) -> None:
        paths = sysconfig.get_paths()
        torch = sys.modules.get("torch")
        packages = [_HERE, *(os.path.dirname(f) for f in [getattr(torch, "__file__", None)] if f)]
        self._hidden = tuple(path + os.sep for path in packages)
        self._standard = tuple({paths["stdlib"] + os.sep, paths["platstdlib"] + os.sep})
        self._installed = tuple({paths["purelib"] + os.sep, paths["platlib"] + os.sep})
        self._start = os.getcwd()  # file names are relative to it; the script may change directory
        # By id, as the hash of a code object is computed from all its instructions each time; the entry keeps the
        # code alive, so that the id stays its own. The second dictionary is by instruction: line numbers are decoded.
        self._known: dict[int, tuple[CodeType, str, dict[int, tuple[str, int, str]]]] = {}

    def find(self, depth: int = 1) -> tuple[str, int, str] | None:
        """Return (absolute file, 1-based line, function), None without one; about 0.1 µs per frame."""
        frame: FrameType | None = sys._getframe(depth)
        known = self._known
        while frame is not None:
            code = frame.f_code
            entry = known.get(id(code))
            if entry is None:
                entry = self._classify(code)
            if entry[1]:
                place = entry[2].get(frame.f_lasti)
                if place is None:
                    place = entry[2][frame.f_lasti] = (entry[1], frame.f_lineno, code.co_qualname)
                return place
            frame = frame.f_back
        return None

    def frames(self, depth: int = 1) -> Iterator[FrameType]:
        """Yield the frames of user code, innermost first."""
        frame: FrameType | None = sys._getframe(depth)
        while frame is not None:
            entry = self._known.get(id(frame.f_code)) or self._classify(frame.f_code)
            if entry[1]:
                yield frame
            frame = frame.f_back

    def _classify(self, code: CodeType) -> tuple[CodeType, str, dict[int, tuple[str, int, str]]]:
        """Remember the path of user code, "" for code that is to be skipped."""
        if len(self._known) >= MAX_CACHED:  # code made at run time must not be kept alive for ever
            self._known.clear()
        name = code.co_filename
        path = name if name.startswith("<") else os.path.join(self._start, name)
        standard = path.startswith(self._standard) and not path.startswith(self._installed)
        hidden = standard or path.startswith(self._hidden) or name.startswith("<frozen") or name == "<string>"
        entry = self._known[id(code)] = (code, "" if hidden else path, {})
        return entry


__all__ = ["Locator"]
