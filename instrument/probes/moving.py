"""Moves of a model to another device or dtype, and whether an optimizer owned its parameters already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.models import is_model, unwrap
from torch import nn

if TYPE_CHECKING:
    import torch
    from tcrules.instrument.probes.optimizer import Optimizers
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("model_moved",)
METHODS = ("to", "cuda", "cpu", "xpu", "half", "bfloat16", "float", "double", "type", "to_empty")


class Moves:
    """Writes `model_moved`."""

    def __init__(self, shared: Shared, optimizers: Optimizers | None) -> None:
        self.shared, self.optimizers = shared, optimizers
        self._put = shared.session.put("model_moved")

    def enter(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """A whole model is about to be moved; its parts are moved with it, or on their own."""
        module = args[0]
        if not is_model(module) or self.shared.book.top(module) is not unwrap(module):
            return None
        params = list(module.parameters())
        return self.shared.names.module(module), (module, params, _form(params))

    def leave(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """It was moved."""
        module, before, (device, dtype) = token
        if raised:
            return
        kept = {id(tensor) for tensor in module.parameters()}
        owned = self._owned()
        held = [tensor for tensor in before if id(tensor) in owned]
        replaced = [tensor for tensor in before if id(tensor) not in kept]
        after = _form(list(module.parameters()))
        lost = sum(id(tensor) not in kept for tensor in held)
        self._put(
            *(frame.call, frame.object, frame.api, frame.step, frame.begin),
            *(device, after[0], dtype, after[1], len(before), len(replaced), len(held), lost),
        )

    def _owned(self) -> set[int]:
        """Return the ids of the tensors that optimizers hold."""
        live: Any = self.optimizers.records.live() if self.optimizers is not None else ()
        groups = (group for optimizer, _ in live for group in optimizer.param_groups)
        return {id(tensor) for group in groups for tensor in group["params"]}


def _form(params: list[torch.Tensor]) -> tuple[str, str]:
    """Return devices and dtypes, sorted."""
    devices = sorted({str(tensor.device) for tensor in params})
    return ",".join(devices), ",".join(sorted({dtype_name[tensor.dtype] for tensor in params}))


def install(shared: Shared, optimizers: Optimizers | None) -> None:
    """Patch the methods of `nn.Module`; they do not call each other for the children."""
    moves = Moves(shared, optimizers)
    for name in METHODS:
        shared.watch(
            "moving",
            nn.Module,
            name,
            f"torch.nn.Module.{name}",
            moves.enter,
            moves.leave,
            family="move",
            always=True,
        )
