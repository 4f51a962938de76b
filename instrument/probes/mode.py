"""Training and evaluation mode of whole models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.probes.models import is_model, unwrap
from tcrules.instrument.probes.patching import argument
from torch import nn

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("mode_change",)


def install(shared: Shared) -> None:
    """Patch `Module.train` and `Module.eval`; `eval` calls `train`, which calls itself for the children: once."""
    put = shared.session.put("mode_change")

    def enter(
        args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None = None
    ) -> tuple[str, Any] | None:
        module = args[0]
        if not is_model(module) or shared.book.top(module) is not unwrap(module):
            return None  # parts of a model are switched with it, or on their own to freeze them
        if training is None:
            training = bool(argument(args, kwargs, 1, "mode", True))
        return shared.names.module(module), training

    def enter_eval(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        return enter(args, kwargs, False)

    def leave(frame: Frame, training: Any, _result: Any, _raised: bool) -> None:
        put(frame.call, frame.object, frame.step, frame.begin, training)

    shared.watch(
        "mode", nn.Module, "train", "torch.nn.Module.train", enter, leave, family="mode", always=True
    )
    shared.watch(
        "mode", nn.Module, "eval", "torch.nn.Module.eval", enter_eval, leave, family="mode", always=True
    )
