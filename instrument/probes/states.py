"""Values of parameters and buffers: fingerprints around forwards and at the end of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.values import are_finite, is_again, is_due, param_prints, print_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from tcrules.instrument.probes.deferred import Late
    from tcrules.instrument.probes.forward import Run
    from tcrules.instrument.probes.models import Model, Param
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("param_state", "buffer_state")
#: Buffers above this size are looked at now and then only.
LARGE_BUFFER = 4 << 20


class States:
    """Writes `param_state` and `buffer_state`."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.session, self.clock = shared.session, shared.clock
        #: Buffer -> its last fingerprint and whether that value was finite.
        self._finite: dict[str, tuple[int, bool]] = {}
        self._put_param, self._put_buffer = (
            shared.session.put("param_state"),
            shared.session.put("buffer_state"),
        )

    def params(self, record: Model, step: int = -1) -> None:
        """Write the values of the parameters of a model, large ones in turn; O(bytes that changed)."""
        step = self.clock.step if step < 0 else step
        live = record.live()
        looked = [
            # code other than torch's optimizers often writes through `.data`, which no version tells
            (tensor, param, param.owner is None or not param.owner.exact or is_again(index, step))
            for index, (tensor, param) in enumerate(live)
            # one step back: what the optimizer has just fingerprinted is known
            if is_due(param.size, index, step - 1, record.turns)
        ]
        if len(looked) < len(live):
            self.session.gap("param_state", "large parameters take turns")
        at, late, params = self.shared.tick(), self.shared.late, [param for _, param, _ in looked]
        if late is not None and late.any(tensor for tensor, _, _ in looked):
            ask = late.ask()
            prints = ask.params(looked)
            ask.then("states", self._write_params, record.root, step, at, params, prints)
        else:
            self._write_params(record.root, step, at, params, param_prints(looked))

    def _write_params(
        self, root: str, step: int, at: int, params: Sequence[Param], prints: Sequence[int | None]
    ) -> None:
        for param, data in zip(params, prints, strict=True):
            if data is None:
                self.shared.unread("param_state", step)
            else:
                self._put_param(param.name, root, step, at, data, param.finite)

    # ------------------------------------------------------------------ buffers
    def before(self, run: Run) -> None:
        """Read the buffers when a model is entered."""
        late = self.shared.late
        ask = None if late is None else late.ask()
        for module, name, handle in run.record.buffers:
            owner = module()
            tensor = owner._buffers.get(name) if owner is not None else None
            if tensor is None or not self._is_read(tensor):
                continue
            data = print_of(tensor) if ask is None else ask.print(tensor)
            if data is None:
                self.shared.unread("buffer_state", run.frame.step)
            else:
                run.buffers.append((module, name, handle, data))
        if ask is not None:
            ask.send("states")

    def inner(self) -> None:
        """The model inside of a wrapper is entered."""
        if self.shared.governor.open:
            self.before(context.run)

    def after(self, run: Run) -> None:
        """Read the buffers when the model returned."""
        if self.shared.late is not None:
            self._after_late(run, self.shared.late)
            return
        found: list[tuple[str, int, int]] = []
        fresh: list[tuple[str, int, torch.Tensor]] = []
        for module, name, handle, before in run.buffers:
            owner = module()
            tensor = owner._buffers.get(name) if owner is not None else None
            data = None if tensor is None else print_of(tensor)
            if tensor is None or data is None:
                continue
            found.append((handle, before, data))
            if handle not in self._finite or self._finite[handle][0] != data:
                fresh.append((handle, data, tensor))
        for (handle, data, _), finite in zip(fresh, are_finite([item[2] for item in fresh]), strict=True):
            self._finite[handle] = data, finite
        step, call, at, root = self.clock.step, run.frame.call, self.shared.tick(), run.record.root
        for handle, before, data in found:
            self._put_buffer(handle, root, call, step, at, before, data, self._finite[handle][1])

    def _after_late(self, run: Run, late: Late) -> None:
        """Likewise where there is a device: a buffer may be on it."""
        ask = late.ask()
        live = [
            (handle, before, tensor)
            for module, name, handle, before in run.buffers
            if (owner := module()) is not None and (tensor := owner._buffers.get(name)) is not None
        ]
        step, at = self.clock.step, self.shared.tick()
        if not live:
            return
        ask.then(
            *("states", self._write_buffers, run.record.root, run.frame.call, step, at),
            [handle for handle, _, _ in live],
            [before for _, before, _ in live],
            [ask.print(tensor) for _, _, tensor in live],
            [ask.finite(tensor) for _, _, tensor in live],
        )

    def _write_buffers(
        self,
        root: str,
        call: int,
        step: int,
        at: int,
        handles: Sequence[str],
        earlier: Sequence[int | None],
        later: Sequence[int | None],
        finite: Sequence[bool | None],
    ) -> None:
        for handle, before, after, is_finite in zip(handles, earlier, later, finite, strict=True):
            if before is None or after is None or is_finite is None:
                self.shared.unread("buffer_state", step)
            else:
                self._put_buffer(handle, root, call, step, at, before, after, is_finite)

    def _is_read(self, tensor: torch.Tensor) -> bool:
        small = tensor.numel() * tensor.element_size() <= LARGE_BUFFER
        return small or self.shared.governor.looks(self.clock.step, "buffer_state")
