"""What a step of an optimizer reads and writes: gradients, parameters, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes import values
from tcrules.instrument.probes.gradients import ask_about, read
from tcrules.instrument.probes.values import is_again, is_due, param_prints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.instrument.probes.deferred import Ask, Late
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.optimizer import Step
    from tcrules.instrument.probes.reductions import Answer
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
        step.seen = [
            (index, *place)
            for index, place in enumerate(owned)
            if is_due(place[1].size, index, number, groups)
        ]
        if len(step.seen) < len(owned):
            self.session.gap("update", "large parameters take turns")
        looked = ((tensor, param, False) for _, tensor, param, _ in step.seen)
        late = self.shared.late
        if late is not None and late.any(tensor for tensor, _, _ in owned):
            ask = late.ask()
            step.before = ask.params(looked)
            if step.closure:
                ask.send("updates")
            else:
                self._ask_gradients(step, owned, ask)
            return
        if not step.closure:
            self._read_gradients(step, owned)
        step.before = param_prints(looked)

    def _read_gradients(self, step: Step, owned: Sequence[tuple[torch.Tensor, Param, Any]]) -> None:
        """Write `gradient` of every owned parameter."""
        pairs, compared = [(tensor, param) for tensor, param, _ in owned], self.shared.distributed()
        step.gradients, prints = read(pairs, compared)
        self._write_gradients(*self._about(step, pairs), step.gradients, prints)

    def _ask_gradients(self, step: Step, owned: Sequence[tuple[torch.Tensor, Param, Any]], ask: Ask) -> None:
        """Likewise of those on a device."""
        pairs, compared = [(tensor, param) for tensor, param, _ in owned], self.shared.distributed()
        step.gradients, prints = ask_about(ask, pairs, compared)
        ask.then("updates", self._write_gradients, *self._about(step, pairs), step.gradients, prints)

    def _about(
        self, step: Step, pairs: Sequence[tuple[torch.Tensor, Param]]
    ) -> tuple[int, str, int, int, list[tuple[str, bool]]]:
        params = [(param.name, tensor.requires_grad) for tensor, param in pairs]
        return step.frame.call, step.record.owner.name, step.frame.step, self.shared.tick(), params

    def _write_gradients(
        self,
        call: int,
        name: str,
        step: int,
        at: int,
        params: Sequence[tuple[str, bool]],
        found: Sequence[tuple[str, float] | None],
        prints: Sequence[int | None],
    ) -> None:
        put = self._put_gradient
        for (param, trainable), gradient, data in zip(params, found, prints, strict=True):
            if gradient is None or data is None:
                self.shared.unread("gradient", step)
            else:
                put(call, name, param, step, at, *gradient, data, trainable)

    def after(self, step: Step) -> None:
        """Read the parameters at return and write what the step did to them."""
        number, owner = step.frame.step, step.record.owner
        # fused kernels write without moving the version
        unseen = not owner.exact or any(group.get("fused") for group in step.optimizer.param_groups)
        looked = ((tensor, param, unseen or is_again(index, number)) for index, tensor, param, _ in step.seen)
        about = step.frame.call, owner.name, owner.nth, number
        params = [(index, param) for index, _, param, _ in step.seen]
        late = self.shared.late
        if late is not None and late.any(tensor for _, tensor, _, _ in step.seen):
            self._after_late(step, late, looked, about, params)
            return
        if step.closure:
            self._read_gradients(step, _owned(step))
        # finite gradients make finite values, unless an update overflows: that is seen a few steps later
        check = number < FIRST_STEPS or number % EVERY == 0
        later = param_prints(looked, check=check or not _are_harmless(step.gradients))
        rates = [number_of(group.get("lr")) for _, _, _, group in step.seen]
        self._write_updates(*about, params, step.gradients, rates, step.before, later)
        filled, counters = _state(step)
        self._write_state(*about, filled, [counter_of(value) for value in counters])

    def _after_late(
        self,
        step: Step,
        late: Late,
        looked: Iterable[tuple[torch.Tensor, Param, bool]],
        about: tuple[int, str, int, int],
        params: list[tuple[int, Param]],
    ) -> None:
        """Likewise where parameters are on a device: whether they are finite is always asked."""
        if step.closure:
            self._ask_gradients(step, _owned(step), late.ask())
        ask = late.ask()
        rates = {id(group): ask_rate(ask, group.get("lr")) for _, _, _, group in step.seen}
        of_each = [rates[id(group)] for _, _, _, group in step.seen]
        filled, counters = _state(step)
        ask.then(
            *("updates", self._write_after, about, params, step.gradients, of_each, step.before),
            *(ask.params(looked), filled, [ask_counter(ask, value) for value in counters]),
        )

    def _write_after(
        self,
        about: tuple[int, str, int, int],
        params: Sequence[tuple[int, Param]],
        gradients: Sequence[tuple[str, float] | None],
        rates: Sequence[float | None],
        earlier: Sequence[int | None],
        later: Sequence[int | None],
        filled: int,
        counters: Sequence[float | None],
    ) -> None:
        self._write_updates(*about, params, gradients, rates, earlier, later)
        self._write_state(*about, filled, counters)

    def _write_updates(
        self,
        call: int,
        name: str,
        nth: int,
        step: int,
        params: Sequence[tuple[int, Param]],
        gradients: Sequence[tuple[str, float] | None],
        rates: Sequence[float | None],
        earlier: Sequence[int | None],
        later: Sequence[int | None],
    ) -> None:
        put = self._put_update
        for (index, param), rate, before, after in zip(params, rates, earlier, later, strict=True):
            gradient = gradients[index]
            if before is None or after is None or gradient is None or rate is None:
                self.shared.unread("update", step)
                continue
            if before != after:
                param.trained = True
            put(call, name, param.name, nth, step, gradient[0], rate, before, after, param.finite)

    def _write_state(
        self, call: int, name: str, nth: int, step: int, filled: int, counters: Sequence[int | float | None]
    ) -> None:
        if None in counters:
            self.shared.unread("optimizer_state", step)
        else:
            counter = max((int(value) for value in counters if value is not None), default=-1)
            self._put_state(call, name, nth, step, filled, counter)


def _are_harmless(gradients: Sequence[tuple[str, float] | None]) -> bool:
    return all(gradient is not None and gradient[0] in _HARMLESS for gradient in gradients)


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


def _state(step: Step) -> tuple[int, list[Any]]:
    """Return (parameters with state, step counters as they are kept: by parameters, or by groups)."""
    entries = [entry for holder in holders(step) for entry in holder.state.values() if entry]
    counted = [*entries[:: len(entries) // MAX_COUNTERS + 1], *step.optimizer.param_groups]
    return len(entries), [entry.get("step") for entry in counted if isinstance(entry, dict)]


def counter_of(value: Any) -> int:
    """Return a step counter, -1 if there is none, or it is on a device."""
    if isinstance(value, torch.Tensor):
        return int(value) if value.is_cpu and value.numel() == 1 else -1
    return int(value) if isinstance(value, (int, float)) else -1


def ask_counter(ask: Ask, value: Any) -> Answer:
    """Ask for a step counter, which may be on a device; -1 if there is none."""
    is_one = isinstance(value, (int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1)
    return ask.number(value if is_one else -1)


def ask_rate(ask: Ask, value: Any) -> Answer:
    """Ask for a setting of a group, as `number_of`."""
    is_one = isinstance(value, (int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1)
    return ask.number(value if is_one else 0.0)


def number_of(value: Any) -> float:
    """Return a setting of a group as a number; 0.0 for a tensor on a device, which is not read."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.device.type == "cpu" and value.numel() == 1 else 0.0
    return float(value) if isinstance(value, (int, float)) else 0.0  # without a rate: None
