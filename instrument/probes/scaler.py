"""Gradient scalers."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.optimizer import API as STEP_API
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.values import host_number
from torch.amp import grad_scaler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcrules.instrument.probes.gradients import Points
    from tcrules.instrument.probes.optimizer import Optimizers
    from tcrules.instrument.probes.reductions import Answer
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame
    from tcrules.instrument.sink import Writer

RELATIONS = ("scaler", "scaler_scale", "scaler_unscale", "scaler_step", "scaler_update")


@dataclass(slots=True, eq=False)
class Scaling:
    """A step through a scaler that is running."""

    optimizer: weakref.ref[Any]
    #: The optimizer was called. One that looks for an overflow by itself may have skipped the step all the same; on a
    #: device that is known later.
    called: bool = False
    skipped: bool | Answer = True


class Scalers:
    """Writes facts of scalers; one that is disabled is only named."""

    def __init__(self, shared: Shared, optimizers: Optimizers, points: Points | None) -> None:
        self.shared, self.optimizers, self.points = shared, optimizers, points
        session = shared.session
        self._known: IdentityMap[str] = IdentityMap()
        self._put = session.put("scaler")
        self._put_scale, self._put_unscale = session.put("scaler_scale"), session.put("scaler_unscale")
        self._put_step, self._put_update = session.put("scaler_step"), session.put("scaler_update")

    def name(self, scaler: Any) -> str:
        """Return the name of a scaler and write it once."""
        known = self._known.get(scaler)
        if known is None:
            known = self.shared.names.scaler(scaler)
            self._known.put(scaler, known)
            self._put(known, bool(scaler.is_enabled()))
        return known

    def made(self, scaler: Any, _result: Any, raised: bool) -> None:
        """A scaler was constructed."""
        if not raised:
            self.name(scaler)

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`scale` or `update` begins."""
        scaler = args[0]
        name = self.name(scaler)
        return (name, (scaler, self._scale(scaler))) if scaler.is_enabled() else None

    def enter_optimizer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`unscale_` or `step` begins."""
        found = self.enter(args, kwargs)
        optimizer = argument(args, kwargs, 1, "optimizer")
        return None if found is None else (found[0], (args[0], optimizer))

    def enter_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`step` begins."""
        found = self.enter_optimizer(args, kwargs)
        if found is None:
            return None
        optimizer = found[1][1]
        self.shared.clock.before_optimizer(self.shared.names.optimizer(optimizer))
        context.scaling = Scaling(weakref.ref(optimizer))
        return found

    def _scale(self, scaler: Any) -> float | Answer | None:
        """Return the scale, or the answer that it will be; the initial one before first use."""
        scale, late = getattr(scaler, "_scale", None), self.shared.late
        if scale is None:
            return float(getattr(scaler, "_init_scale", 0.0))
        if late is None or not late.holds(scale):
            return host_number(scale)
        ask = late.ask()
        answer = ask.number(scale)
        ask.send("scaler")
        return answer

    def _later(self, write: Callable[..., None], *args: Any) -> None:
        """Write what may be known only later."""
        if self.shared.late is None:
            write(*args)
        else:
            self.shared.late.after("scaler", write, *args)

    def leave_scale(self, frame: Frame, token: Any, _result: Any, _raised: bool) -> None:
        """`scale` returned."""
        about = frame.call, frame.object, frame.step, frame.begin
        self._later(self._write, "scaler_scale", self._put_scale, about, [token[1]])

    def _write(
        self, relation: str, put: Writer, about: tuple[int, str, int, int], scales: Sequence[float | None]
    ) -> None:
        known = [scale for scale in scales if scale is not None]
        if len(known) < len(scales):
            self.shared.unread(relation, about[2])
        else:
            put(*about, *known)

    def leave_unscale(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """`unscale_` returned."""
        if not raised:
            name = self.shared.names.optimizer(token[1])
            self._put_unscale(frame.call, frame.object, name, frame.step, frame.begin)
            if self.points is not None:
                tensors = (tensor for group in token[1].param_groups for tensor in group["params"])
                params = [(tensor, self.shared.book.param(tensor)) for tensor in tensors]
                self.shared.safely("gradients", self.points.look, frame.call, "unscaled", params)

    def leave_step(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """`step` returned: without a step of the optimizer there was an overflow."""
        scaling, context.scaling = context.scaling, None
        if raised or scaling is None:
            return
        optimizer = token[1]
        record = self.optimizers.record(optimizer)
        if not self.shared.governor.open:
            if not scaling.called:
                self.optimizers.count(record)
            return
        if not scaling.called:
            self._skip(optimizer, record)
        about = frame.call, frame.object, record.owner.name, frame.step, frame.begin
        if isinstance(scaling.skipped, bool):
            self._put_step(*about, scaling.skipped)
        else:
            self._later(self._write_step, about, scaling.skipped)

    def _write_step(self, about: tuple[int, str, str, int, int], overflow: float | None) -> None:
        if overflow is None:
            self.shared.unread("scaler_step", about[3])
        else:
            self._put_step(*about, overflow > 0)

    def _skip(self, optimizer: Any, record: Any) -> None:
        self.optimizers.describe(optimizer, record)
        inner = self.shared.session.enter(STEP_API, record.owner.name)
        end = self.shared.session.leave(inner)
        self.optimizers.done(inner, record, end, skipped=True)

    def leave_update(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """`update` returned."""
        if not raised:
            about = frame.call, frame.object, frame.step, frame.begin
            scales = [token[1], self._scale(token[0])]
            self._later(self._write, "scaler_update", self._put_update, about, scales)


def install(shared: Shared, optimizers: Optimizers, points: Points | None) -> None:
    """Patch `torch.amp.GradScaler`, which the device-specific ones inherit from."""
    scalers = Scalers(shared, optimizers, points)
    cls, guard = grad_scaler.GradScaler, shared.guard("scaler")
    shared.patches.around(cls, "__init__", guard(lambda args, kwargs: args[0]), guard(scalers.made))
    methods = (
        ("scale", scalers.enter, scalers.leave_scale),
        ("unscale_", scalers.enter_optimizer, scalers.leave_unscale),
        ("step", scalers.enter_step, scalers.leave_step),
        ("update", scalers.enter, scalers.leave_update),
    )
    for name, enter, leave in methods:
        api = f"torch.amp.GradScaler.{name}"
        shared.watch(
            "scaler", cls, name, api, enter, leave, always=name == "step"
        )  # it counts those that it skips
