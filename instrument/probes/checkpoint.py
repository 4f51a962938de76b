"""Saving and loading of states."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.privacy import shown_path
from tcrules.instrument.probes.contents import MAX_ITEMS, MAX_TENSORS, Content, bare, few, inspect, state_of
from tcrules.instrument.probes.context import context, dtype_name
from tcrules.instrument.probes.models import is_model, unwrap
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.values import sample_print
from torch import nn, serialization
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tcrules.instrument.probes.deferred import Ask
    from tcrules.instrument.probes.models import Model
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.probes.slots import Slots
    from tcrules.instrument.session import Frame

V = TypeVar("V")
RELATIONS = (
    *("checkpoint_saved", "checkpoint_loaded", "model_loaded", "optimizer_loaded"),
    *("checkpoint_model", "checkpoint_tensor", "checkpoint_key"),
)
#: Remembered saves and loads; keys of one state that are written because they do not fit.
MAX_SAVES, MAX_LOADS, MAX_KEYS = 256, 8, 64
WHY_MANY = f"of more than {MAX_TENSORS} tensors of a state evenly spaced ones are looked at"
WHY_KEYS = f"more than {MAX_KEYS} keys of a state are missing or unexpected"


class Checkpoints:
    """Writes facts of states that are saved and loaded, and which load a state came from."""

    def __init__(self, shared: Shared, slots: Slots | None) -> None:
        self.shared, self.slots = shared, slots
        self.book = shared.book
        self._paths: dict[str, None] = {}
        self._marks: dict[int, None] = {}
        self._buffers: IdentityMap[bool] = IdentityMap()
        self._origin: IdentityMap[int] = IdentityMap()
        #: Loads whose parameter groups are remembered; they hold no tensors.
        self._groups: list[tuple[list[Any], int]] = []
        session = shared.session
        self._put_saved, self._put_loaded = session.put("checkpoint_saved"), session.put("checkpoint_loaded")
        self._put_model, self._put_optimizer = session.put("model_loaded"), session.put("optimizer_loaded")
        self._put_part, self._put_key = session.put("checkpoint_model"), session.put("checkpoint_key")
        self._put_tensor = session.put("checkpoint_tensor")

    # ------------------------------------------------------------------ files
    def enter_save(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], given: str = "obj", file: str = "f"
    ) -> tuple[str, Any]:
        """`torch.save` begins, or a function with other names of its parameters."""
        target = argument(args, kwargs, 1, file)
        return shown_path(target), (target, inspect(argument(args, kwargs, 0, given)))

    def leave_save(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """It returned."""
        target, content = token
        if raised:
            return
        file = _file(target)
        if file:
            self._paths[file] = None
        else:
            _try_put(self._buffers, target)
        ask = self._ask()
        self._then(ask, self._remember, content.shapes(), self._prints(ask, content.marked()))
        _cut(self._paths)
        names: dict[int, str] = {}
        for state in content.models:
            names |= self._model_saved(frame.call, state)
        self._put_saved(
            *(frame.call, frame.object, frame.step, frame.begin),
            *(content.model, content.optimizer, len(content.tensors)),
            *(content.names(), content.scheduler, content.scaler, content.rng, content.position),
        )
        self._tensors(frame.call, "saved", content, names)

    # ------------------------------------------------------------------ values, there or on their way
    def _ask(self) -> Ask | None:
        return None if self.shared.late is None else self.shared.late.ask()

    def _prints(self, ask: Ask | None, tensors: Iterable[torch.Tensor]) -> list[Any]:
        """Return the fingerprints of tensors, or the answers that they will be."""
        read = sample_print if ask is None else ask.sample
        return [read(tensor) for tensor in tensors]

    def _then(self, ask: Ask | None, write: Callable[..., None], *args: Any) -> None:
        if ask is None:
            write(*args)
        else:
            ask.then("checkpoint", write, *args)

    def _remember(self, shapes: list[int], prints: list[int | None]) -> None:
        """Remember what was saved, to tell it when it is read."""
        self._marks[_mark(shapes, prints)] = None
        _cut(self._marks)

    # ------------------------------------------------------------------ what is in a state
    def _model_saved(self, call: int, state: dict[str, Any]) -> dict[int, str]:
        """Write how much of which model a state holds; returns the names of its tensors, by id."""
        state, best, found = bare(state), (0, 0), None
        for model, record in self.book.models.live():
            held = state_of(model)
            common = held.keys() & state.keys()
            shared = sum(_pointer(held[key]) == _pointer(state[key]) for key in common)
            if (len(common), shared) > best and 2 * len(common) >= len(state):
                best, found = (len(common), shared), (record, held)
        if found is None:
            return {}
        record, held = found
        missing, unexpected = held.keys() - state.keys(), state.keys() - held.keys()
        self._put_part(call, record.name, len(state), len(missing), len(unexpected), best[1])
        self._keys(call, record.name, missing, unexpected)
        names = self._names(record, held)
        return {id(state[key]): names[key] for key in held.keys() & state.keys()}

    def _names(self, record: Model, held: dict[str, torch.Tensor]) -> dict[str, str]:
        """Return what the tensors of a model's state are called in facts."""
        owners = ((module(), name, handle) for module, name, handle in record.buffers)
        buffers = {id(o._buffers.get(name)): handle for o, name, handle in owners if o is not None}
        known = ((key, self.book.known(tensor), tensor) for key, tensor in held.items())
        return {key: p.name if p is not None else buffers.get(id(tensor), "") for key, p, tensor in known}

    def _keys(self, call: int, module: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
        for kind, keys in (("missing", missing), ("unexpected", unexpected)):
            found = sorted(keys)
            if len(found) > MAX_KEYS:
                self.shared.session.gap("checkpoint_key", WHY_KEYS)
            for key in found[:MAX_KEYS]:
                self._put_key(call, module, key, kind)

    def _few(self, items: Sequence[V]) -> Sequence[V]:
        chosen = few(items)
        if len(chosen) < len(items):
            self.shared.session.gap("checkpoint_tensor", WHY_MANY)
        return chosen

    def _tensors(self, call: int, point: str, content: Content, names: dict[int, str]) -> None:
        pairs = list(zip(content.keys, content.tensors, strict=True))
        self._each(
            call, [(point, key, names.get(id(tensor), ""), tensor) for key, tensor in self._few(pairs)]
        )

    def _both(self, call: int, pairs: Sequence[tuple[str, str, torch.Tensor, torch.Tensor]]) -> None:
        """Write what a state gave for a tensor and what it holds now."""
        each = (
            (("given", key, name, given), ("held", key, name, held))
            for key, name, given, held in self._few(pairs)
        )
        self._each(call, [item for two in each for item in two])

    def _each(self, call: int, tensors: Sequence[tuple[str, str, str, torch.Tensor]]) -> None:
        ask = self._ask()
        rows = [
            (point, key, name, dtype_name[tensor.dtype], tensor.numel())
            for point, key, name, tensor in tensors
        ]
        prints = self._prints(ask, [tensor for *_, tensor in tensors])
        self._then(ask, self._write_tensors, call, self.shared.clock.step, rows, prints)

    def _write_tensors(
        self,
        call: int,
        step: int,
        rows: Sequence[tuple[str, str, str, str, int]],
        prints: Sequence[int | None],
    ) -> None:
        for row, data in zip(rows, prints, strict=True):
            if data is None:
                self.shared.unread("checkpoint_tensor", step)
            else:
                self._put_tensor(call, *row, data)

    def enter_load(self, args: tuple[Any, ...], kwargs: dict[str, Any], file: str = "f") -> tuple[str, Any]:
        """`torch.load` begins, or a function with another name of its parameter."""
        source = argument(args, kwargs, 0, file)
        return shown_path(source), source

    def leave_load(self, frame: Frame, source: Any, result: Any, raised: bool) -> None:
        """It returned an object."""
        if raised:
            return
        content = inspect(result)
        for tensor in content.tensors:
            self._origin.put(tensor, frame.call)
        self._groups = [*self._groups[1 - MAX_LOADS :], *((groups, frame.call) for groups in content.groups)]
        file = _file(source)
        here = file in self._paths if file else self._buffers.get(source) is True
        self.book.loaded = self.book.loaded or content.model
        about = frame.call, frame.object, frame.step, frame.begin, content.model, content.optimizer
        more = content.names(), content.scheduler, content.scaler, content.rng, content.position
        ask = self._ask()
        prints = self._prints(ask, [] if here else content.marked())
        self._then(ask, self._write_loaded, about, here, content.shapes(), prints, more)
        self._tensors(frame.call, "read", content, {})

    def _write_loaded(
        self,
        about: tuple[Any, ...],
        here: bool,
        shapes: list[int],
        prints: list[int | None],
        more: tuple[Any, ...],
    ) -> None:
        here = here or (bool(prints) and _mark(shapes, prints) in self._marks)
        self._put_loaded(*about, here, *more)

    # ------------------------------------------------------------------ states
    def enter_model(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`Module.load_state_dict` begins."""
        module, state = args[0], argument(args, kwargs, 1, "state_dict")
        if not isinstance(state, dict) or not is_model(module):
            return None
        wanted = module.state_dict().keys() if len(state) < MAX_ITEMS else state.keys()
        origin = next((call for value in state.values() if (call := self._call(value))), 0)
        strict = bool(argument(args, kwargs, 2, "strict", True))
        held, given = state_of(module), _named(state)
        own = sum(_pointer(held[key]) == _pointer(given[key]) for key in held.keys() & given.keys())
        misfits = wanted - state.keys(), state.keys() - wanted
        return self.shared.names.module(module), (module, dict(state), origin, misfits, strict, own)

    def leave_model(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """It returned: whatever this model holds may be trained."""
        module, state, origin, (missing, unexpected), strict, own = token
        for tensor in module.parameters():
            self.book.param(tensor).trained = True
        if self.book.top(module) is not unwrap(module):
            return
        self._keys(frame.call, frame.object, missing, unexpected)
        if raised:
            return
        self._put_model(
            *(frame.call, frame.object, frame.step, frame.begin, origin),
            *(len(state), len(missing), len(unexpected), strict),
        )
        self._put_part(frame.call, frame.object, len(state), len(missing), len(unexpected), own)
        held, given = state_of(module), _named(state)
        record = self.book.models.get(unwrap(module))
        names = self._names(record, held) if record is not None else {}
        pairs = ((key, names.get(key) or self._name(held[key]), given.get(key), held[key]) for key in held)
        self._both(frame.call, [pair for pair in pairs if isinstance(pair[2], torch.Tensor)])

    def _name(self, tensor: torch.Tensor) -> str:
        param = self.book.known(tensor)
        return param.name if param is not None else ""

    def enter_optimizer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`Optimizer.load_state_dict` begins."""
        state = argument(args, kwargs, 1, "state_dict")
        if not isinstance(state, dict) or context.steps:
            return None
        origin = next((call for groups, call in self._groups if groups is state.get("param_groups")), 0)
        if not origin:
            origin = next((call for tensor in inspect(state).tensors if (call := self._call(tensor))), 0)
        return self.shared.names.optimizer(args[0]), (args[0], state, origin)

    def leave_optimizer(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """It returned."""
        optimizer, state, origin = token
        if not raised:
            self._put_optimizer(frame.call, frame.object, frame.step, frame.begin, origin)
            self._both(frame.call, list(self._slots(optimizer, state)))
            if self.slots is not None:
                self.slots.loaded(frame.object)

    def _slots(
        self, optimizer: Any, state: dict[str, Any]
    ) -> Iterator[tuple[str, str, torch.Tensor, torch.Tensor]]:
        """Yield (key, parameter, given, held) of the tensors in the state of an optimizer."""
        numbers = [number for group in state["param_groups"] for number in group["params"]]
        tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        for number, tensor in zip(numbers, tensors, strict=False):
            given, held = state["state"].get(number), optimizer.state.get(tensor)
            if not isinstance(given, dict) or not isinstance(held, dict):
                continue
            for kind in given.keys() & held.keys():
                if isinstance(given[kind], torch.Tensor) and isinstance(held[kind], torch.Tensor):
                    yield f"state.{number}.{kind}", self._name(tensor), given[kind], held[kind]

    def _call(self, value: Any) -> int:
        return (self._origin.get(value) or 0) if isinstance(value, torch.Tensor) else 0


def _named(state: dict[Any, Any]) -> dict[str, Any]:
    """Return the entries of a model's state that have a name, as the model has it."""
    return bare({key: value for key, value in state.items() if isinstance(key, str)})


def _mark(shapes: Sequence[int], prints: Sequence[int | None]) -> int:
    """Return what a saved object is told by: fingerprints of a few of its tensors, and their sizes."""
    return combine([*(data for data in prints if data is not None), *shapes])


def _cut(table: dict[Any, None]) -> None:
    while len(table) > MAX_SAVES:
        table.pop(next(iter(table)))


def _pointer(value: Any) -> int:
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_meta:
        return 0
    return value.data_ptr() or id(value)


def _file(target: Any) -> str:
    """Return the real path of a file, "" for a buffer."""
    if not isinstance(target, (str, os.PathLike)):
        target = getattr(target, "name", "")
    return (
        os.path.realpath(os.fsdecode(target))
        if target and isinstance(target, (str, bytes, os.PathLike))
        else ""
    )


def _try_put(table: IdentityMap[bool], thing: object) -> None:
    try:
        table.put(thing, True)
    except TypeError:
        pass  # an object of an extension type: told by its content


def install(shared: Shared, slots: Slots | None) -> None:
    """Patch saving and loading."""
    found = Checkpoints(shared, slots)
    targets: tuple[tuple[Any, str, str, Any, Any], ...] = (
        (serialization, "save", "torch.save", found.enter_save, found.leave_save),
        (serialization, "load", "torch.load", found.enter_load, found.leave_load),
        (
            nn.Module,
            "load_state_dict",
            "torch.nn.Module.load_state_dict",
            found.enter_model,
            found.leave_model,
        ),
        (
            Optimizer,
            "load_state_dict",
            "torch.optim.Optimizer.load_state_dict",
            found.enter_optimizer,
            found.leave_optimizer,
        ),
    )
    for owner, name, api, enter, leave in targets:
        shared.watch("checkpoint", owner, name, api, enter, leave, always=True)
    save = functools.partial(found.enter_save, given="tensors", file="filename")
    load = functools.partial(found.enter_load, file="filename")

    def safetensors(module: Any) -> None:
        for name, enter, leave in (
            ("save_file", save, found.leave_save),
            ("load_file", load, found.leave_load),
        ):
            api = f"safetensors.torch.{name}"
            shared.watch("checkpoint", module, name, api, enter, leave, always=True)

    shared.patches.when_imported("safetensors.torch", safetensors)
    shared.patches.replace(torch, "save", serialization.save)
    shared.patches.replace(torch, "load", serialization.load)
