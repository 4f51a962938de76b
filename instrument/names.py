"""Stable names of optimizers, models, modules, parameters and buffers.

Optimizers and the like are named at once: class and ordinal, `AdamW#0`. A tensor may be met before the model
that it belongs to is known, so modules, parameters and buffers get a *handle*, a short placeholder string
that probes pass on as if it were the name. `names.bin` collects what becomes known about a handle; the reader
puts the final names in (`resolve`). Rows that were written before the model was known are thereby named as
well.

Records of `names.bin` are JSON lists `[handle, root, path]`: `root` is the handle of the model, "" for a
model itself (then `path` is its name) and None for a name of last resort. The last record wins, but never one
of last resort.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
from typing import TYPE_CHECKING

from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.layout import HANDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    import torch

#: A script that makes models for ever gets one name for all later parts, so that the tables stay small: 80 MB.
MAX_HANDLES = 200_000
#: Objects that hold a place of a model one after the other and are told apart; later ones share a name.
MAX_HOLDERS = 16
#: Wrappers hold one module under this attribute and add no meaning to a path.
WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
    "OffloadWrapper": "_checkpoint_wrapped_module",
}


def unwrap(module: torch.nn.Module) -> torch.nn.Module:
    """Return the model inside DDP, FSDP, DataParallel, `torch.compile` and activation checkpointing."""
    while True:
        attribute = WRAPPERS.get(type(module).__name__)
        inner = module._modules.get(attribute) if attribute else None
        if inner is None:
            return module
        module = inner


def walk(root: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield (path, module) of a tree in the order of `named_modules`, wrappers left out of paths; root first,
    as "".

    A module that is registered twice is yielded under its first path.
    """
    seen: set[int] = set()
    pending = [("", unwrap(root))]
    while pending:
        path, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        children = [(name, child) for name, child in module._modules.items() if child is not None]
        prefix = f"{path}." if path else ""
        pending.extend((prefix + name, unwrap(child)) for name, child in reversed(children))


def class_name(module: torch.nn.Module) -> str:
    """Return the name of a module's class; of the user's own where `fully_shard` put one in front of it."""
    cls, *others = type(module).__mro__
    sharded = cls.__name__.startswith("FSDP") and others[0].__name__ == "FSDPModule"
    return others[1].__name__ if sharded else cls.__name__


def bare_optimizer(optimizer: object) -> object:
    """Return the optimizer behind an object that has no groups of its own (Accelerate wraps all optimizers so)."""
    while isinstance(own := getattr(optimizer, "__dict__", None), dict) and "param_groups" not in own:
        inner = own.get("optimizer")
        if inner is None or not hasattr(inner, "param_groups"):
            break
        optimizer = inner
    return optimizer


class Names:
    """Names of the objects of one process; safe in any thread, holds no object alive.

    Args:
        write: appends one record to `names.bin`.
        on_made: called with the name of every new optimizer, scheduler, … (kind, name).
        on_gone: called likewise when it was freed.
        on_full: called for a part that gets the name of last resort because there are too many.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        on_made: Callable[[str, str], None] = lambda _kind, _name: None,
        on_gone: Callable[[str, str], None] = lambda _kind, _name: None,
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        self._write = write
        self._on_made, self._on_full = on_made, on_full
        self._lock = threading.RLock()
        self._ordinals: dict[str, int] = {}
        self._objects: IdentityMap[tuple[str, str]] = IdentityMap(lambda value: on_gone(*value))
        self._modules: IdentityMap[str] = IdentityMap()
        self._params: IdentityMap[str] = IdentityMap()
        self._buffers: dict[tuple[str, str], str] = {}
        self._roots: IdentityMap[str] = IdentityMap()
        self._root_of: dict[str, str] = {}
        self._records: dict[str, tuple[str | None, str]] = {}
        #: (model, path) -> handles that were found there, with their ordinals.
        self._holders: dict[tuple[str, str], dict[str, int]] = {}
        self._handles = 0
        #: Something appeared that no adopted model accounts for; the next `adopt` looks again.
        self._dirty = True

    # ------------------------------------------------------------------ named at once
    def optimizer(self, optimizer: object) -> str:
        """Return e.g. `AdamW#0`; an object that merely stands in front of an optimizer has the optimizer's name."""
        return self._ordinal("optimizer", bare_optimizer(optimizer))

    def scheduler(self, scheduler: object) -> str:
        """Return e.g. `StepLR#0`."""
        return self._ordinal("scheduler", scheduler)

    def scaler(self, scaler: object) -> str:
        """Return e.g. `GradScaler#0`."""
        return self._ordinal("scaler", scaler)

    def loader(self, loader: object) -> str:
        """Return e.g. `DataLoader#0`."""
        return self._ordinal("loader", loader)

    def wrapper(self, module: torch.nn.Module) -> str:
        """Return a wrapper's own name, e.g. `DistributedDataParallel#0`; `model` names what is inside."""
        return self._ordinal("wrapper", module)

    def _ordinal(self, kind: str, thing: object) -> str:
        known = self._objects.get(thing)
        if known is not None:
            return known[1]
        with self._lock:
            name = type(thing).__name__
            ordinal = self._ordinals.get(f"{kind} {name}", 0)
            self._ordinals[f"{kind} {name}"] = ordinal + 1
            name = f"{name}#{ordinal}"
            try:
                self._objects.put(thing, (kind, name))
            except TypeError:  # no weak references: it is a new object each time that it is met
                pass
        self._on_made(kind, name)
        return name

    # ------------------------------------------------------------------ named by handle
    def model(self, module: torch.nn.Module) -> str:
        """Return the handle of a model, adopting it: finally `Net`, the second of its class `Net#1`.

        A part of an adopted model keeps its name as a part (`Net.encoder`).
        """
        self.adopt(module)
        return self.module(module)

    def module(self, module: torch.nn.Module) -> str:
        """Return the handle of a module: finally `Net.encoder.0`, whatever wraps it."""
        module = unwrap(module)
        handle = self._modules.get(module)
        return handle if handle is not None else self._new(self._modules, module, "m")

    def param(self, tensor: torch.Tensor) -> str:
        """Return a parameter's handle: finally `fc.weight`, or `Net.fc.weight` where paths are ambiguous."""
        handle = self._params.get(tensor)
        if handle is not None:
            return handle
        self._dirty = True
        return self._new(self._params, tensor, "p")

    def owned(self, tensor: torch.Tensor, optimizer: str, group: int, index: int) -> str:
        """Return the handle of an optimizer's parameter; unless a model claims it: `AdamW#0.group0[3]`."""
        handle = self.param(tensor)
        if handle not in self._records:
            self._record(handle, None, f"{optimizer}.group{group}[{index}]")
        return handle

    def buffer(self, module: torch.nn.Module, name: str) -> str:
        """Return the handle of the buffer `name` of a module: finally `bn.running_mean`.

        Buffers are told by their place, as assigning a new tensor to the attribute is common.
        """
        owner = self.module(module)
        handle = self._buffers.get((owner, name))
        if handle is None:
            with self._lock:
                handle = self._buffers.setdefault((owner, name), self._next("b"))
                root, path = self._records.get(owner, ("", ""))
                self._record(handle, *(_join(root, owner, path, name)))
        return handle

    def root(self, module: torch.nn.Module) -> str:
        """Return the handle of the adopted model that a module is part of; its own if there is none."""
        handle = self.module(module)
        return self._root_of.get(handle, handle)

    def is_adopted(self, module: torch.nn.Module) -> bool:
        """Whether a module is an adopted model or part of one."""
        handle = self._modules.get(unwrap(module))
        return handle is not None and handle in self._root_of

    def models(self) -> list[torch.nn.Module]:
        """Return the adopted models that still exist, oldest first, without those inside another."""
        return [root for root, handle in self._roots.live() if self._root_of.get(handle) == handle]

    def touch(self) -> None:
        """Say that a module tree may have changed: the next `adopt` looks again."""
        self._dirty = True

    def adopt(self, model: torch.nn.Module) -> bool:
        """Name all submodules and parameters of a model by their paths; True if anything new was named.

        Cheap (0.2 µs) for a known model as long as no unknown parameter was met and `touch` was not called.
        """
        model = unwrap(model)
        handle = self._modules.get(model)
        if not self._dirty and handle is not None and handle in self._root_of:
            return False
        with self._lock:
            before = len(self._records), self._handles
            handle = self.module(model)
            if handle not in self._root_of:
                self._adopt_root(model, handle)
            for root, known in self._roots.live():
                if self._root_of.get(known) == known:
                    self._name_tree(root, known)
            self._dirty = False
            return before != (len(self._records), self._handles)

    def _adopt_root(self, model: torch.nn.Module, handle: str) -> None:
        kind = class_name(model)
        ordinal = self._ordinals.get(f"model {kind}", 0)
        self._ordinals[f"model {kind}"] = ordinal + 1
        self._root_of[handle] = handle
        self._roots.put(model, handle)
        self._record(handle, "", f"{kind}#{ordinal}" if ordinal else kind)

    def _name_tree(self, root: torch.nn.Module, handle: str) -> None:
        """Name what is in a tree; parts of another model keep their names unless it is inside this one."""
        modules = [(path, module, self.module(module)) for path, module in walk(root)]
        inside = {child for _, _, child in modules}
        shown: dict[str, str] = {}
        for path, module, child in modules:
            parent, _, attribute = path.rpartition(".")
            own = f"{shown[parent]}.{attribute}" if parent else attribute
            if path and self._root_of.get(child, child) in inside:
                own = self._placed(handle, own, child, inside)
                self._root_of[child] = handle
                self._record(child, handle, own)
            shown[path] = own
            prefix = f"{own}." if own else ""
            for name, tensor in module._parameters.items():
                if tensor is not None:
                    self._name_param(tensor, handle, prefix + name, inside)
            for name in module._buffers.keys():  # noqa: SIM118  (a scripted module iterates by index)
                self._record(self.buffer(module, name), handle, prefix + name, inside)

    def _name_param(self, tensor: torch.Tensor, root: str, path: str, inside: set[str]) -> None:
        param = self._params.get(tensor)
        if param is None:
            param = self._new(self._params, tensor, "p")
        if self._records.get(param, ("", ""))[0] != root:  # a tied parameter has its first path
            # what stands in for a parameter during a functional call goes by its name
            own = self._placed(root, path, param) if isinstance(tensor, _parameter_class()) else path
            self._record(param, root, own, inside)

    def _placed(self, root: str, path: str, handle: str, inside: Container[str] = ()) -> str:
        """Return the path of what is found at a place; `head#1` for the second that is, when the first is gone.

        One that is elsewhere in the model by now (`inside`) has left the place's name to its successor.
        """
        holders = self._holders.setdefault((root, path), {})
        if handle not in holders:
            holders[handle] = sum(other not in inside for other in list(holders)[:MAX_HOLDERS])
        return f"{path}#{holders[handle]}" if holders[handle] else path

    # ------------------------------------------------------------------ records
    def rewrite(self) -> None:
        """Write all records again: a forked child has a segment of its own."""
        for handle, (root, path) in list(self._records.items()):
            self._write(_encode(handle, root, path))

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.RLock()

    def _new(self, table: IdentityMap[str], thing: object, kind: str) -> str:
        with self._lock:
            known = table.get(thing)
            if known is None:
                known = self._next(kind)
                table.put(thing, known)
            return known

    def _next(self, kind: str) -> str:
        if self._handles >= MAX_HANDLES:
            self._on_full()
            return f"{HANDLE}{kind}0"
        self._handles += 1
        return f"{HANDLE}{kind}{self._handles}"

    def _record(self, handle: str, root: str | None, path: str, inside: set[str] | None = None) -> None:
        """Note what a handle stands for; with `inside`, only if its model so far is part of the new one."""
        known = self._records.get(handle)
        if known == (root, path):
            return
        if inside is not None and known is not None and known[0] and known[0] not in inside:
            return
        self._records[handle] = (root, path)
        self._write(_encode(handle, root, path))


def _parameter_class() -> type:
    """Return `torch.nn.Parameter`; this module is imported before torch."""
    cls: type = sys.modules["torch"].nn.Parameter
    return cls


def _join(root: str | None, owner: str, path: str, name: str) -> tuple[str, str]:
    """Place a buffer relative to its model; relative to its owner as long as no model is known."""
    return (root, f"{path}.{name}") if root else (owner, name)


def _encode(handle: str, root: str | None, path: str) -> bytes:
    data = json.dumps([handle, root, path]).encode()
    return struct.pack("<I", len(data)) + data


def resolve(records: dict[str, tuple[str | None, str]], ambiguous: frozenset[str]) -> dict[str, str]:
    """Return handle -> final name.

    Args:
        records: handle -> (root, path) of one process, the last record of each.
        ambiguous: paths that exist in several models of the run; the same for all ranks.
    """

    def model(handle: str, depth: int = 0) -> str:
        root, path = records.get(handle, (None, "module" + handle[2:]))
        return path if not root or depth > 8 else f"{model(root, depth + 1)}.{path}"

    final = {}
    for handle, (root, path) in records.items():
        bare = not root or (handle[1:2] != "m" and path not in ambiguous)
        final[handle] = path if bare else f"{model(root or '')}.{path}"
    return final


def ambiguous_paths(processes: list[dict[str, tuple[str | None, str]]]) -> frozenset[str]:
    """Return the paths of parameters and buffers that belong to more than one model of the run."""
    owners: dict[str, set[str]] = {}
    for records in processes:
        final = resolve(records, frozenset())
        for handle, (root, path) in records.items():
            if root and handle[1:2] != "m":
                owners.setdefault(path, set()).add(final.get(root, root))
    return frozenset(path for path, models in owners.items() if len(models) > 1)


__all__ = ["Names", "ambiguous_paths", "class_name", "resolve", "unwrap", "walk"]
