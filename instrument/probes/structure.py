"""Models and what they are made of: modules, parameters, buffers, wrappers, trainability."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.names import class_name
from tcrules.instrument.probes.compiling import RUNNING, opaque
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.models import (
    Model,
    is_layer,
    is_model,
    is_switched,
    kind_of,
    walk,
)
from tcrules.instrument.probes.values import turns
from torch.nn.modules import module as torch_module

if TYPE_CHECKING:
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.shared import Shared
    from torch import nn

RELATIONS = ("module", "parameter", "trainability", "buffer", "replicated", "sharded", "wrapper")
WHY_UNSEEN = "a model computes without being called: by its `forward`, or from compiled or transformed code"
_TENSOR_PARALLEL = ("tensor_model_parallel", "model_parallel")


class Structure:
    """Describes models when they are first met and when their tree changed."""

    def __init__(self, shared: Shared) -> None:
        session = shared.session
        self.shared = shared
        self.book = shared.book
        self.names = shared.names
        self._put_module, self._put_param = session.put("module"), session.put("parameter")
        self._put_buffer, self._put_trainability = session.put("buffer"), session.put("trainability")
        self._put_replicated, self._put_wrapper = session.put("replicated"), session.put("wrapper")
        self._put_sharded = session.put("sharded")

    # ------------------------------------------------------------------ registration
    def on_parameter(self, module: nn.Module, name: str, tensor: Any) -> None:
        """A parameter is about to be registered."""
        if torch.compiler.is_compiling() or not isinstance(tensor, torch.Tensor):
            return
        param = self.book.param(tensor)
        if param.place is None:
            param.created = self.shared.tick()
            param.place = weakref.ref(module), name
        self._moved(module)

    def on_module(self, module: nn.Module, _name: str, child: nn.Module | None) -> None:
        """A module is about to be registered with another one."""
        if child is not None and not torch.compiler.is_compiling():
            self.book.parents.put(child, weakref.ref(module))
            self._moved(module)

    def on_buffer(self, module: nn.Module, name: str, _tensor: Any) -> None:
        """A buffer is about to be registered; assigning to an existing one is no change of structure."""
        if name not in module._buffers and not torch.compiler.is_compiling():
            self._moved(module)

    def _moved(self, module: nn.Module) -> None:
        # only known models matter: modules under construction register hundreds of parameters
        if self.names.is_adopted(module):
            self.book.stamp += 1

    # ------------------------------------------------------------------ description
    def model(self, module: nn.Module, is_root: bool = False) -> Model:
        """Return the record of a model (not of its wrapper), described as it is now; 0.2 µs when nothing changed.

        Args:
            is_root: it is a model of its own, though an object around it (`AveragedModel`) contains it.
        """
        record = self.book.models.get(module)
        if record is None:
            record = Model(self.names.model(module), class_name(module))
            record.root = record.name if is_root else ""
            self.book.models.put(module, record)
        if record.stamp != self.book.stamp:
            self.refresh(module, record)
        return record

    def refresh(self, module: nn.Module, record: Model) -> None:
        """Walk the tree of a model again and write what is new."""
        top = self.book.top(module)
        self.names.touch()
        self.names.adopt(top)
        record.root = record.root or self.names.root(module)
        record.name = self.names.module(module)
        tree = list(walk(module))
        for _, sub in tree:
            for child in sub._modules.values():
                # modules that were copied or unpickled were never registered
                if child is not None and self.book.parents.get(child) is None:
                    self.book.parents.put(child, weakref.ref(sub))
        record.switches = [weakref.ref(sub) for _, sub in tree if is_switched(sub)]
        record.layers = {
            id(sub): (self.names.module(sub), class_name(sub)) for _, sub in tree if is_layer(sub)
        }
        if any(isinstance(sub, torch.jit.ScriptModule) for _, sub in tree):
            opaque(self.shared, inside=True)
        self._modules(record, tree)
        self._buffers(record, tree)
        if self._params(record, tree, top):
            record.stamp = self.book.stamp
        self._wrappers(module, record)

    def _modules(self, record: Model, tree: list[tuple[str, nn.Module]]) -> None:
        for _, sub in tree:
            handle = self.names.module(sub)
            if handle not in self.book.described:
                self.book.described.add(handle)
                self._put_module(handle, class_name(sub), record.root, kind_of(sub))

    def _buffers(self, record: Model, tree: list[tuple[str, nn.Module]]) -> None:
        record.buffers = []
        for _, sub in tree:
            for name, tensor in sub._buffers.items():
                if tensor is None:
                    continue
                handle = self.names.buffer(sub, name)
                record.buffers.append((weakref.ref(sub), name, handle))
                if handle not in self.book.described:
                    self.book.described.add(handle)
                    self._put_buffer(handle, record.root, self.names.module(sub), class_name(sub))

    def _params(self, record: Model, tree: list[tuple[str, nn.Module]], top: nn.Module) -> bool:
        """Describe new parameters; False if some are not initialised yet (lazy modules)."""
        slots = [(sub, name, p) for _, sub in tree for name, p in sub._parameters.items() if p is not None]
        ready = [slot for slot in slots if not torch.nn.parameter.is_lazy(slot[2])]
        record.slots = [(weakref.ref(sub), name, weakref.ref(p)) for sub, name, p in ready]
        owners = Counter(id(p) for sub in top.modules() for p in sub._parameters.values() if p is not None)
        known: dict[int, Param] = {}
        fresh = []
        for sub, _, tensor in ready:
            if id(tensor) not in known:
                param = known[id(tensor)] = self.book.param(tensor)
                if param.name not in self.book.described:
                    fresh.append((sub, tensor, param))
        flags = {id(param): flag for param, flag in zip(record.params, record.flags, strict=False)}
        record.params = list(known.values())
        record.flags = [flags.get(id(param), tensor_flag(param)) for param in record.params]
        record.frozen = record.flags.count(False)
        record.turns = turns([2 * param.size for param in record.params], self.shared.budget(record.params))
        for sub, tensor, param in fresh:
            self._describe(record, sub, tensor, param, owners[id(tensor)])
        if fresh:
            self._tensor_parallel(record)
        return len(ready) == len(slots)

    def _describe(
        self, record: Model, owner: nn.Module, tensor: torch.Tensor, param: Param, owners: int
    ) -> None:
        self.book.described.add(param.name)
        about = (
            *(param.name, record.root, self.names.module(owner), class_name(owner), dtype_name[tensor.dtype]),
            *(tensor.numel(), tensor.requires_grad, param.created, owners, is_split(tensor)),
        )
        if self.shared.late is None:
            self._write_param(param, about, self.book.loaded)
        else:  # whether it was trained before is known when all updates are
            self.shared.late.after("structure", self._write_param, param, about, self.book.loaded)
        if (layout := layout_of(tensor)) is not None:
            self._put_sharded(param.name, *layout)
        self._put_trainability(param.name, self.shared.clock.step, self.shared.tick(), tensor.requires_grad)

    def _write_param(self, param: Param, about: tuple[Any, ...], loaded: bool) -> None:
        self._put_param(*about, param.trained or loaded)

    def unseen(self, param: Param) -> None:
        """Describe the model of a parameter that got a gradient although no call of its model was seen."""
        module, tensor = param.place[0]() if param.place is not None else None, param.tensor()
        if module is None or tensor is None or param.place is None:
            return
        top = self.book.top(module)
        if module._parameters.get(param.place[1]) is not tensor or not is_model(top):
            return
        ran = [sub is top for _, sub in walk(top) if self.book.models.get(sub) is not None]
        self.model(top)
        if not any(ran):  # else its layers were not initialised when it ran, or parts of it ran
            for relation in ("param_state", "trainability") if ran else RUNNING:
                self.shared.session.gap(relation, WHY_UNSEEN)

    # ------------------------------------------------------------------ changes
    def trainability(self, record: Model) -> None:
        """Write requires_grad of the parameters that changed it; 0.1 µs per parameter."""
        flags = [tensor_flag(param) for param in record.params]
        if flags == record.flags:
            return
        step, at = self.shared.clock.step, self.shared.tick()
        for param, before, after in zip(record.params, record.flags, flags, strict=True):
            if before != after:
                self._put_trainability(param.name, step, at, after)
        record.flags, record.frozen = flags, flags.count(False)

    def replaced(self, record: Model) -> bool:
        """Return whether a parameter was replaced past the registration hooks, as `Module.to` may do."""
        for module, name, tensor in record.slots:
            owner = module()
            if owner is None or owner._parameters.get(name) is not tensor():
                return True
        return False

    # ------------------------------------------------------------------ several processes
    def _wrappers(self, module: nn.Module, record: Model) -> None:
        wrapper = self.book.wrapper(module)
        if wrapper is None:
            return
        name = self.names.wrapper(wrapper)
        if name in self.book.described:
            return
        self.book.described.add(name)
        kind = type(wrapper).__name__
        self._put_wrapper(name, record.name, kind, bool(getattr(wrapper, "broadcast_buffers", False)))
        if kind == "DistributedDataParallel":
            self._replicated(module, record, set(getattr(wrapper, "parameters_to_ignore", ())))

    def _replicated(self, module: nn.Module, record: Model, ignored: set[str]) -> None:
        named = list(module.named_parameters())
        for path, tensor in named:
            if path not in ignored:
                self._put_replicated(self.book.param(tensor).name, "ddp")
        paths = {id(sub): path for path, sub in module.named_modules()}
        for owner, name, handle in record.buffers:
            sub = owner()
            path = f"{paths.get(id(sub), '')}.{name}".lstrip(".")
            if sub is not None and path not in ignored:
                self._put_replicated(handle, "ddp")

    def _tensor_parallel(self, record: Model) -> None:
        """Whatever is not split among tensor-parallel ranks is replicated on them."""
        live = record.live()
        if not self.shared.distributed() or not any(is_split(tensor) for tensor, _ in live):
            return
        for tensor, param in live:
            key = f"tensor_parallel {param.name}"
            if not is_split(tensor) and key not in self.book.described:
                self.book.described.add(key)
                self._put_replicated(param.name, "tensor_parallel")


def tensor_flag(param: Param) -> bool:
    """Return requires_grad of a parameter."""
    tensor = param.tensor()
    return tensor is not None and tensor.requires_grad


def is_split(tensor: torch.Tensor) -> bool:
    """Return whether a parameter is a tensor-parallel shard, by Megatron's attributes or a DTensor's mesh."""
    if any(getattr(tensor, name, False) is True for name in _TENSOR_PARALLEL):
        return True
    placements = getattr(tensor, "placements", None)
    if placements is None:
        return False
    names = getattr(tensor.device_mesh, "mesh_dim_names", None) or ()
    pairs = zip(names, placements, strict=False)
    return any(
        ("tp" in name or "tensor" in name) and "Shard" in type(place).__name__ for name, place in pairs
    )


def layout_of(tensor: torch.Tensor) -> tuple[str, str, int] | None:
    """Return (placements, sizes of the mesh, elements held here) of a DTensor that ranks hold parts of."""
    placements, held = getattr(tensor, "placements", ()), getattr(tensor, "_local_tensor", None)
    if held is None or not any("Shard" in type(place).__name__ for place in placements):
        return None
    names = tensor.device_mesh.mesh_dim_names or [""] * len(placements)
    places = [
        f"{name}:{_place(place)}" if name else _place(place)
        for name, place in zip(names, placements, strict=True)
    ]
    return ",".join(places), "x".join(map(str, tensor.device_mesh.shape)), held.numel()


def _place(place: Any) -> str:
    dim = getattr(place, "dim", None)
    return type(place).__name__.lstrip("_") + (f"({dim})" if isinstance(dim, int) else "")


def install(shared: Shared) -> Structure:
    """Register the global registration hooks."""
    structure = Structure(shared)
    guard = shared.guard("structure")
    hooks = (
        (torch_module.register_module_parameter_registration_hook, structure.on_parameter),
        (torch_module.register_module_module_registration_hook, structure.on_module),
        (torch_module.register_module_buffer_registration_hook, structure.on_buffer),
    )
    for register, callback in hooks:
        shared.patches.on_undo(register(guard(callback)).remove)
    return structure
