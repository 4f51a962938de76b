"""What a step of an optimizer reads and writes: gradients, parameters, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tcrules.instrument.probes import values
from tcrules.instrument.probes.states import WHY_DEVICE, is_again
from tcrules.instrument.probes.values import class_of, is_due, local, norms, param_prints, print_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.optimizer import Step
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("gradient", "update", "optimizer_state")
#: Counters of so many parameters are read; of more, evenly spaced ones.
MAX_COUNTERS = 512


class Updates:
    """Writes `gradient`, `update` and `optimizer_state` around a step."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.session = shared.session
        self._put_gradient, self._put_update = shared.session.put("gradient"), shared.session.put("update")
        self._put_state = shared.session.put("optimizer_state")
        self.turns = values.turns

    def before(self, step: Step) -> None:
        """Read gradients and parameters at entry; what a closure computes is read at return."""
        owned = _owned(step)
        step.classes = [] if step.closure else self._gradients(step, owned)
        step.seen = [
            (index, *owned[index])
            for index, (tensor, _, _) in enumerate(owned)
            if is_due(tensor.numel() * tensor.element_size(), index, step.frame.step, step.record.turns)
        ]
        if len(step.seen) < len(owned):
            self.session.gap("update", "large parameters take turns")
        step.before = param_prints([(t, param, not index % values.ROTATION) for index, t, param, _ in step.seen])

    def _gradients(self, step: Step, owned: Sequence[tuple[torch.Tensor, Param, Any]]) -> list[str]:
        """Write `gradient` of every owned parameter; returns the classes, "" where the data cannot be read."""
        frame, name = step.frame, step.record.owner.name
        grads = [_dense(tensor.grad) for tensor, _, _ in owned]
        found = iter(norms([grad for grad in grads if isinstance(grad, torch.Tensor)]))
        at, compared = self.shared.tick(), self.shared.distributed()
        classes = []
        for (tensor, param, _), grad in zip(owned, grads, strict=True):
            if grad is None:
                classes.append("none")
                self._put_gradient(frame.call, name, param.name, frame.step, at, "none", 0.0, 0, tensor.requires_grad)
            elif grad is _UNREADABLE:
                classes.append("")
                self.session.gap("gradient", WHY_DEVICE)
            else:
                norm = next(found)
                classes.append(class_of(grad, norm))
                data = (print_of(grad) or 0) if compared else 0
                self._put_gradient(
                    frame.call, name, param.name, frame.step, at, classes[-1], norm, data, tensor.requires_grad
                )
        return classes

    def after(self, step: Step) -> None:
        """Read the parameters at return and write what the step did to them."""
        frame, record = step.frame, step.record
        name, nth = record.owner.name, record.owner.nth
        if step.closure:
            step.classes = self._gradients(step, _owned(step))
        asked = [
            # fused kernels write without moving the version
            (tensor, param, bool(group.get("fused")) or is_again(index, frame.step, len(step.seen), tensor))
            for index, tensor, param, group in step.seen
        ]
        for (index, _, param, group), before, after in zip(step.seen, step.before, param_prints(asked), strict=True):
            found = step.classes[index]
            if before is None or after is None or not found:
                self.session.gap("update", WHY_DEVICE)
                continue
            param.trained = param.trained or before != after
            lr = number_of(group.get("lr", 0.0))
            self._put_update(frame.call, name, param.name, nth, frame.step, found, lr, before, after, param.finite)
        filled, counter = _state(step)
        self._put_state(frame.call, name, nth, frame.step, filled, counter)


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


def _owned(step: Step) -> list[tuple[torch.Tensor, Param, dict[str, Any]]]:
    groups = zip(step.optimizer.param_groups, step.record.members, strict=True)
    return [
        (tensor, param, group)
        for group, members in groups
        for tensor, param in zip(group["params"], members, strict=True)
    ]


def _state(step: Step) -> tuple[int, int]:
    """Return (parameters with state, largest step counter or -1)."""
    holders = [step.optimizer, *(found for inner in step.record.inner if (found := inner()) is not None)]
    entries = [entry for holder in holders for entry in holder.state.values() if entry]
    counter = max((_counter(entry) for entry in entries[:: len(entries) // MAX_COUNTERS + 1]), default=-1)
    for group in step.optimizer.param_groups:
        counter = max(counter, _counter(group))  # some count per group
    return len(entries), counter


def _counter(entry: Any) -> int:
    value = entry.get("step") if isinstance(entry, dict) else None
    if isinstance(value, torch.Tensor):
        return int(value) if value.device.type == "cpu" and value.numel() == 1 else -1
    return int(value) if isinstance(value, (int, float)) else -1


def number_of(value: Any) -> float:
    """Return a setting of a group as a number; 0.0 for a tensor on a device, which is not read."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.device.type == "cpu" and value.numel() == 1 else 0.0
    return float(value) if isinstance(value, (int, float)) else 0.0
