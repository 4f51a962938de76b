"""Deep copies of models: averages, target and teacher networks."""

from __future__ import annotations

import copy
import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcrules.instrument.fingerprint import combine
from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.models import is_model
from tcrules.instrument.probes.patching import around
from tcrules.instrument.probes.values import placed, print_of
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from tcrules.instrument.probes.models import Model, Param
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.probes.states import States
    from tcrules.instrument.probes.structure import Structure

RELATIONS = ("copy", "copy_state")
MAX_PENDING = 200


@dataclass(slots=True)
class _Copied:
    copy: weakref.ref[nn.Module]
    source: weakref.ref[nn.Module]
    at: int


class Copies:
    """Writes `copy` once the source trains, and the values of copies that do not train when steps end."""

    def __init__(self, shared: Shared, structure: Structure, states: States) -> None:
        self.shared, self.structure, self.states = shared, structure, states
        self.book = shared.book
        self._pending: list[_Copied] = []
        self._copies: list[_Copied] = []
        self._last = -1
        self._put, self._put_state = shared.session.put("copy"), shared.session.put("copy_state")

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module | None:
        """`deepcopy` begins; only that of a whole model is of interest."""
        thing = args[0] if args else kwargs.get("x")
        if not isinstance(thing, nn.Module) or "deepcopy" in context.busy or not is_model(thing):
            return None
        context.busy.add("deepcopy")
        return thing

    def leave(self, source: nn.Module, result: Any, raised: bool) -> None:
        """It returned: parameters of the copy inherit what is known about those of the source."""
        if raised or result is source or not isinstance(result, nn.Module):
            return
        at = self.shared.tick()
        for old, new in zip(source.parameters(), result.parameters(), strict=False):
            param, known = self.book.param(new), self.book.known(old)
            param.created = at
            if known is not None:
                _inherit(param, known)
                if self.shared.late is not None:  # an update of the source may not be known yet
                    self.shared.late.after("copies", _inherit, param, known)
        if len(self._pending) < MAX_PENDING:
            self._pending.append(_Copied(weakref.ref(result), weakref.ref(source), at))

    def describe_new(self) -> None:
        """Write the copies of models that train by now.

        Not at once: layers are cloned while models are built (`nn.TransformerEncoder`), and become parts of them.
        """
        kept = []
        for pending in self._pending:
            made, source = pending.copy(), pending.source()
            if made is None or source is None:
                continue
            record = self.book.models.get(source)
            if record is None or not record.trains:
                kept.append(pending)
            elif self.book.top(made) is not self.book.top(source):
                if not self._copies and ("copies", self.step_over) not in self.shared.step_over:
                    self.shared.step_over.append(("copies", self.step_over))
                self._copies.append(pending)
                self._put(self.structure.model(made, is_root=True).root, record.name, pending.at)
        self._pending = kept

    def step_over(self, step: int) -> None:
        """A step is over: read the copies."""
        self._last = step
        alive = []
        for copied in self._copies:
            made, source = copied.copy(), copied.source()
            if made is None:
                continue
            alive.append(copied)
            record = self.structure.model(made)
            if source is not None and self.shared.governor.looks(step, "copy_state"):
                self._compare(made, source, record, step)
            if not record.trains and self.shared.governor.open:
                self.states.params(record, step)
        self._copies = alive

    def _compare(self, made: nn.Module, source: nn.Module, record: Model, step: int) -> None:
        """Write what a copy has in common with its source; O(bytes of buffers)."""
        sources = {
            tensor.data_ptr() for tensor in [*source.parameters(), *source.buffers()] if is_read(tensor)
        }
        shared = sum(
            tensor.data_ptr() in sources
            for tensor in [*made.parameters(), *made.buffers()]
            if is_read(tensor)
        )
        late = self.shared.late
        ask = None if late is None else late.ask()
        read = print_of if ask is None else ask.print
        buffers: list[list[Any]] = [
            [read(tensor) for tensor in module.buffers()] for module in (made, source)
        ]
        name = self.structure.model(source).name
        about = record.root, name, step, self.shared.tick(), made.training, shared
        if ask is None:
            self._write(about, *buffers)
        else:
            ask.then("copies", self._write, about, *buffers)

    def _write(
        self, about: tuple[Any, ...], made: Sequence[int | None], source: Sequence[int | None]
    ) -> None:
        if None in made or None in source:
            self.shared.unread("copy_state", about[2])
        prints = [combine(data or 0 for data in side) for side in (made, source)]
        self._put_state(*about, *prints)

    def close(self) -> None:
        """The run is over: so is its last step, which no next one will tell."""
        if self._copies and self._last < self.shared.clock.step:
            self.step_over(self.shared.clock.step)


def _inherit(param: Param, known: Param) -> None:
    param.trained = param.trained or known.trained


def is_read(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has an address of its own."""
    plain = placed(tensor)
    return plain is not None and plain.numel() > 0


def install(shared: Shared, copies: Copies) -> None:
    """Patch `copy.deepcopy`, also where torch imported it by name."""
    guard = shared.guard("copies")
    leave = guard(copies.leave)

    def after(source: nn.Module, result: Any, raised: bool) -> None:
        context.busy.discard("deepcopy")
        leave(source, result, raised)

    original = copy.deepcopy
    wrapper = around(original, guard(copies.enter), after)
    shared.patches.replace(copy, "deepcopy", wrapper)
    averaging: Any = sys.modules.get("torch.optim.swa_utils")
    if averaging is not None and getattr(averaging, "deepcopy", None) is original:
        shared.patches.replace(averaging, "deepcopy", wrapper)
    shared.step_begins.append(("copies", copies.describe_new))
    shared.patches.on_undo(copies.close)
