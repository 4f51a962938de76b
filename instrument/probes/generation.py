"""Generation of sequences: how long they may be, and how long they are."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.models import is_model
from tcrules.instrument.probes.values import tensors_in
from torch import nn

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("generation",)
LIMITS = ("max_length", "max_new_tokens", "min_length")
_NONE = -1


class Generations:
    """Writes `generation` for methods `generate` of models, which libraries and scripts define."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._wrapped: set[int] = set()
        self._put = shared.session.put("generation")

    def meet(self, module: nn.Module) -> None:
        """A model was met: wrap `generate` where its class, or what that inherits from, defines it."""
        for cls in type(module).__mro__:
            method = vars(cls).get("generate")
            if inspect.isfunction(method) and id(cls) not in self._wrapped:
                self._wrapped.add(id(cls))  # our patch keeps the class
                names = tuple(inspect.signature(method).parameters)
                enter = functools.partial(self.enter, names)
                api = f"{cls.__module__}.{cls.__qualname__}.generate"
                self.shared.watch("generation", cls, "generate", api, enter, self.leave, family="generate")

    def enter(
        self, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, Any] | None:
        """A generation begins; `names` are those of the method's parameters."""
        model = args[0] if args else None
        if not isinstance(model, nn.Module) or not is_model(model):
            return None
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        config = given.get("generation_config")
        config = vars(model).get("generation_config") if config is None else config
        limits = [_limit(given, name) for name in LIMITS]
        configured = [_limit(getattr(config, "__dict__", {}), name) for name in LIMITS]
        prompt = _length(value for value in given.values() if value is not model)
        return self.shared.names.module(model), (limits, configured, prompt, model.training)

    def leave(self, frame: Frame, token: Any, result: Any, raised: bool) -> None:
        """It returned the sequences."""
        limits, configured, prompt, training = token
        if not raised:
            own = getattr(result, "sequences", result)
            self._put(
                *(frame.call, frame.object, frame.step, frame.begin, training, torch.is_grad_enabled()),
                *(*limits, *configured, prompt, _length([own])),
            )


def _limit(values: Any, name: str) -> int:
    value = values.get(name) if isinstance(values, dict) else None
    return value if type(value) is int else _NONE


def _length(values: Any) -> int:
    """Return the length of the first sequences of whole numbers among some values."""
    for value in values:
        for tensor in tensors_in(value):
            if tensor.dim() and not tensor.is_floating_point():
                return int(tensor.shape[-1])
    return _NONE


def install(shared: Shared) -> Generations:
    """Look at models when they are switched to another mode, as is usual before generating, and when they train."""
    generations = Generations(shared)
    guard = shared.guard("generation")

    def switched(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if args and isinstance(args[0], nn.Module):
            generations.meet(args[0])

    def step_begins() -> None:
        if len(shared.book.models) != len(seen):
            seen[:] = [True] * len(shared.book.models)
            for model, _ in shared.book.models.live():
                generations.meet(model)

    seen: list[bool] = []
    for name in ("train", "eval"):
        shared.patches.around(nn.Module, name, guard(switched), guard(lambda *_: None))
    shared.step_begins.append(("generation", step_begins))
    return generations
