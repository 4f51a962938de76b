"""Collective operations that the program calls. Those of DDP's reducer run in C++ and are not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.values import tensors_in

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("collective",)
#: Function -> position of its group.
FUNCTIONS = {
    "all_reduce": 2,
    "broadcast": 2,
    "reduce": 3,
    "all_gather": 2,
    "all_gather_into_tensor": 2,
    "gather": 3,
    "scatter": 3,
    "reduce_scatter": 3,
    "reduce_scatter_tensor": 3,
    "all_to_all": 2,
    "all_to_all_single": 4,
    "barrier": 0,
    "all_gather_object": 2,
    "broadcast_object_list": 2,
    "gather_object": 3,
    "scatter_object_list": 3,
    "all_reduce_coalesced": 2,
    "all_gather_coalesced": 2,
}


class Collectives:
    """Writes `collective`, counted per group."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._counts: dict[str, int] = {}
        self._put = shared.session.put("collective")

    def enter(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """A collective begins."""
        distributed = torch.distributed
        if not distributed.is_initialized():
            return None
        group = argument(args, kwargs, FUNCTIONS[name], "group")
        is_default = group is None or group is distributed.group.WORLD
        label = "default" if is_default else str(getattr(group, "group_name", "other"))
        tensor = next(tensors_in((args, kwargs)), None)
        dtype = "" if tensor is None else dtype_name[tensor.dtype]
        shape = "" if tensor is None else "x".join(str(size) for size in tensor.shape)
        return label, (name, dtype, shape)

    def leave(self, frame: Frame, token: Any, _result: Any, _raised: bool) -> None:
        """It returned; an asynchronous one may still run."""
        name, dtype, shape = token
        group = frame.object
        nth = self._counts.get(group, 0)
        self._counts[group] = nth + 1
        self._put(frame.call, group, nth, name, dtype, shape, frame.step, frame.begin)

    def joined(self, _token: Any, _result: Any, raised: bool) -> None:
        """A process group exists: the rank is known."""
        if not raised:
            self._counts.clear()
            self.shared.session.refresh()


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

        def enter(args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> tuple[str, Any] | None:
            return collectives.enter(name, args, kwargs)

        api = f"torch.distributed.{name}"
        shared.watch("distributed", defined, name, api, enter, collectives.leave, family="collective")
        if hasattr(distributed, name):
            shared.patches.replace(distributed, name, getattr(defined, name))
    shared.patches.around(
        defined, "init_process_group", guard(lambda args, kwargs: True), guard(collectives.joined)
    )
    shared.patches.replace(distributed, "init_process_group", defined.init_process_group)
