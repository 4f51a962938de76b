"""The state that an optimizer holds for each parameter: which kinds, of which form, and how often it was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.updates import ask_counter, counter_of, holders
from tcrules.instrument.probes.values import print_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.instrument.probes.deferred import Ask
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
        late = self.shared.late
        ask = None if late is None else late.ask()
        about = step.frame.call, name, step.record.owner.nth, number
        rows: list[tuple[Any, ...]] = []
        values: list[list[Any]] = []
        for tensor, param, group in owned[::stride]:
            entry = next((found for state in states if (found := state.get(tensor))), None)
            if isinstance(entry, dict):
                rows.append(_form(param, tensor, entry))
                tensors = [value for value in entry.values() if isinstance(value, torch.Tensor)]
                values.append(_read(tensors if compared else None, entry.get("step"), group.get("step"), ask))
        if ask is None:
            self._write(about, rows, values)
        else:
            ask.then("slots", self._write, about, rows, values)

    def _write(
        self, about: tuple[int, str, int, int], rows: Sequence[tuple[Any, ...]], values: Sequence[list[Any]]
    ) -> None:
        call, name, nth, step = about
        for (param, *form), (own, group, prints) in zip(rows, values, strict=True):
            if own is None or group is None:
                self.shared.unread("optimizer_slot", step)
                continue
            data = 0 if prints is None else combine([value or 0 for value in prints])
            self._put(call, name, param, nth, step, *form, int(own if own >= 0 else group), data)


def _form(param: Param, tensor: torch.Tensor, entry: dict[Any, Any]) -> tuple[str, str, str, bool]:
    """Return the name of a parameter, and kinds, dtypes and fit of what is held for it."""
    kinds = ",".join(sorted(str(kind) for kind in entry))
    tensors = [value for value in entry.values() if isinstance(value, torch.Tensor)]
    full = [value for value in tensors if value.dim() or not tensor.dim()]
    dtypes = sorted({dtype_name[value.dtype] for value in full if value.is_floating_point()})
    return param.name, kinds, ",".join(dtypes), all(value.shape == tensor.shape for value in full)


def _read(tensors: Sequence[torch.Tensor] | None, own: Any, group: Any, ask: Ask | None) -> list[Any]:
    """Return the counters of a parameter and of its group, and the fingerprints of tensors."""
    read = print_of if ask is None else ask.print
    prints = None if tensors is None else [read(tensor) for tensor in tensors]
    if ask is None:
        return [counter_of(own), counter_of(group), prints]
    return [ask_counter(ask, own), ask_counter(ask, group), prints]
