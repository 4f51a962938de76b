"""Compiled code (`torch.compile`, `torch.jit`): says which facts it does not give."""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.patching import argument
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tcrules.instrument.probes.shared import Shared

WHY = "calls inside of compiled code are not seen"
WHY_OPAQUE = "scripted and traced models are opaque"
#: Facts of what happens inside a forward; and, where a function is compiled, of what it may call.
INSIDE = (
    *("module_call", "layer_gradient", "dropout_call", "attention_call", "loss_call"),
    *("call", "signature"),
)
RUNNING = (
    *("forward", "forward_argument", "forward_reached", "param_state", "buffer_state", "rng"),
    *("trainability", "tie_state"),
)
CALLED = (*RUNNING, "backward", "loss_graph", "accumulate", "optimizer_step", "zero_grad", "clip")
STRUCTURE = ("module", "parameter", "buffer", "tie")
#: Graphs of `torch.fx` run as Python code from files of this name.
_GENERATED = "<eval_with_key>"
_state = {"compiled": False}


def in_graph() -> bool:
    """Return whether a probe was called from a compiled graph, as some back ends run it: by Python, without modules."""
    if not _state["compiled"]:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("tcrules.instrument"):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_GENERATED)


def opaque(shared: Shared, inside: bool) -> None:
    """Leave gaps for a scripted or traced model that is called, by itself or inside of another model."""
    for relation in INSIDE if inside else (*INSIDE, *RUNNING, *STRUCTURE):
        shared.session.gap(relation, WHY_OPAQUE)


def install(shared: Shared) -> None:
    """Patch `torch.compile`, which `Module.compile` calls as well, and `torch.jit.script` of functions."""
    session = shared.session
    guard = shared.guard("compiling")

    def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        target = argument(args, kwargs, 0, "model")
        if kwargs.get("disable"):
            return
        _state["compiled"] = True
        is_model = isinstance(target, nn.Module) or getattr(target, "__name__", "") == "_call_impl"
        for relation in INSIDE if is_model else INSIDE + CALLED:
            session.gap(relation, WHY)

    def scripted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        target = argument(args, kwargs, 0, "obj")
        # libraries script small helpers when they are imported; what a script itself scripts may be all that it does
        if isinstance(target, types.FunctionType) and "site-packages" not in target.__code__.co_filename:
            opaque(shared, inside=True)

    def after(_token: Any, _result: Any, _raised: bool) -> None:
        """Nothing is to be done: `before` never hands out a token."""

    shared.patches.around(torch, "compile", guard(before), after)
    shared.patches.replace(torch.jit, "script", _one_frame_up(torch.jit.script, guard(scripted)))


def _one_frame_up(original: Callable[..., Any], look: Callable[..., Any]) -> Callable[..., Any]:
    """Return `torch.jit.script` with `look` before it; it resolves names in the frame that it is told to look in."""

    @functools.wraps(original)
    def script(obj: Any, optimize: Any = None, _frames_up: int = 0, *args: Any, **kwargs: Any) -> Any:
        look((obj,), kwargs)
        return original(obj, optimize, _frames_up + 1, *args, **kwargs)

    return script
