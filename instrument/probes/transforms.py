"""Transforms of functions (`torch.func`): says which facts they do not give, and when they made gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._functorch import eager_transforms

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared

WHY = "calls under torch.func transforms are not recorded"
#: Tensors have no data while a transform runs, and it computes gradients without a backward pass.
INSIDE = (
    *("forward", "forward_argument", "forward_reached", "module_call", "layer_gradient"),
    *("dropout_call", "attention_call", "loss_call", "rng", "buffer_state", "param_state"),
    *("backward", "loss_graph", "accumulate"),
)
#: What is described when a model first runs otherwise.
STRUCTURE = ("module", "parameter", "buffer", "trainability", "tie", "tie_state")


def in_transform() -> bool:
    """Return whether this thread runs a function under a transform."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def tell(shared: Shared, model: torch.nn.Module | None = None) -> None:
    """Leave gaps for a model, or a function, that runs under a transform."""
    known = model is None or shared.book.models.get(model) is not None
    for relation in INSIDE if known else INSIDE + STRUCTURE:
        shared.session.gap(relation, WHY)


def install(shared: Shared) -> None:
    """Patch what `torch.func.grad` and `grad_and_value` call; the outermost counts as a forward and its backward."""
    guard = shared.guard("transforms")

    def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool | None:
        if in_transform():
            return None
        shared.clock.before_forward()
        tell(shared)
        return True

    def after(_token: bool, _result: Any, raised: bool) -> None:
        if not raised:
            shared.clock.gradients_taken()

    shared.patches.around(eager_transforms, "grad_and_value_impl", guard(before), guard(after))
