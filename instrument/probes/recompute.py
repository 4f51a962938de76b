"""Activation checkpointing: its first pass is a forward with gradients, what a backward computes again is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.context import context
from torch.utils import checkpoint

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared


def install(shared: Shared) -> None:
    """Patch the entry of reentrant checkpoints; others run with gradients switched on, and need nothing."""

    def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool]:
        was = context.checkpointed
        # torch records a node for it only if one of its tensors needs a gradient: else it is cut off from the graph
        needed = any(isinstance(item, torch.Tensor) and item.requires_grad for item in args)
        context.checkpointed = was or (needed and torch.is_grad_enabled())
        return (was,)

    def after(token: tuple[bool], _result: Any, _raised: bool) -> None:
        (context.checkpointed,) = token

    shared.patches.around(checkpoint.CheckpointFunction, "apply", shared.guard("recompute")(before), after)
