"""`torch.compile`: says which facts a compiled region does not give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.patching import argument
from torch import nn

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared

WHY = "calls inside of compiled code are not seen"
#: Facts of what happens inside a forward; and, where a function is compiled, of what it may call.
INSIDE = ("module_call", "dropout_call", "loss_call")
CALLED = ("forward", "backward", "optimizer_step", "zero_grad", "clip")


def install(shared: Shared) -> None:
    """Patch `torch.compile`, which `Module.compile` calls as well."""
    session = shared.session

    def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        target = argument(args, kwargs, 0, "model")
        if kwargs.get("disable"):
            return
        is_model = isinstance(target, nn.Module) or getattr(target, "__name__", "") == "_call_impl"
        for relation in INSIDE if is_model else INSIDE + CALLED:
            session.gap(relation, WHY)

    def after(_token: Any, _result: Any, _raised: bool) -> None:
        """Nothing is to be done: `before` never hands out a token."""

    shared.patches.around(torch, "compile", shared.guard("compiling")(before), after)
