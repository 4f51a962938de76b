"""Collective operations that the program calls. Those of DDP's reducer run in C++ and are not seen."""

from __future__ import annotations

import functools
import inspect
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.values import SMALL, local, norms, placed, sample_print, tensors_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("collective", "collective_data")


class Function(NamedTuple):
    """Positions of a collective's arguments; -1 = it has none. `peer` names the source or destination rank."""

    group: int
    result: int = 0
    given: int = 0
    reduction: int = -1
    peer: int = -1
    peer_name: str = ""


FUNCTIONS = {
    "all_reduce": Function(2, reduction=1),
    "broadcast": Function(2, peer=1, peer_name="src"),
    "reduce": Function(3, reduction=2, peer=1, peer_name="dst"),
    "all_gather": Function(2, given=1),
    "all_gather_into_tensor": Function(2, given=1),
    "gather": Function(3, result=1, peer=2, peer_name="dst"),
    "scatter": Function(3, given=1, peer=2, peer_name="src"),
    "reduce_scatter": Function(3, given=1, reduction=2),
    "reduce_scatter_tensor": Function(3, given=1, reduction=2),
    "all_to_all": Function(2, given=1),
    "all_to_all_single": Function(4, given=1),
    "barrier": Function(0, result=-1, given=-1),
    "all_gather_object": Function(2, result=-1, given=-1),
    "broadcast_object_list": Function(2, result=-1, given=-1, peer=1, peer_name="src"),
    "gather_object": Function(3, result=-1, given=-1, peer=2, peer_name="dst"),
    "scatter_object_list": Function(3, result=-1, given=-1, peer=2, peer_name="src"),
    "all_reduce_coalesced": Function(2, reduction=1),
    "all_gather_coalesced": Function(2, given=1),
}


@dataclass(slots=True, eq=False)
class Running:
    """A collective that was called and whose result is not there yet; keeps no tensor alive."""

    call: int
    group: str
    nth: int
    op: str
    result: tuple[weakref.ref[torch.Tensor], ...]


class Collectives:
    """Writes `collective`, counted per group, and what went in and came out."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._counts: dict[str, int] = {}
        self._running: IdentityMap[Running] = IdentityMap()
        self._put, self._put_data = shared.session.put("collective"), shared.session.put("collective_data")

    def enter(
        self, name: str, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, Any] | None:
        """A collective begins; `names` are those of its parameters."""

        def tensors(position: int) -> list[torch.Tensor]:
            return (
                list(tensors_in(argument(args, kwargs, position, names[position]))) if position >= 0 else []
            )

        distributed = torch.distributed
        if not distributed.is_initialized():
            return None
        function = FUNCTIONS[name]
        group = argument(args, kwargs, function.group, "group")
        is_default = group is None or group is distributed.group.WORLD
        label = "default" if is_default else str(getattr(group, "group_name", "other"))
        size = distributed.get_world_size(group)
        if size < 0:  # this rank is no member: nothing happens
            return None
        nth = self._counts.get(label, 0)
        self._counts[label] = nth + 1
        tensor = next(tensors_in((args, kwargs)), None)
        result = [weakref.ref(found) for found in tensors(function.result)]
        running = Running(0, label, nth, name, tuple(result))
        about = (
            "" if tensor is None else dtype_name[tensor.dtype],
            "" if tensor is None else "x".join(str(part) for part in tensor.shape),
        )
        more = (
            _reduction(args, kwargs, function),
            size,
            argument(args, kwargs, function.group + 1, "async_op", False) is True,
            _peer(args, kwargs, function),
        )
        before = self._describe(tensors(function.given))
        return label, (running, about, more, before)

    def leave(self, frame: Frame, token: Any, result: Any, raised: bool) -> None:
        """It returned; an asynchronous one may still run."""
        running, about, more, before = token
        running.call = frame.call
        self._put(frame.call, frame.object, running.nth, running.op, *about, frame.step, frame.begin, *more)
        if before is not None:
            self._data(running, "argument", frame.begin, before)
        if raised or not running.result:
            return
        if more[2] and result is not None:
            try:
                self._running.put(result, running)
            except TypeError:
                self.shared.session.gap("collective_data", "a handle of this kind cannot be followed")
        elif running.op != "reduce" or more[3] == torch.distributed.get_rank():
            self._result(running)

    def enter_wait(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Running | None:
        """`Work.wait` begins."""
        return self._running.get(args[0])

    def leave_wait(self, running: Running, _result: Any, raised: bool) -> None:
        """It returned: the result is there."""
        if not raised:
            self._result(running)
            running.result = ()  # it may be waited for again

    def _result(self, running: Running) -> None:
        live = [tensor for reference in running.result if (tensor := reference()) is not None]
        found = self._describe(live)
        if found is not None:
            self._data(running, "result", self.shared.tick(), found)

    def _describe(self, tensors: Sequence[torch.Tensor]) -> list[Any] | None:
        """Return fingerprints and norms of tensors, or the answers that they will be; None if one cannot be read.

        Large ones have no norm.
        """
        if not tensors or any(placed(tensor) is None for tensor in tensors):
            return None
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        has_norm = size <= SMALL and all(tensor.is_floating_point() for tensor in tensors)
        late = self.shared.late
        if late is None or not late.any(tensors):
            prints = [sample_print(tensor) for tensor in tensors]
            plain = [found for tensor in tensors if (found := local(tensor.detach())) is not None]
            return [prints, [("", norm) for norm in norms(plain)] if has_norm else None]
        ask = late.ask()
        found = [
            [ask.sample(tensor) for tensor in tensors],
            [ask.norm(tensor.detach()) for tensor in tensors] if has_norm else None,
        ]
        ask.send("distributed")
        return found

    def _data(self, running: Running, role: str, at: int, found: list[Any]) -> None:
        about = running.call, running.group, running.nth, running.op, role, self.shared.clock.step, at
        if self.shared.late is None:
            self._write(about, *found)
        else:
            self.shared.late.after("distributed", self._write, about, *found)

    def _write(
        self,
        about: tuple[int, str, int, str, str, int, int],
        prints: Sequence[int | None],
        parts: Sequence[tuple[str, float] | None] | None,
    ) -> None:
        read = [data for data in prints if data is not None]
        norm = -1.0 if parts is None else sum(part[1] ** 2 for part in parts if part is not None) ** 0.5
        if len(read) < len(prints) or (parts is not None and None in parts):
            self.shared.unread("collective_data", about[5])
        else:
            self._put_data(*about, read[0] if len(read) == 1 else combine(read), norm)

    def joined(self, _token: Any, _result: Any, raised: bool) -> None:
        """A process group exists: the rank is known."""
        if not raised:
            self._counts.clear()
            self.shared.session.refresh()


def _reduction(args: tuple[Any, ...], kwargs: dict[str, Any], function: Function) -> str:
    """Return sum, avg, … of a reduction, "" if it is none."""
    if function.reduction < 0:
        return ""
    given = argument(args, kwargs, function.reduction, "op", torch.distributed.ReduceOp.SUM)
    return str(getattr(given, "name", None) or getattr(given, "op", "other")).rpartition(".")[2].lower()


def _peer(args: tuple[Any, ...], kwargs: dict[str, Any], function: Function) -> int:
    given = argument(args, kwargs, function.peer, function.peer_name) if function.peer >= 0 else None
    return given if isinstance(given, int) else -1


def install(shared: Shared) -> None:
    """Patch the functions where they are defined and where they are exported."""
    distributed: Any = torch.distributed
    if not distributed.is_available():
        return
    collectives = Collectives(shared)
    defined = distributed.distributed_c10d
    guard = shared.guard("distributed")
    for name in FUNCTIONS:
        if not hasattr(defined, name):
            continue
        names = tuple(inspect.signature(getattr(defined, name)).parameters)
        enter = functools.partial(collectives.enter, name, names)
        api = f"torch.distributed.{name}"
        shared.watch(
            "distributed", defined, name, api, enter, collectives.leave, family="collective", always=True
        )
        if hasattr(distributed, name):
            shared.patches.replace(distributed, name, getattr(defined, name))
    wait = guard(collectives.enter_wait), guard(collectives.leave_wait)
    shared.patches.around(defined.Work, "wait", *wait)
    shared.patches.around(
        defined, "init_process_group", guard(lambda args, kwargs: True), guard(collectives.joined)
    )
    shared.patches.replace(distributed, "init_process_group", defined.init_process_group)
