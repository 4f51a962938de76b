"""Clipping of gradients."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.patching import argument, keep_scriptable
from tcrules.instrument.probes.values import host_number
from torch.nn import utils
from torch.nn.utils import clip_grad

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.probes.gradients import Points
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("clip",)


class Clipping:
    """Writes `clip`."""

    def __init__(self, shared: Shared, points: Points | None) -> None:
        self.shared, self.points = shared, points
        self._put = shared.session.put("clip")

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
        """Clipping begins; the first argument is a list or a tensor by now."""
        given = argument(args, kwargs, 0, "parameters")
        params = (
            [given] if isinstance(given, torch.Tensor) else given if isinstance(given, (list, tuple)) else []
        )
        limit = argument(args, kwargs, 1, "max_norm", kwargs.get("clip_value", 0.0))
        known = [(tensor, self.shared.book.known(tensor)) for tensor in params]
        found = [(tensor, record) for tensor, record in known if record is not None]
        owner = next((record.owner.name for _, record in found if record.owner), "")
        return "", (owner, limit, len(params), found)

    def leave(self, frame: Frame, token: Any, result: Any, raised: bool) -> None:
        """It returned the norm, or nothing for values."""
        owner, limit, count, found = token
        if raised:
            return
        kind = "value" if "value" in frame.api else "norm"
        norm = result if isinstance(result, (torch.Tensor, int, float)) else -1.0
        about, late = (frame.call, kind, owner, frame.step, frame.begin), self.shared.late
        if late is not None and late.any((limit, norm)):
            ask = late.ask()
            ask.then("clipping", self._write, about, ask.number(limit), ask.number(norm), count)
        else:
            self._write(about, host_number(limit), host_number(norm), count)
        if self.points is not None:
            self.shared.safely("gradients", self.points.look, frame.call, "clipped", found)

    def _write(
        self, about: tuple[int, str, str, int, int], limit: float | None, norm: float | None, count: int
    ) -> None:
        if limit is None or norm is None:
            self.shared.unread("clip", about[3])
        else:
            self._put(*about, limit, norm, count)


def _reiterable(watched: Callable[..., Any]) -> Callable[..., Any]:
    """Let parameters be looked at although they may come from a generator."""

    @functools.wraps(watched)
    def wrapper(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or isinstance(parameters, (torch.Tensor, list, tuple)):
            return watched(parameters, *args, **kwargs)
        # torch warns about a generator that is empty: that one is handed on
        return watched(list(parameters) or parameters, *args, **kwargs)

    keep_scriptable(wrapper, watched)
    return wrapper


def install(shared: Shared, points: Points | None) -> None:
    """Patch both functions where they are defined and where they are exported."""
    clipping = Clipping(shared, points)
    for name in ("clip_grad_norm_", "clip_grad_value_"):
        shared.watch(
            "clipping",
            clip_grad,
            name,
            f"torch.nn.utils.{name}",
            clipping.enter,
            clipping.leave,
            family="clip",
        )
        wrapper = _reiterable(getattr(clip_grad, name))
        shared.patches.replace(clip_grad, name, wrapper)
        shared.patches.replace(utils, name, wrapper)
