"""Tied parameters: one tensor registered under two attributes, and whether it stays so."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.models import Tie, unwrap, walk
from torch.nn.modules import module as torch_module

if TYPE_CHECKING:
    from tcrules.instrument.probes.models import Model
    from tcrules.instrument.probes.shared import Shared
    from torch import nn

RELATIONS = ("tie", "tie_state")
MAX_PENDING = 100
WHY_MANY = f"more than {MAX_PENDING} ties: those that are broken before the model runs are not seen"


@dataclass(slots=True)
class _Pending:
    """A tie that was made before its model ran: paths from the outermost module of that moment."""

    top: weakref.ref[nn.Module]
    first: str
    second: str
    at: int


class Ties:
    """Remembers ties from registration on, and looks at them when a model trains."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.book = shared.book
        self._pending: list[_Pending] = []
        self._put_tie, self._put_state = shared.session.put("tie"), shared.session.put("tie_state")

    def on_parameter(self, module: nn.Module, name: str, tensor: Any) -> None:
        """A parameter is about to be registered: perhaps for the second time."""
        if torch.compiler.is_compiling() or not isinstance(tensor, torch.Tensor):
            return
        param = self.book.known(tensor)
        if param is None or param.place is None:
            return
        holder, first = param.place[0](), param.place[1]
        if (
            holder is None
            or holder._parameters.get(first) is not tensor
            or (holder is module and first == name)
        ):
            return
        top = self.book.top(module)
        if self.book.top(holder) is not top:
            return  # not in one model yet: found by `adopted` once they are
        if len(self._pending) >= MAX_PENDING:  # each walks the model
            self.shared.session.gap("tie", WHY_MANY)
            return
        paths = {id(sub): path for path, sub in walk(top)}
        if id(holder) in paths and id(module) in paths:
            tie = _Pending(
                weakref.ref(top),
                _join(paths[id(holder)], first),
                _join(paths[id(module)], name),
                self.shared.tick(),
            )
            self._pending.append(tie)

    def adopted(self, model: nn.Module, record: Model) -> None:
        """Write the ties of a model that is about to run: made while it was built, and those that exist now."""
        paths = {id(sub): path for path, sub in walk(model)}
        kept = []
        for tie in self._pending:
            top = tie.top()
            if top is not None and id(top) in paths:
                prefix = paths[id(top)]
                self._add(record, _join(prefix, tie.first), _join(prefix, tie.second), tie.at)
            elif top is not None:
                kept.append(tie)
        self._pending = kept
        first: dict[int, str] = {}
        for path, sub in walk(model):
            for name, tensor in sub._parameters.items():
                if tensor is not None:
                    place = _join(path, name)
                    if first.setdefault(id(tensor), place) != place:
                        self._add(record, first[id(tensor)], place, self.shared.tick())

    def _add(self, record: Model, first: str, second: str, at: int) -> None:
        places = frozenset((first, second))
        if places not in record.tied_places:
            record.tied_places.add(places)
            record.ties.append(Tie(first, second, at))
            self._put_tie(record.name, first, second, at)

    def look(self, model: nn.Module, record: Model, forward: int) -> None:
        """Write the state of each tie at a gradient forward, first time and on change."""
        if record.tie_stamp != record.stamp:
            record.tie_stamp = record.stamp
            self.adopted(model, record)
        for tie in record.ties:
            first, second = _find(model, tie.first), _find(model, tie.second)
            if first is None or second is None:
                continue
            tied = first is second
            if tied != tie.tied:
                tie.tied = tied
                self._put_state(record.name, tie.first, tie.second, forward, self.shared.clock.step, tied)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _find(model: nn.Module, path: str) -> torch.Tensor | None:
    """Return the parameter at a path, None if there is none any more."""
    *parents, name = path.split(".")
    module: Any = model
    for parent in parents:
        child = module._modules.get(parent)
        if child is None:
            return None
        module = unwrap(child)
    tensor = module._parameters.get(name)
    return tensor if isinstance(tensor, torch.Tensor) else None


def install(shared: Shared) -> Ties:
    """Register the hook; after `structure`'s, whose record of the first place it reads."""
    ties = Ties(shared)
    hook = shared.guard("ties")(ties.on_parameter)
    shared.patches.on_undo(torch_module.register_module_parameter_registration_hook(hook).remove)
    return ties
