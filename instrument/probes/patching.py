"""Replacing functions of other libraries, and putting them back."""

from __future__ import annotations

import functools
import importlib.util
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch._C._dynamo import eval_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec

    from tcrules.instrument.probes.governor import Governor

Function: TypeAlias = "Callable[..., Any]"
#: Sees the arguments before a call; returns a token for the exit, or None to leave this call alone.
Before: TypeAlias = "Callable[[tuple[Any, ...], dict[str, Any]], Any]"
#: Sees token, result and whether the call raised.
After: TypeAlias = "Callable[[Any, Any, bool], None]"

_ABSENT: Any = object()
F = TypeVar("F", bound="Callable[..., Any] | None")
#: Dynamo folds both to constants. The second is also true where torch.export runs a program, and is dearer.
is_traced: Callable[[], bool] = torch.compiler.is_dynamo_compiling
is_compiling: Callable[[], bool] = torch.compiler.is_compiling


class Patches:
    """Attributes that were replaced; `undo` restores them in reverse order."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._removers: list[Callable[[], None]] = []

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of a module or class and remember what was there."""
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, value)
        self._undo.append((owner, name, before, value))

    def around(self, owner: Any, name: str, before: Before, after: After, gate: Gate | None = None) -> None:
        """Wrap a function or method of `owner` by `around`; nothing happens if this torch does not have it."""
        original = getattr(owner, name, None)
        if original is None:
            return
        self.replace(owner, name, around(original, before, after, gate))

    def when_imported(self, name: str, callback: Callable[[Any], None]) -> None:
        """Call `callback` with a module now, or as soon as it is imported: it is not imported for that."""
        if name in sys.modules:
            callback(sys.modules[name])
            return
        finder = _Finder(name, callback)
        sys.meta_path.insert(0, finder)
        self.on_undo(finder.remove)

    def on_undo(self, remove: Callable[[], None]) -> None:
        """Call `remove` on undo, e.g. the removal of a hook."""
        self._removers.append(remove)

    def undo(self) -> None:
        """Restore everything that still is what we put there; what somebody replaced after us is left alone."""
        while self._removers:
            self._removers.pop()()
        while self._undo:
            owner, name, before, value = self._undo.pop()
            if vars(owner).get(name, _ABSENT) is not value:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)


class _Finder:
    """Waits for one module: finds it as the others do, and is called once when it is loaded."""

    def __init__(self, name: str, callback: Callable[[Any], None]) -> None:
        self._name, self._callback = name, callback

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        self.remove()
        spec = importlib.util.find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is None:
            return spec
        execute = loader.exec_module

        def exec_module(module: Any) -> None:
            del loader.exec_module  # it stands in front of the method, and is out of the way from now on
            execute(module)
            self._callback(module)

        loader.exec_module = exec_module
        return spec

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class Gate(NamedTuple):
    """Lets calls pass unrecorded while the governor is not open; `counts` is called then, and may open it."""

    governor: Governor
    counts: Callable[[tuple[Any, ...], dict[str, Any]], None] | None = None


def around(original: Function, before: Before, after: After, gate: Gate | None = None) -> Function:
    """Return `original` with `before` and `after` called around it.

    Both must not raise (see `Probe.guarded`). Inside compiled regions the wrapper is transparent: dynamo folds the
    first test to a constant, so that nothing of ours is traced, guarded on or recompiled.
    """

    governor, counts = gate if gate is not None else (None, None)
    before, after, counts = uncompiled(before), uncompiled(after), uncompiled(counts)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return original(*args, **kwargs)
        if governor is not None and not governor.open:
            if counts is not None:
                counts(args, kwargs)
            if not governor.open:
                return original(*args, **kwargs)
        if is_compiling():
            return original(*args, **kwargs)
        token = before(args, kwargs)
        if token is None:
            return original(*args, **kwargs)
        try:
            result = original(*args, **kwargs)
        except BaseException:
            after(token, None, True)
            raise
        after(token, result, False)
        return result

    keep_scriptable(wrapper, original)
    return uncompiled(wrapper)


def uncompiled(function: F) -> F:
    """Keep dynamo from compiling the frames of a function of ours; may be used as a decorator.

    Where user code is compiled in several graphs, every frame that runs between them is a candidate: ours would be
    compiled, break, and show up in the user's logs. What the function calls is compiled as if it called itself, and
    where dynamo inlines it nothing changes.
    """
    if isinstance(function, types.FunctionType):
        _skip(function.__code__)
    return function


def _skip(code: types.CodeType) -> None:
    if hasattr(eval_frame, "set_code_exec_strategy"):
        action, strategy = eval_frame._FrameAction, eval_frame._FrameExecStrategy
        eval_frame.set_code_exec_strategy(code, strategy(action.SKIP, action.DEFAULT))
    elif hasattr(eval_frame, "skip_code"):  # before torch 2.7
        eval_frame.skip_code(code)


def keep_scriptable(wrapper: Function, original: Function) -> None:
    """Let torch.jit.script see through a wrapper, whose Python source it could not compile.

    A builtin is looked up by the id of the function object, a Python function through `__prepare_scriptable__`.
    """
    builtins = torch.jit._builtins
    operator = builtins._find_builtin(original)
    if operator is not None:  # also where `original` is a wrapper of ours around a builtin
        builtins._register_builtin(wrapper, operator)
        # the id of a wrapper that is gone may be given to another function, which then would be this operator
        table = builtins._get_builtin_table()
        weakref.finalize(wrapper, table.pop, id(wrapper), None).atexit = False
    elif isinstance(original, types.FunctionType):
        wrapper.__prepare_scriptable__ = lambda: original  # type: ignore[attr-defined]


def argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: Any = None
) -> Any:
    """Return an argument that may have been passed by position or by name."""
    if len(args) > position:
        return args[position]
    return kwargs.get(name, default)
