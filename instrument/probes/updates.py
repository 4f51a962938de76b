"""What a step of an optimizer reads and writes: gradients, parameters, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes import values
from tcrules.instrument.probes.gradients import read
from tcrules.instrument.probes.states import WHY_DEVICE
from tcrules.instrument.probes.values import is_again, is_due, param_prints, print_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.optimizer import Step
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("gradient", "update", "optimizer_state")
#: Counters of so many parameters are read; of more, evenly spaced ones.
MAX_COUNTERS = 512
#: Updated values are searched for NaN and infinity in the first steps, in every so many, and after other gradients
#: than these.
FIRST_STEPS, EVERY = 3, 8
_HARMLESS = frozenset({"none", "zero", "nonzero"})


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
        owned, number, groups = _owned(step), step.frame.step, step.record.turns
        step.classes = [] if step.closure else self._gradients(step, owned)
        step.seen = [
            (index, *place)
            for index, place in enumerate(owned)
            if is_due(place[1].size, index, number, groups)
        ]
        if len(step.seen) < len(owned):
            self.session.gap("update", "large parameters take turns")
        step.before = param_prints((tensor, param, False) for _, tensor, param, _ in step.seen)

    def _gradients(self, step: Step, owned: Sequence[tuple[torch.Tensor, Param, Any]]) -> list[str]:
        """Write `gradient` of every owned parameter; returns the classes, "" where the data cannot be read."""
        call, number, name, put = step.frame.call, step.frame.step, step.record.owner.name, self._put_gradient
        at, compared = self.shared.tick(), self.shared.distributed()
        pairs = [(tensor, param) for tensor, param, _ in owned]
        classes = []
        for (tensor, param), (kind, norm, grad) in zip(pairs, read(pairs), strict=True):
            if kind:
                data = (print_of(grad) or 0) if compared and grad is not None else 0
                put(call, name, param.name, number, at, kind, norm, data, tensor.requires_grad)
            else:
                self.session.gap("gradient", WHY_DEVICE)
            classes.append(kind)
        return classes

    def after(self, step: Step) -> None:
        """Read the parameters at return and write what the step did to them."""
        call, number, record, put = step.frame.call, step.frame.step, step.record, self._put_update
        name, nth = record.owner.name, record.owner.nth
        if step.closure:
            step.classes = self._gradients(step, _owned(step))
        # fused kernels write without moving the version
        unseen = not record.owner.exact or any(group.get("fused") for group in step.optimizer.param_groups)
        afters = param_prints(
            ((tensor, param, unseen or is_again(index, number)) for index, tensor, param, _ in step.seen),
            # finite gradients make finite values, unless an update overflows: that is seen a few steps later
            check=number < FIRST_STEPS or number % EVERY == 0 or not _HARMLESS.issuperset(step.classes),
        )
        for (index, _, param, group), before, after in zip(step.seen, step.before, afters, strict=True):
            kind = step.classes[index]
            if before is None or after is None or not kind:
                self.session.gap("update", WHY_DEVICE)
                continue
            if before != after:
                param.trained = True
            put(
                call,
                name,
                param.name,
                nth,
                number,
                kind,
                number_of(group.get("lr")),
                before,
                after,
                param.finite,
            )
        filled, counter = _state(step)
        self._put_state(call, name, nth, number, filled, counter)


def _owned(step: Step) -> list[tuple[torch.Tensor, Param, dict[str, Any]]]:
    groups = zip(step.optimizer.param_groups, step.record.members, strict=True)
    return [
        (tensor, param, group)
        for group, members in groups
        for tensor, param in zip(group["params"], members, strict=True)
    ]


def holders(step: Step) -> list[Any]:
    """Return the optimizers that hold the state: the one that steps, and those inside of it."""
    return [step.optimizer, *(found for inner in step.record.inner if (found := inner()) is not None)]


def _state(step: Step) -> tuple[int, int]:
    """Return (parameters with state, largest step counter or -1)."""
    entries = [entry for holder in holders(step) for entry in holder.state.values() if entry]
    counter = max((counter_of(entry) for entry in entries[:: len(entries) // MAX_COUNTERS + 1]), default=-1)
    for group in step.optimizer.param_groups:
        counter = max(counter, counter_of(group))  # some count per group
    return len(entries), counter


def counter_of(entry: Any) -> int:
    """Return the step counter in a state or group, -1 if there is none, or it is on a device."""
    value = entry.get("step") if isinstance(entry, dict) else None
    if isinstance(value, torch.Tensor):
        return int(value) if value.is_cpu and value.numel() == 1 else -1
    return int(value) if isinstance(value, (int, float)) else -1


def number_of(value: Any) -> float:
    """Return a setting of a group as a number; 0.0 for a tensor on a device, which is not read."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.device.type == "cpu" and value.numel() == 1 else 0.0
    return float(value) if isinstance(value, (int, float)) else 0.0  # without a rate: None
