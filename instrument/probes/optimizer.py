"""Optimizers: what they own, and their steps with gradients and updates."""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.probes.context import context, in_backward
from tcrules.instrument.probes.models import Owner
from tcrules.instrument.probes.patching import argument, around, is_traced, uncompiled
from tcrules.instrument.probes.reductions import Answer
from tcrules.instrument.probes.updates import ask_rate, number_of
from tcrules.instrument.probes.values import host_number, is_real
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.probes.slots import Slots
    from tcrules.instrument.probes.updates import Updates
    from tcrules.instrument.session import Frame

RELATIONS = ("optimizer", "member", "optimizer_step", "param_group")
API = "torch.optim.Optimizer.step"
WHY_INSIDE = "optimizers step inside of the backward: the gradients that it wrote are gone when it returns"
_MARK = "_tcrules_step"


@dataclass(slots=True, eq=False)
class Record:
    """What is known about an optimizer."""

    owner: Owner
    kind: str
    created: int
    optimizer: weakref.ref[Optimizer]
    #: Groups as last written: identity and length of their parameter lists tell cheaply whether they changed.
    groups: tuple[tuple[int, int], ...] = ()
    members: list[list[Param]] = field(default_factory=list)
    described: bool = False
    #: Optimizers that step inside of this one on its parameters (ZeRO): they hold the state.
    inner: list[weakref.ref[Optimizer]] = field(default_factory=list)
    turns: int = 1
    #: Its parameters have been seen to hold data.
    real: bool = False


@dataclass(slots=True, eq=False)
class Step:
    """A step that is running."""

    frame: Frame
    optimizer: Optimizer
    record: Record
    closure: bool
    #: What `updates` remembers from entry to return: the parameters that it looks at, their prints, and of all owned
    #: ones class and norm of the gradient; answers where they are on a device.
    seen: list[tuple[int, torch.Tensor, Param, dict[str, Any]]] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    gradients: list[Any] = field(default_factory=list)

    @property
    def call(self) -> int:
        """Id of the call."""
        return self.frame.call


@dataclass(slots=True, eq=False)
class Counted:
    """A step that is running and is only counted."""

    optimizer: Optimizer
    record: Record


class Optimizers:
    """Writes facts of optimizers; every logical step once, whoever wraps or patches it."""

    def __init__(self, shared: Shared, updates: Updates, slots: Slots | None) -> None:
        self.shared, self.updates, self.slots = shared, updates, slots
        self.session, self.clock, self.names = shared.session, shared.clock, shared.names
        self.records: IdentityMap[Record] = IdentityMap()
        #: The last one to step: its parameters know that it owns them.
        self._latest: Record | None = None
        #: The only one there is.
        self._only: Record | None = None
        session = shared.session
        self._put, self._put_member = session.put("optimizer"), session.put("member")
        self._put_step, self._put_group = session.put("optimizer_step"), session.put("param_group")

    # ------------------------------------------------------------------ existence
    def record(self, optimizer: Optimizer) -> Record:
        """Return the record of an optimizer, a new one when it is met."""
        known = self.records.get(optimizer)
        if known is None:
            name = self.names.optimizer(optimizer)
            kind = type(optimizer)
            owner = Owner(name, kind.__module__.startswith("torch.optim."))
            known = Record(owner, kind.__name__, self.shared.tick(), weakref.ref(optimizer))
            self.records.put(optimizer, known)
            self._only = None
        return known

    def made(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Optimizer:
        """An optimizer is being constructed: the token is the object."""
        optimizer: Optimizer = args[0]
        return optimizer

    def was_made(self, optimizer: Optimizer, _result: None, raised: bool) -> None:
        """Its constructor returned."""
        if not raised:
            self.record(optimizer)
            self.wrap(type(optimizer))

    def describe_new(self) -> None:
        """Write optimizers that appeared since the last step; called before the first gradient forward of a step.

        Not at once: an optimizer inside of another one (ZeRO) is told only when the outer one is complete.
        """
        for optimizer, record in self.records.live():
            self.wrap(type(optimizer))  # the user may have replaced `step` of the class since
            if not record.described:
                if self._is_inner(optimizer):
                    record.described = True
                    self.clock.optimizer_gone(record.owner.name)
                else:
                    self.describe(optimizer, record)

    def _is_inner(self, optimizer: object) -> bool:
        return any(
            value is optimizer
            for other, _ in self.records.live()
            if other is not optimizer
            for value in vars(other).values()
        )

    def describe(self, optimizer: Any, record: Record) -> None:
        """Write an optimizer once, and its members when its groups changed."""
        if not record.described:
            record.described = True
            self._put(record.owner.name, record.kind, record.created)
        groups = tuple((id(group["params"]), len(group["params"])) for group in optimizer.param_groups)
        if groups == record.groups:
            return
        known = {id(param) for members in record.members for param in members}
        record.groups, record.members, sizes = groups, [], []
        self._latest = None
        at = self.shared.tick()
        for number, group in enumerate(optimizer.param_groups):
            members = []
            for index, tensor in enumerate(group["params"]):
                self.names.owned(tensor, record.owner.name, number, index)
                param = self.shared.book.param(tensor)
                members.append(param)
                sizes.append(2 * param.size)
                param.owner = param.owner or record.owner
                if id(param) not in known:
                    self._put_member(record.owner.name, param.name, number, at)
            record.members.append(members)
        record.turns = self.updates.turns(
            sizes, self.shared.budget(param for members in record.members for param in members)
        )

    # ------------------------------------------------------------------ steps
    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | Counted | None:
        """A step begins; None if it belongs to another step of this thread."""
        optimizer: Any = args[0]
        record = self.records.get(optimizer)
        if record is None or not record.real:
            first = next((tensor for group in optimizer.param_groups for tensor in group["params"]), None)
            if first is None or not is_real(first):
                return None
            record = self.record(optimizer)
            record.real = True
        if in_backward():
            self.session.gap("accumulate", WHY_INSIDE)
        for outer in context.steps:
            if outer.optimizer is optimizer or self._belongs(optimizer, outer):
                return None
        self.clock.before_optimizer(record.owner.name)
        if not self.shared.governor.open:
            counted = Counted(optimizer, record)
            context.steps.append(counted)
            return counted
        self.describe(optimizer, record)
        frame = self.session.enter(API, record.owner.name)
        try:
            step = Step(frame, optimizer, record, argument(args, kwargs, 1, "closure") is not None)
            frame.opaque = record.owner.exact and not step.closure
            self._begin(step)
        except Exception:
            self.session.abandon(frame)
            raise
        context.steps.append(step)
        return step

    def _begin(self, step: Step) -> None:
        frame, owner = step.frame, step.record.owner
        about, late = (frame.call, owner.name, owner.nth, frame.step), self.shared.late
        settings = [
            value
            for group in step.optimizer.param_groups
            for value in (group.get("lr", 0.0), group.get("weight_decay", 0.0))
        ]
        if late is not None and late.any(settings):
            ask = late.ask()
            ask.then("optimizer", self._write_groups, about, [ask_rate(ask, value) for value in settings])
        else:
            self._write_groups(about, [number_of(value) for value in settings])
        self.shared.safely("updates", self.updates.before, step)

    def _write_groups(self, about: tuple[int, str, int, int], settings: Sequence[float | None]) -> None:
        for number, (lr, decay) in enumerate(zip(settings[::2], settings[1::2], strict=True)):
            if lr is None or decay is None:
                self.shared.unread("param_group", about[3])
            else:
                self._put_group(*about, number, lr, decay)

    def _belongs(self, optimizer: Any, outer: Step | Counted) -> bool:
        """Whether a step inside of another one works on the parameters of that one."""
        owned = {id(p) for group in outer.optimizer.param_groups for p in group["params"]}
        if not all(id(p) in owned for group in optimizer.param_groups for p in group["params"]):
            return False
        if all(inner() is not optimizer for inner in outer.record.inner):
            outer.record.inner.append(weakref.ref(optimizer))
            self.clock.optimizer_gone(self.names.optimizer(optimizer))
        return True

    def leave(self, step: Step | Counted, _result: Any, raised: bool) -> None:
        """A step returned."""
        record = step.record
        if isinstance(step, Counted):
            if not raised:
                self.count(record)
                self._scaled(step.optimizer, skipped=False)
            return
        frame = step.frame
        skipped = self._overflowed(step.optimizer)
        if not raised:
            self.shared.safely("updates", self.updates.after, step)
            if self.slots is not None:
                self.shared.safely("slots", self.slots.after, step)
        end = self.session.leave(frame, raised)
        if not raised:
            self.done(frame, record, end, skipped, step.closure)
            self._scaled(step.optimizer, skipped)

    def _scaled(self, optimizer: Optimizer, skipped: bool | Answer) -> None:
        if context.scaling is not None and context.scaling.optimizer() is optimizer:
            context.scaling.called, context.scaling.skipped = True, skipped

    def _overflowed(self, optimizer: Any) -> bool | Answer:
        """Return whether a fused optimizer got an overflow from the scaler and skipped its step by itself."""
        found, late = getattr(optimizer, "found_inf", None), self.shared.late
        if not isinstance(found, torch.Tensor):
            return False
        if late is None or not late.holds(found):
            return bool(host_number(found))
        ask = late.ask()
        overflow = ask.number(found)
        ask.send("optimizer")
        return overflow

    def done(
        self, frame: Frame, record: Record, end: int, skipped: bool | Answer, closure: bool = False
    ) -> None:
        """Write a step and count it; also one that a scaler skipped."""
        name = record.owner.name
        about = frame.call, name, record.owner.nth, frame.step, frame.begin, end
        if not isinstance(skipped, Answer):
            self._put_step(*about, skipped, closure)
        elif self.shared.late is not None:
            self.shared.late.after("optimizer", self._write_step, about, skipped, closure)
        self.count(record)

    def _write_step(
        self, about: tuple[int, str, int, int, int, int], overflow: float | None, closure: bool
    ) -> None:
        if overflow is None:
            self.shared.unread("optimizer_step", about[3])
        else:
            self._put_step(*about, overflow > 0, closure)

    def count(self, record: Record) -> None:
        """A step was taken, or skipped."""
        record.owner.nth += 1
        if record is not self._latest:
            self._latest = record
            self._only = record if len(self.records) == 1 else None
            for members in record.members:
                for param in members:
                    param.owner = record.owner
        self.clock.optimizer_stepped(record.owner.name)

    # ------------------------------------------------------------------ patches
    def wrap(self, cls: type[Optimizer]) -> None:
        """Wrap `step` of a class unless it is wrapped.

        A wrapper of the class sees what torch's own hooks do not: exceptions, and any step after `torch.compile`
        unwrapped the hooks (dynamo's TorchPatcher replaces `step` by its `__wrapped__`, which ours therefore lacks).
        """
        if getattr(cls.step, _MARK, None) is self:
            return
        guard = self.shared.guard("optimizer")
        leave = guard(self.leave)

        def after(step: Step | Counted, result: Any, raised: bool) -> None:
            if step in context.steps:
                del context.steps[context.steps.index(step) :]
            leave(step, result, raised)
            if isinstance(step, Step) and self.session.is_disabled("optimizer"):
                self.session.abandon(step.frame)

        wrapper = self._resting(cls.step, around(cls.step, guard(self.enter), after))
        functools.update_wrapper(wrapper, cls.step)
        del wrapper.__wrapped__
        setattr(wrapper, _MARK, self)
        wrapper.hooked = True  # torch's constructor would wrap it again
        self.shared.patches.replace(cls, "step", wrapper)

    def _resting(self, original: Callable[..., Any], watched: Callable[..., Any]) -> Any:
        """Return `watched`, but where nothing is recorded a step of the only optimizer is just counted, and that later.

        So it is in nearly all steps of a long run. It takes a fifth of the time.
        """
        clock = self.clock

        @uncompiled
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if is_traced() or clock.later <= 0:
                return watched(*args, **kwargs)
            record = self._only
            if record is None or record.optimizer() is not args[0] or context.scaling is not None:
                return watched(*args, **kwargs)
            if clock.between:
                clock.clears_later()
            result = original(*args, **kwargs)
            record.owner.nth += 1
            clock.steps_later()
            return result

        return wrapper


def install(shared: Shared, optimizers: Optimizers) -> None:
    """Patch the constructor and the steps of the classes that exist."""
    guard = shared.guard("optimizer")
    shared.patches.around(Optimizer, "__init__", guard(optimizers.made), guard(optimizers.was_made))
    pending = list(Optimizer.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if "step" in vars(cls) and getattr(cls.step, "hooked", False):
            optimizers.wrap(cls)  # instances exist already: no constructor will tell
    shared.step_begins.append(("optimizer", optimizers.describe_new))
