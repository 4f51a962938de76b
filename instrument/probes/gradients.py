"""Gradients: reading them, and what they are after a backward, after unscaling and after clipping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tcrules.instrument.probes.states import WHY_DEVICE
from tcrules.instrument.probes.values import class_of, local, norms, print_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        at, compared = self.shared.tick(), self.shared.distributed()
        for (_, param), (kind, norm, plain) in zip(chosen, read(chosen), strict=True):
            if not kind:
                self.shared.session.gap("gradient_point", WHY_DEVICE)
                continue
            data = (print_of(plain) or 0) if compared and plain is not None else 0
            owner = param.owner
            name, nth = (owner.name, owner.nth) if owner is not None else ("", -1)
            reduced = "" if param.synced is None or not compared else "reduced" if param.synced else "local"
            self._put(call, point, param.name, name, nth, step, at, kind, norm, data, reduced)


def read(params: Sequence[tuple[torch.Tensor, Param]]) -> list[tuple[str, float, torch.Tensor | None]]:
    """Return (class, L2 norm, values) of the gradient of each parameter; the class is "" if it cannot be read."""
    grads = [_dense(tensor.grad) for tensor, _ in params]
    found = iter(norms([grad for grad in grads if isinstance(grad, torch.Tensor)]))
    result: list[tuple[str, float, torch.Tensor | None]] = []
    for grad in grads:
        if isinstance(grad, torch.Tensor):
            norm = next(found)
            result.append((class_of(grad, norm), norm, grad))
        else:
            result.append(("none" if grad is None else "", 0.0, None))
    return result


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
