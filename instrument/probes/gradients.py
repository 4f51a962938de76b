"""Gradients: reading them, and what they are after a backward, after unscaling and after clipping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tcrules.instrument.probes.reductions import Answer
from tcrules.instrument.probes.values import class_of, local, norms, print_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.instrument.probes.deferred import Ask, Late
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("gradient_point",)


class Points:
    """Writes `gradient_point`."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._put = shared.session.put("gradient_point")

    def look(self, call: int, point: str, params: Iterable[tuple[torch.Tensor, Param]]) -> None:
        """Write the gradients of parameters at a point; O(bytes) in the steps that are looked at."""
        step, governor = self.shared.clock.step, self.shared.governor
        if not governor.open or not governor.looks(step, "gradient_point"):
            return
        chosen = list(params)
        at, compared, late = self.shared.tick(), self.shared.distributed(), self.shared.late
        about = [_about(param, compared) for _, param in chosen]
        if late is not None and holds(late, chosen):
            ask = late.ask()
            found, prints = ask_about(ask, chosen, compared)
            ask.then("gradients", self._write, call, point, step, at, about, found, prints)
        else:
            self._write(call, point, step, at, about, *read(chosen, compared))

    def _write(
        self,
        call: int,
        point: str,
        step: int,
        at: int,
        about: Sequence[tuple[str, str, int, str]],
        found: Sequence[tuple[str, float] | None],
        prints: Sequence[int | None],
    ) -> None:
        for (param, name, nth, reduced), gradient, data in zip(about, found, prints, strict=True):
            if gradient is None or data is None:
                self.shared.unread("gradient_point", step)
            else:
                self._put(call, point, param, name, nth, step, at, *gradient, data, reduced)


def _about(param: Param, compared: bool) -> tuple[str, str, int, str]:
    """Return what a fact tells about a parameter: name, optimizer, its steps, and whether gradients are averaged."""
    owner = param.owner
    name, nth = (owner.name, owner.nth) if owner is not None else ("", -1)
    reduced = "" if param.synced is None or not compared else "reduced" if param.synced else "local"
    return param.name, name, nth, reduced


def holds(late: Late, params: Iterable[tuple[torch.Tensor, Param]]) -> bool:
    """Return whether a gradient lies on a device that is read."""
    return late.any(tensor.grad for tensor, _ in params)


def ask_about(
    ask: Ask, params: Iterable[tuple[torch.Tensor, Param]], compared: bool
) -> tuple[list[Answer], list[Answer]]:
    """Ask for class and norm of the gradient of each parameter, and for its fingerprint where they are compared."""
    found, prints = [], []
    for tensor, _ in params:
        grad = tensor.grad
        if grad is not None and grad.is_sparse:
            grad = grad._values()
        if grad is None:
            found.append(Answer(("none", 0.0)))
        else:
            found.append(ask.norm(grad))
        prints.append(ask.print(grad) if compared and grad is not None else Answer(0))
    return found, prints


def read(
    params: Sequence[tuple[torch.Tensor, Param]], compared: bool
) -> tuple[list[tuple[str, float] | None], list[int]]:
    """Return class and L2 norm of the gradient of each parameter, and its fingerprint where they are compared.

    None stands for a gradient that cannot be read, 0 for a fingerprint that is not wanted.
    """
    grads = [_dense(tensor.grad) for tensor, _ in params]
    plain = [grad for grad in grads if isinstance(grad, torch.Tensor)]
    found = iter(norms(plain))
    result: list[tuple[str, float] | None] = []
    for grad in grads:
        if isinstance(grad, torch.Tensor):
            norm = next(found)
            result.append((class_of(grad, norm), norm))
        else:
            result.append(("none", 0.0) if grad is None else None)
    if not compared:
        return result, [0] * len(grads)
    return result, [(print_of(grad) or 0) if isinstance(grad, torch.Tensor) else 0 for grad in grads]


class _Unreadable:
    """Stands for a gradient whose data is on a device."""


_UNREADABLE = _Unreadable()


def _dense(grad: torch.Tensor | None) -> torch.Tensor | _Unreadable | None:
    """Return the values of a gradient as a plain tensor; those of a sparse one may hold an index twice."""
    if grad is None:
        return None
    if grad.is_sparse:
        grad = grad._values()
    plain = local(grad.detach() if grad.requires_grad else grad)
    return _UNREADABLE if plain is None else plain
