"""Saving and loading of states."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.privacy import shown_path
from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.models import is_model, unwrap
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.values import sample_print
from torch import nn, serialization
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("checkpoint_saved", "checkpoint_loaded", "model_loaded", "optimizer_loaded")
#: Containers of a state that are looked at, and how deep they are nested.
MAX_ITEMS, MAX_DEPTH = 100_000, 8
#: Tensors whose fingerprints tell a state; remembered saves; remembered loads.
MARK_TENSORS, MAX_SAVES, MAX_LOADS = 4, 256, 8


@dataclass(slots=True)
class Content:
    """What a saved or loaded object holds."""

    model: bool
    optimizer: bool
    tensors: list[torch.Tensor]
    #: Parameter groups of the optimizers: they tell where a state without tensors (SGD) came from.
    groups: list[list[Any]]

    def mark(self) -> int:
        """Return a fingerprint of a few of the tensors and of the shapes of all."""
        prints = [
            print_ for tensor in self.tensors[:MARK_TENSORS] if (print_ := sample_print(tensor)) is not None
        ]
        return combine([*prints, len(self.tensors), *(tensor.numel() for tensor in self.tensors[:1000])])


def inspect(value: Any) -> Content:
    """Look through an object for states of models and optimizers; opaque objects are not opened."""
    content = Content(False, False, [], [])
    pending = [(value, 0)]
    for _ in range(MAX_ITEMS):
        if not pending:
            break
        item, depth = pending.pop()
        if isinstance(item, torch.Tensor):
            content.tensors.append(item)
        elif isinstance(item, nn.Module):
            content.model = True
            content.tensors += [*item.parameters(), *item.buffers()]
        elif isinstance(item, Optimizer):
            content.optimizer = True
        elif isinstance(item, dict):
            content.model = content.model or _is_model_state(item)
            if isinstance(item.get("param_groups"), list) and "state" in item:
                content.optimizer = True
                content.groups.append(item["param_groups"])
            if depth < MAX_DEPTH:
                pending += [(part, depth + 1) for part in reversed(list(item.values()))]
        elif isinstance(item, (list, tuple)) and depth < MAX_DEPTH and len(item) < MAX_ITEMS:
            pending += [(part, depth + 1) for part in reversed(item)]
    return content


def _is_model_state(state: Mapping[Any, Any]) -> bool:
    """Return whether a dict looks like `Module.state_dict()`: names of attributes to tensors."""
    if hasattr(state, "_metadata"):
        return any(isinstance(value, torch.Tensor) for value in state.values())
    tensors = [key for key, value in state.items() if isinstance(value, torch.Tensor)]
    return len(tensors) * 2 > len(state) and any(isinstance(key, str) and "." in key for key in tensors)


class Checkpoints:
    """Writes facts of states that are saved and loaded, and which load a state came from."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
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

    # ------------------------------------------------------------------ files
    def enter_save(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
        """`torch.save` begins."""
        target = argument(args, kwargs, 1, "f")
        return shown_path(target), (target, inspect(argument(args, kwargs, 0, "obj")))

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
        self._marks[content.mark()] = None
        for table in (self._paths, self._marks):
            while len(table) > MAX_SAVES:
                table.pop(next(iter(table)))  # type: ignore[call-overload]
        self._put_saved(
            frame.call,
            frame.object,
            frame.step,
            frame.begin,
            content.model,
            content.optimizer,
            len(content.tensors),
        )

    def enter_load(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
        """`torch.load` begins."""
        source = argument(args, kwargs, 0, "f")
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
        self._put_loaded(
            frame.call,
            frame.object,
            frame.step,
            frame.begin,
            content.model,
            content.optimizer,
            here or (bool(content.tensors) and content.mark() in self._marks),
        )

    # ------------------------------------------------------------------ states
    def enter_model(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`Module.load_state_dict` begins."""
        module, state = args[0], argument(args, kwargs, 1, "state_dict")
        if not isinstance(state, dict) or not is_model(module):
            return None
        wanted = module.state_dict().keys() if len(state) < MAX_ITEMS else state.keys()
        missing, unexpected = len(wanted - state.keys()), len(state.keys() - wanted)
        origin = next((call for value in state.values() if (call := self._call(value))), 0)
        return self.shared.names.module(module), (module, origin, len(state), missing, unexpected)

    def leave_model(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """It returned: whatever this model holds may be trained."""
        module, origin, keys, missing, unexpected = token
        for tensor in module.parameters():
            self.book.param(tensor).trained = True
        if not raised and self.book.top(module) is unwrap(module):
            self._put_model(
                frame.call, frame.object, frame.step, frame.begin, origin, keys, missing, unexpected
            )

    def enter_optimizer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`Optimizer.load_state_dict` begins."""
        state = argument(args, kwargs, 1, "state_dict")
        if not isinstance(state, dict) or context.steps:
            return None
        origin = next((call for groups, call in self._groups if groups is state.get("param_groups")), 0)
        if not origin:
            origin = next((call for tensor in inspect(state).tensors if (call := self._call(tensor))), 0)
        return self.shared.names.optimizer(args[0]), origin

    def leave_optimizer(self, frame: Frame, origin: Any, _result: Any, raised: bool) -> None:
        """It returned."""
        if not raised:
            self._put_optimizer(frame.call, frame.object, frame.step, frame.begin, origin)

    def _call(self, value: Any) -> int:
        return (self._origin.get(value) or 0) if isinstance(value, torch.Tensor) else 0


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


def install(shared: Shared) -> None:
    """Patch saving and loading."""
    found = Checkpoints(shared)
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
        shared.watch("checkpoint", owner, name, api, enter, leave)
    shared.patches.replace(torch, "save", serialization.save)
    shared.patches.replace(torch, "load", serialization.load)
