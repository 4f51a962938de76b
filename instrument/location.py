"""The user's source line that a call came from."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        self._user: dict[CodeType, str] = {}

    def find(self, depth: int = 1) -> tuple[str, int, str] | None:
        """Return (absolute file, 1-based line, function), None without one; about 0.1 µs per frame."""
        frame: FrameType | None = sys._getframe(depth)
        known = self._user
        while frame is not None:
            code = frame.f_code
            file = known.get(code)
            if file is None:
                file = self._classify(code)
            if file:
                return file, frame.f_lineno, code.co_qualname
            frame = frame.f_back
        return None

    def _classify(self, code: CodeType) -> str:
        """Return the path of user code, "" for code that is to be skipped."""
        if len(self._user) >= MAX_CACHED:  # code made at run time must not be kept alive for ever
            self._user.clear()
        name = code.co_filename
        path = name if name.startswith("<") else os.path.join(self._start, name)
        standard = path.startswith(self._standard) and not path.startswith(self._installed)
        hidden = standard or path.startswith(self._hidden) or name.startswith("<frozen") or name == "<string>"
        self._user[code] = "" if hidden else path
        return self._user[code]


__all__ = ["Locator"]
