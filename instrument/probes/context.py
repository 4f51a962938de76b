"""What the probes know about the call that is running: kept per thread, read on hot paths."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn


class Context(threading.local):
    """State of one thread. Everything is neutral outside of watched calls."""

    def __init__(self) -> None:
        #: Outermost module that is running forward, and its call; None and 0 outside of a forward.
        self.root: nn.Module | None = None
        self.forward = 0
        #: Modules of the running forward from the outermost inwards; kept only while it is sampled.
        self.modules: list[nn.Module] = []
        self.sampled = False
        #: Layers to record in this forward: id of the module -> its name and class name.
        self.layers: dict[int, tuple[str, str]] = {}
        self.calls: dict[str, int] = {}
        #: The outermost forward that is running, and the model inside its wrapper until that is entered.
        self.run: Any = None
        self.inner: nn.Module | None = None
        #: Families of watched functions that are running; nested calls of a family count once.
        self.busy: set[str] = set()
        #: Optimizer steps that are running, outermost first; and the running step of a scaler.
        self.steps: list[Any] = []
        self.scaling: Any = None
        #: The first pass of a checkpoint whose backward will compute gradients runs, with gradients switched off.
        self.checkpointed = False


#: One per process: probes of one process share it. A forked child inherits the state of the forking thread.
context = Context()


def autocast_dtype(dtype: dict[torch.dtype, str]) -> str:
    """Return the dtype of the active autocast region, "" outside of any."""
    if torch.is_autocast_enabled("cpu"):
        return dtype[torch.get_autocast_dtype("cpu")]
    if torch.is_autocast_enabled("cuda"):
        return dtype[torch.get_autocast_dtype("cuda")]
    return ""


class _DtypeNames(dict[torch.dtype, str]):
    """Dtype -> its name without the prefix `torch.`."""

    def __missing__(self, dtype: torch.dtype) -> str:
        name = self[dtype] = str(dtype).removeprefix("torch.")
        return name


dtype_name = _DtypeNames()


def records_grad() -> bool:
    """Return whether gradients will be computed for what runs now.

    The first pass of a reentrant checkpoint runs without a graph; its backward runs it again, with one.
    """
    return context.checkpointed or torch.is_grad_enabled()


def in_backward() -> bool:
    """Return whether this thread executes a node of an autograd graph.

    Recomputation of checkpointed activations runs modules there; on accelerators that is a thread of autograd's own,
    where no Python frame of ours is on the stack.
    """
    return bool(torch._C._current_graph_task_id() != -1)
