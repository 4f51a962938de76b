"""The variables of functions that are running, read without a trace.

`frame.f_locals` is no way to do so before Python 3.13: it makes a dictionary that stays with the frame, keeps alive
what the function has long deleted, and changes what an earlier `locals()` of the function returned.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

_WORD = ctypes.sizeof(ctypes.c_void_p)
#: Python 3.11, in words: where a frame object has its internal frame; where that one has its code, its frame object and
#: its first variable.
_INTERNAL, _CODE, _OBJECT, _FIRST = 3, 4, 5, 9


def variables(frame: FrameType) -> dict[str, Any]:
    """Return the arguments and local variables of a frame that have a value; those of closures are left out.

    Of a module it is the namespace itself. Empty where this interpreter does not tell without a trace.
    """
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED:
        return dict(frame.f_locals)  # the namespace itself: nothing is made
    if sys.version_info >= (3, 13):
        captured = {*code.co_cellvars, *code.co_freevars}
        return {name: value for name, value in frame.f_locals.items() if name not in captured}
    if sys.implementation.name != "cpython" or _WORD != 8:
        return {}
    return dict(_by_call(frame, code) if sys.version_info >= (3, 12) else _by_address(frame, code))


def _by_call(frame: FrameType, code: CodeType) -> Iterator[tuple[str, Any]]:
    """Python 3.12."""
    get = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object)(
        ("PyFrame_GetVar", ctypes.pythonapi)
    )
    for name in code.co_varnames:
        try:
            yield name, get(frame, name)
        except NameError:
            pass  # it has no value


def _by_address(frame: FrameType, code: CodeType) -> Iterator[tuple[str, Any]]:
    """Python 3.11, which has no call for it. Nothing is read unless both structures point to each other."""
    internal = _word(id(frame), _INTERNAL)
    if not internal or _word(internal, _OBJECT) != id(frame) or _word(internal, _CODE) != id(code):
        return
    cells = set(code.co_cellvars)
    for number, name in enumerate(code.co_varnames):
        if name not in cells and _word(internal, _FIRST + number):
            yield name, ctypes.py_object.from_address(internal + (_FIRST + number) * _WORD).value


def _word(address: int, index: int) -> int:
    return ctypes.c_void_p.from_address(address + index * _WORD).value or 0
