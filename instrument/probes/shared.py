"""What all probes of a session share."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from tcrules.instrument.probes import cuda, values
from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.deferred import Late
from tcrules.instrument.probes.governor import Governor
from tcrules.instrument.probes.models import Book
from tcrules.instrument.probes.patching import Gate, Patches, uncompiled
from torch._C._dynamo.eval_frame import set_eval_frame
from torch.utils import _python_dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.session import Frame, Session

_functions = torch._C._len_torch_function_stack
_tracing = torch._C._get_tracing_state
_dispatches = torch._C._len_torch_dispatch_stack
_DYNAMO = "torch._dynamo.eval_frame"


def _without_modes(callback: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    with torch._C.DisableTorchFunction(), _python_dispatch._disable_current_modes():
        return callback(*args)


#: The watched call, and what its probe remembers from entry to return.
Token: TypeAlias = "tuple[Frame, Any]"


class Shared:
    """Session, patches and records; one per `install`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.clock = session.clock
        self.tick = session.clock.tick
        self.names = session.names
        self.patches = Patches()
        self.book = Book(session.names.param)
        session.on_fork(self.book.after_fork)
        self.governor = Governor(session)
        kit = cuda.make()
        #: What device tensors are asked; None where there is no device.
        self.late: Late | None = None if kit is None else Late(kit, self.safely, self.governor.device)
        if self.late is not None:
            session.on_close(self.late.close)
            session.on_fork(self.late.after_fork)
        #: Called when a step is over, with its number; before the first gradient forward of a step; and
        #: before the first backward of the process.
        #: Probes of whose relations none is wanted.
        self.idle: set[str] = set()
        self.step_over: list[tuple[str, Callable[[int], None]]] = []
        self.step_begins: list[tuple[str, Callable[[], None]]] = []
        self.first_backward: list[tuple[str, Callable[[], None]]] = []
        session.clock.on_round = self.governor.round_over
        self._chain_clock()

    def _chain_clock(self) -> None:
        clock, before = self.clock, self.clock.on_steps

        def over(steps: Sequence[tuple[int, int, int]]) -> None:
            for step, _, _ in steps:
                for probe, callback in self.step_over:
                    self.safely(probe, callback, step)
                self.governor.step_over(step)
            # last: its fact says that all facts of the step are there
            if self.late is None:
                before(steps)
            else:
                self.late.poll()
                self.late.after("step", before, steps)

        clock.on_steps = over
        self.patches.on_undo(lambda: setattr(clock, "on_steps", before))

    def guard(self, probe: str, *relations: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that makes a callback harmless (`Session.guard`) and invisible.

        The user's function and dispatch modes (counters, `torch.set_default_device`, fake tensors) do not see what it
        does, and dynamo does not compile it: under a compiled region every Python frame that runs is a candidate.
        """
        session, modules = self.session, sys.modules
        session.guard(probe, *relations)  # names what the probe leaves out when it fails
        local, governor, book = session.local, self.governor, self.book

        def wrap(callback: Callable[..., Any]) -> Callable[..., Any]:
            def hidden(*args: Any) -> Any:
                # as `Session.guard`, in one frame; and our operations must not be part of a graph of torch.jit.trace
                if (
                    local.inside
                    or session.paused
                    or session.closed
                    or session.is_disabled(probe)
                    or _tracing()
                ):
                    return None
                local.inside = True
                begin = perf_counter()
                before = set_eval_frame(None) if _DYNAMO in modules else None
                try:
                    if _functions() or _dispatches() or book.overrides:
                        return _without_modes(callback, args)
                    return callback(*args)
                except Exception as fault:
                    session.disable(probe, fault)
                    return None
                finally:
                    local.inside = False
                    if before is not None:
                        set_eval_frame(before)
                    governor.spent += perf_counter() - begin

            return uncompiled(hidden)

        return wrap

    def safely(self, probe: str, callback: Callable[..., None], *args: Any) -> None:
        """Call another probe's code from within a guarded callback: a fault disables that probe, not the caller."""
        if probe in self.idle or self.session.is_disabled(probe):
            return
        try:
            callback(*args)
        except Exception as fault:
            self.session.disable(probe, fault)

    def budget(self, params: Iterable[Param]) -> int:
        """Return the bytes of large parameters that are fingerprinted in a step."""
        late = self.late
        if late is not None and late.any(param.tensor() for param in params):
            return values.DEVICE_BUDGET
        return values.BUDGET

    def unread(self, relation: str, step: int) -> None:
        """Record that a fact is missing, or lacks a value, since a tensor could not be read."""
        why = values.WHY_DEVICE if self.late is None else self.late.why
        self.session.gap(relation, why, first_step=step)

    def distributed(self) -> bool:
        """Return whether more than one process trains."""
        group = torch.distributed
        return bool(group.is_available() and group.is_initialized() and group.get_world_size() > 1)

    def watch(
        self,
        probe: str,
        owner: Any,
        name: str,
        api: str,
        enter: Callable[[tuple[Any, ...], dict[str, Any]], tuple[str, Any] | None],
        leave: Callable[[Frame, Any, Any, bool], None],
        family: str = "",
        always: bool = False,
        counts: Callable[[tuple[Any, ...], dict[str, Any]], None] | None = None,
    ) -> None:
        """Patch a function so that it is recorded as a call of `api`.

        Args:
            enter: returns the object that the call acts on and a token, or None to leave this call alone.
            leave: gets the frame, the token, the result and whether the call raised; may emit facts.
            family: functions of one family that call each other count once; by default `api` alone.
            always: record it in all steps, also in those that the governor leaves out.
            counts: what must be done in a step that is left out; must not raise.
        """
        session, governor, busy = self.session, self.governor, family or api

        def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Token | None:
            if busy in context.busy:  # only the outermost of nested calls counts
                return None
            found = enter(args, kwargs)
            if found is None or not (always or governor.open):  # a step may have begun with this call
                return None
            context.busy.add(busy)
            return session.enter(api, found[0]), found[1]

        def after(token: Token, result: Any, raised: bool) -> None:
            frame, inner = token
            try:
                leave(frame, inner, result, raised)
            finally:
                session.leave(frame, raised)

        guard = self.guard(probe, "call", "location")
        guarded_after = guard(after)

        @uncompiled
        def finish(token: Token, result: Any, raised: bool) -> None:
            guarded_after(token, result, raised)
            context.busy.discard(busy)
            if session.is_disabled(probe):  # since the call began: the guard skipped `after`
                session.abandon(token[0])

        self.patches.around(owner, name, guard(before), finish, None if always else Gate(governor, counts))
