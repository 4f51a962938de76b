"""Learning-rate schedulers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.updates import ask_rate, number_of
from torch.optim import lr_scheduler

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("scheduler", "scheduler_step", "scheduler_loaded")
API = "torch.optim.lr_scheduler.LRScheduler.step"
LOAD = "torch.optim.lr_scheduler.LRScheduler.load_state_dict"
_MARK = "_tcrules_step"


@dataclass(slots=True, eq=False)
class Record:
    """What is known about a scheduler."""

    name: str
    kind: str
    created: int
    nth: int = 0
    described: bool = False


class Schedulers:
    """Writes facts of schedulers; the steps of those inside of others (chained, sequential) belong to the outer one."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.records: IdentityMap[Record] = IdentityMap()
        self._put, self._put_step = shared.session.put("scheduler"), shared.session.put("scheduler_step")
        self._put_loaded = shared.session.put("scheduler_loaded")

    def record(self, scheduler: Any) -> Record:
        """Return the record of a scheduler, a new one when it is met."""
        known = self.records.get(scheduler)
        if known is None:
            known = Record(
                self.shared.names.scheduler(scheduler), type(scheduler).__name__, self.shared.tick()
            )
            self.records.put(scheduler, known)
        return known

    def describe(self, scheduler: Any, record: Record) -> None:
        """Write a scheduler once."""
        if not record.described:
            record.described = True
            self._put(record.name, record.kind, self._optimizer(scheduler), record.created)

    def describe_new(self) -> None:
        """Write schedulers that appeared, unless another one drives them."""
        live = self.records.live()
        driven = {id(part) for outer, _ in live for part in getattr(outer, "_schedulers", ())}
        for scheduler, record in live:
            if id(scheduler) in driven:
                record.described = True
            else:
                self.describe(scheduler, record)

    def _optimizer(self, scheduler: Any) -> str:
        optimizer = getattr(scheduler, "optimizer", None)
        return "" if optimizer is None else self.shared.names.optimizer(optimizer)

    def enter(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """A step begins; not the one of the constructor."""
        if "scheduler_start" in context.busy:
            return None
        scheduler = args[0]
        record = self.record(scheduler)
        self.describe(scheduler, record)
        return record.name, (scheduler, record, self._rate(scheduler))

    def counts(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """A step in a training step that is left out."""
        if "scheduler_start" not in context.busy:
            self.record(args[0]).nth += 1

    def leave(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """A step returned."""
        scheduler, record, before = token
        if raised:
            return
        optimizer = self._optimizer(scheduler)
        about = frame.call, record.name, optimizer, record.nth, frame.step, frame.begin
        after = self._rate(scheduler)
        if self.shared.late is None:
            self._write(about, before, after)
        else:
            self.shared.late.after("scheduler", self._write, about, before, after)
        record.nth += 1

    def _write(
        self, about: tuple[int, str, str, int, int, int], before: float | None, after: float | None
    ) -> None:
        if before is None or after is None:
            self.shared.unread("scheduler_step", about[4])
        else:
            self._put_step(*about, before, after)

    def _rate(self, scheduler: Any) -> Any:
        """Return the rate of the first group, or the answer that it will be."""
        groups = getattr(getattr(scheduler, "optimizer", None), "param_groups", None)
        rate, late = groups[0].get("lr", 0.0) if groups else 0.0, self.shared.late
        if late is None or not late.holds(rate):
            return number_of(rate)
        ask = late.ask()
        answer = ask_rate(ask, rate)
        ask.send("scheduler")
        return answer

    def enter_load(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[str, Any]:
        """A state is being loaded."""
        record = self.record(args[0])
        self.describe(args[0], record)
        return record.name, args[0]

    def leave_load(self, frame: Frame, scheduler: Any, _result: Any, raised: bool) -> None:
        """It was loaded; the states of those inside of others belong to the outer one."""
        if not raised:
            self._put_loaded(frame.call, frame.object, self._optimizer(scheduler), frame.step, frame.begin)

    def wrap(self, cls: Any) -> None:
        """Wrap `step` and `load_state_dict` of a class that defines its own."""
        if "step" in vars(cls) and getattr(cls.step, _MARK, None) is not self:
            counts = self.shared.guard("scheduler")(self.counts)
            self.shared.watch(
                "scheduler", cls, "step", API, self.enter, self.leave, "scheduler", counts=counts
            )
            setattr(cls.step, _MARK, self)
        if "load_state_dict" in vars(cls) and getattr(cls.load_state_dict, _MARK, None) is not self:
            load = self.enter_load, self.leave_load, "scheduler_load", True
            self.shared.watch("scheduler", cls, "load_state_dict", LOAD, *load)
            setattr(cls.load_state_dict, _MARK, self)


def install(shared: Shared) -> Schedulers:
    """Patch the steps of torch's schedulers, and those of user classes when an object of theirs is made."""
    schedulers = Schedulers(shared)
    guard = shared.guard("scheduler")

    def started(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
        context.busy.add("scheduler_start")
        return args[0]

    def stopped(_token: Any, _result: Any, _raised: bool) -> None:
        context.busy.discard("scheduler_start")

    def made(scheduler: Any, _result: Any, raised: bool) -> None:
        if not raised:
            schedulers.record(scheduler)
            for cls in type(scheduler).__mro__:
                schedulers.wrap(cls)

    base = lr_scheduler.LRScheduler
    shared.patches.around(base, "_initial_step", guard(started), stopped)
    for cls in {
        base,
        lr_scheduler.ReduceLROnPlateau,
        lr_scheduler.SequentialLR,
        lr_scheduler.ChainedScheduler,
    }:
        if "__init__" in vars(cls):
            shared.patches.around(cls, "__init__", guard(lambda args, kwargs: args[0]), guard(made))
    pending: list[Any] = [base, lr_scheduler.ReduceLROnPlateau]
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        schedulers.wrap(cls)
    shared.step_begins.append(("scheduler", schedulers.describe_new))
    return schedulers
