"""The state that an optimizer holds for each parameter: which kinds, of which form, and how often it was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.updates import counter_of, holders
from tcrules.instrument.probes.values import print_of

if TYPE_CHECKING:
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.optimizer import Step
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("optimizer_slot",)
#: Parameters per step; of more, evenly spaced ones.
MAX_PARAMS = 512
WHY_MANY = f"of more than {MAX_PARAMS} parameters evenly spaced ones are looked at"


class Slots:
    """Writes `optimizer_slot`."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._put = shared.session.put("optimizer_slot")
        self._fresh: set[str] = set()

    def loaded(self, optimizer: str) -> None:
        """A state was loaded into an optimizer."""
        self._fresh.add(optimizer)

    def after(self, step: Step) -> None:
        """A step returned; up to 5 µs per parameter, now and then and in the first after a state was loaded."""
        name, number = step.record.owner.name, step.frame.step
        if name not in self._fresh and not self.shared.governor.looks(number, "optimizer_slot"):
            return
        self._fresh.discard(name)
        groups = zip(step.optimizer.param_groups, step.record.members, strict=True)
        owned = [
            (tensor, param, group)
            for group, members in groups
            for tensor, param in zip(group["params"], members, strict=True)
        ]
        stride = len(owned) // MAX_PARAMS + 1
        if stride > 1:
            self.shared.session.gap("optimizer_slot", WHY_MANY)
        states = [holder.state for holder in holders(step)]
        compared = self.shared.distributed()
        for tensor, param, group in owned[::stride]:
            entry = next((found for state in states if (found := state.get(tensor))), None)
            if isinstance(entry, dict):
                self._write(step, tensor, param, entry, counter_of(group), compared)

    def _write(
        self,
        step: Step,
        tensor: torch.Tensor,
        param: Param,
        entry: dict[Any, Any],
        group: int,
        compared: bool,
    ) -> None:
        kinds = ",".join(sorted(str(kind) for kind in entry))
        tensors = [value for value in entry.values() if isinstance(value, torch.Tensor)]
        full = [value for value in tensors if value.dim() or not tensor.dim()]
        dtypes = sorted({dtype_name[value.dtype] for value in full if value.is_floating_point()})
        fits = all(value.shape == tensor.shape for value in full)
        data = combine([print_of(value) or 0 for value in tensors]) if compared else 0
        counter = counter_of(entry)
        self._put(
            *(step.frame.call, step.record.owner.name, param.name, step.record.owner.nth, step.frame.step),
            *(kinds, ",".join(dtypes), fits, counter if counter >= 0 else group, data),
        )
