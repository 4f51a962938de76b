"""Clearing of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.probes.context import in_backward
from tcrules.instrument.probes.patching import argument
from torch import nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("zero_grad",)


def install(shared: Shared) -> None:
    """Patch `zero_grad` of optimizers and modules; assigning None to `grad` by hand is seen by `accumulate` only."""
    put, clock = shared.session.put("zero_grad"), shared.clock

    def begins() -> None:
        if not in_backward():  # hooks that step and clear each parameter as soon as its gradient is there
            clock.before_clear()

    def enter_optimizer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
        begins()
        return shared.names.optimizer(args[0]), bool(argument(args, kwargs, 1, "set_to_none", True))

    def enter_module(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
        begins()
        return shared.names.module(args[0]), bool(argument(args, kwargs, 1, "set_to_none", True))

    def leave(frame: Frame, set_to_none: Any, _result: Any, _raised: bool) -> None:
        put(frame.call, frame.object, frame.step, frame.begin, set_to_none)

    begins_guarded = shared.guard("clearing")(begins)

    def counts(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if clock.between and not in_backward() and not clock.clears_later():
            begins_guarded()

    apis = (
        (Optimizer, "torch.optim.Optimizer.zero_grad", enter_optimizer),
        (nn.Module, "torch.nn.Module.zero_grad", enter_module),
    )
    for owner, api, enter in apis:
        shared.watch("clearing", owner, "zero_grad", api, enter, leave, "zero_grad", counts=counts)
