"""What the probes remember about models, parameters and optimizers.

Nothing here keeps a model or an optimizer alive: their records are dropped when they are freed.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.names import class_name, unwrap, walk
from tcrules.instrument.probes.values import is_real
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.probes.reductions import Answer


#: Wrappers that synchronise replicas. Other wrappers (torch.compile) are transparent: they go by the model's name.
PARALLEL = frozenset({"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel"})
_SWITCHED = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RNNBase, nn.MultiheadAttention)
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (nn.modules.batchnorm._BatchNorm, "batch_norm"),
    (nn.modules.dropout._DropoutNd, "dropout"),
    (nn.LayerNorm, "layer_norm"),
    (nn.Linear, "linear"),
    (nn.modules.conv._ConvNd, "conv"),
    ((nn.Embedding, nn.EmbeddingBag), "embedding"),
    ((nn.RNNBase, nn.RNNCellBase), "rnn"),
    (nn.MultiheadAttention, "attention"),
)
_SUFFIXES = (
    ("BatchNorm", "batch_norm"),
    ("LayerNorm", "layer_norm"),
    ("RMSNorm", "layer_norm"),
    ("Linear", "linear"),
    ("Embedding", "embedding"),
    ("Attention", "attention"),
)


@dataclass(slots=True, eq=False)
class Owner:
    """The optimizer that owns a parameter: its name and how many steps it has taken."""

    name: str
    #: It is one of torch's own, whose writes move the version of a tensor. Those of others may go through `.data`.
    exact: bool = False
    nth: int = 0


@dataclass(slots=True, eq=False)
class Param:
    """A parameter: who it is, its last fingerprint and what is known about its gradient."""

    name: str
    tensor: weakref.ref[torch.Tensor]
    #: Size in bytes.
    size: int = 0
    #: When it was registered with a module first; 0 = before recording began.
    created: int = 0
    #: An optimizer or a checkpoint wrote its value.
    trained: bool = False
    #: Where it was registered first: module and attribute.
    place: tuple[weakref.ref[nn.Module], str] | None = None
    owner: Owner | None = None
    #: Initialisations before the first backward; bounded.
    inits: int = 0
    # last fingerprint, and the state that it belongs to
    pointer: int = -1
    version: int = -1
    data: int | None = None
    finite: bool = True
    #: The same of a tensor on a device, once it is known.
    late: Answer | None = None
    #: It lies in shared memory: other processes write it, and nothing here tells.
    shared: bool = False
    # gradient after the last backward
    grad: int = 0
    grad_version: int = -1
    #: The thread that trains it: the one that ran the last forward with gradients of a model that has it; 0 = unknown.
    thread: int = 0
    #: Its gradient is averaged over the ranks by the next backward; None = it is in no data parallel model.
    synced: bool | None = None


@dataclass(slots=True, eq=False)
class Tie:
    """Two places of one parameter, as paths from the model that holds both."""

    first: str
    second: str
    at: int
    tied: bool | None = None


@dataclass(slots=True, eq=False)
class Model:
    """A module that was called outermost, or a copy: flat lists of what the probes look at.

    Only weak references: a hook of a parameter may refer to the model, which then would never be freed.
    """

    name: str
    kind: str
    #: Handle of the model that it is part of; its own name, most of the time.
    root: str = ""
    stamp: int = -1
    params: list[Param] = field(default_factory=list)
    #: Where the parameters are registered: replaced ones are noticed by it.
    slots: list[tuple[weakref.ref[nn.Module], str, weakref.ref[torch.Tensor]]] = field(default_factory=list)
    buffers: list[tuple[weakref.ref[nn.Module], str, str]] = field(default_factory=list)
    switches: list[weakref.ref[nn.Module]] = field(default_factory=list)
    layers: dict[int, tuple[str, str]] = field(default_factory=dict)
    #: requires_grad of `params`, as last emitted.
    flags: list[bool] = field(default_factory=list)
    frozen: int = 0
    ties: list[Tie] = field(default_factory=list)
    tied_places: set[frozenset[str]] = field(default_factory=set)
    #: Value of `stamp` when ties were looked for.
    tie_stamp: int = -2
    #: Kinds of forward (training, grad, autocast) that were recorded in detail.
    kinds: set[tuple[bool, bool, str]] = field(default_factory=set)
    #: Groups in which large parameters and buffers take turns (see `values.turns`).
    turns: int = 1
    #: It ran with gradients; a copy that never does is looked at when steps end.
    trains: bool = False
    #: A forward of it moved a global random generator.
    draws: bool = False
    #: Last step whose first gradient forward was seen.
    step: int = -1
    #: `Param.synced` of its parameters, as last set.
    synced: bool | None = None
    #: The thread that ran its last forward with gradients, and how many parameters it had then.
    thread: tuple[int, int] = (0, 0)

    def live(self) -> list[tuple[torch.Tensor, Param]]:
        """Return the parameters that still exist."""
        found = [(param.tensor(), param) for param in self.params]
        return [(tensor, param) for tensor, param in found if tensor is not None]


class Book:
    """The records of one process."""

    def __init__(self, param_name: Callable[[torch.Tensor], str]) -> None:
        self._param_name = param_name
        self._params: IdentityMap[Param] = IdentityMap()
        self.models: IdentityMap[Model] = IdentityMap()
        #: Module -> the module that it was last registered with.
        self.parents: IdentityMap[weakref.ref[nn.Module]] = IdentityMap()
        #: Handles whose structural facts were written.
        self.described: set[str] = set()
        #: Registrations in known models so far: models look at their tree again when it moved.
        self.stamp = 0
        #: A state of a model was read from a file: parameters first seen from now on may be pretrained.
        self.loaded = False
        #: A parameter of a class with code of its own for torch's functions was met: the probes must not run it.
        self.overrides = False
        #: Held while gradients are read: reading `.grad` while a backward of another thread writes it is a crash.
        self.reading = threading.Lock()
        #: Threads that ran a forward with gradients or a backward.
        self.threads: set[int] = set()
        self._listed: list[Param] = []
        self._stale = False

    def param(self, tensor: torch.Tensor) -> Param:
        """Return the record of a parameter, a new one if it was never met."""
        known = self._params.get(tensor)
        if known is None:
            if not self.overrides and overrides(tensor):
                self.overrides = True
            with torch._C.DisableTorchFunctionSubclass():
                size = 0 if torch.nn.parameter.is_lazy(tensor) else tensor.numel() * tensor.element_size()
            known = Param(self._param_name(tensor), weakref.ref(tensor), size)
            self._params.put(tensor, known)
            self._stale = True
        return known

    def known(self, tensor: torch.Tensor) -> Param | None:
        """Return the record of a parameter, None if it was never met."""
        return self._params.get(tensor)

    def params(self) -> list[Param]:
        """Return all parameters that were met; some may be gone."""
        if self._stale or len(self._params) * 2 < len(self._listed):
            self._listed = [param for _, param in self._params.live()]
            self._stale = False
        return self._listed

    def trained_here(self, model: Model) -> None:
        """Say that this thread trains the parameters of a model from now on."""
        now = threading.get_ident(), len(model.params)
        if model.thread == now and len(self.threads) == 1:
            return
        with self.reading:
            self.threads.add(now[0])
            model.thread = now
            for param in model.params:
                param.thread = now[0]

    def trained_by_me(self) -> list[Param]:
        """The parameters whose gradients this thread may read; it holds `reading`."""
        me = threading.get_ident()
        self.threads.add(me)
        if len(self.threads) == 1:
            return self.params()
        return [param for param in self.params() if param.thread == me]

    def after_fork(self) -> None:
        """Only this thread lives on."""
        self.reading = threading.Lock()
        self.threads = {threading.get_ident()}

    def parent(self, module: nn.Module) -> nn.Module | None:
        """Return the module that this one is registered with."""
        reference = self.parents.get(module)
        parent = reference() if reference is not None else None
        return (
            parent
            if parent is not None and any(child is module for child in parent._modules.values())
            else None
        )

    def top(self, module: nn.Module) -> nn.Module:
        """Return the outermost module that contains this one; wrappers do not count."""
        for _ in range(100):
            parent = self.parent(module)
            if parent is None:
                break
            module = parent
        return unwrap(module)

    def wrapper(self, module: nn.Module) -> nn.Module | None:
        """Return the data parallel wrapper that holds a model directly, if any."""
        parent = self.parent(module)
        return parent if parent is not None and type(parent).__name__ in PARALLEL else None


def overrides(tensor: torch.Tensor) -> bool:
    """Return whether the class of a tensor has code of its own for torch's functions."""
    function = type(tensor).__torch_function__
    if function is torch._C._disabled_torch_function_impl:
        return False
    return getattr(function, "__func__", None) is not torch.Tensor.__torch_function__.__func__


def kind_of(module: nn.Module) -> str:
    """Return the kind of a layer, from its class or, for classes of other libraries, from the class name."""
    for classes, kind in _KINDS:
        if isinstance(module, classes):
            return kind
    name = class_name(module)
    return next((kind for suffix, kind in _SUFFIXES if name.endswith(suffix)), "other")


def is_switched(module: nn.Module) -> bool:
    """Return whether training and evaluation mode make a difference to this layer itself."""
    if not isinstance(module, _SWITCHED):
        return False
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return bool(module.track_running_stats) or isinstance(module, nn.modules.batchnorm._BatchNorm)
    if isinstance(module, nn.RNNBase):
        return bool(module.dropout > 0 and module.num_layers > 1)
    rate = module.dropout if isinstance(module, nn.MultiheadAttention) else module.p
    return bool(rate > 0)


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is a leaf: no children but parametrizations, or a layer of torch itself."""
    children = [name for name in module._modules if name != "parametrizations"]
    return not children or (
        kind_of(module) in ("attention", "rnn") and type(module).__module__.startswith("torch.nn")
    )


def is_model(module: nn.Module) -> bool:
    """Return whether an outermost call of this module is a forward of a model.

    Loss functions and activations that are called outside of a model are none: nothing in them is trained. Scripted
    modules are opaque: each access makes new Python objects for their parts.
    """
    if isinstance(module, (nn.modules.loss._Loss, torch.jit.ScriptModule)):
        return False
    first = next(module.parameters(), None)
    return first is not None and (is_real(first) or torch.nn.parameter.is_lazy(first))


__all__ = [
    "PARALLEL",
    "Book",
    "Model",
    "Owner",
    "Param",
    "Tie",
    "is_layer",
    "is_model",
    "is_switched",
    "kind_of",
    "unwrap",
    "walk",
]
