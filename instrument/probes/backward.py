"""Backward passes, and which gradients they wrote onto what."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from tcrules.instrument.probes.context import context
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.reductions import Answer
from tcrules.instrument.probes.transforms import in_transform
from tcrules.instrument.probes.values import class_of, is_real, local, norms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.instrument.probes.deferred import Ask
    from tcrules.instrument.probes.gradients import Points
    from tcrules.instrument.probes.graphs import Graphs
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.probes.structure import Structure
    from tcrules.instrument.session import Frame

RELATIONS = ("backward", "accumulate")
WHY_THREADS = "several threads train: gradients of parameters that no model holds are not compared"
WHY_RETURNED = (
    "gradients that torch.autograd.grad returns are the program's to apply: where they go is not seen"
)
#: A gradient before a backward: identity, version, and how it is called in facts, or its class and norm when known.
_Before: TypeAlias = "tuple[int, int, str | Answer]"


class Backward:
    """Compares the gradients of all known parameters before and after a backward."""

    def __init__(
        self, shared: Shared, structure: Structure, points: Points | None, graphs: Graphs | None
    ) -> None:
        self.shared, self.structure, self.points, self.graphs = shared, structure, points, graphs
        self.session, self.book = shared.session, shared.book
        self._compares = shared.session.needs.any(("accumulate", "gradient_point"))
        self._put, self._put_grad = shared.session.put("backward"), shared.session.put("accumulate")

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """A backward begins."""
        pending = self.shared.first_backward
        while pending:
            self.shared.safely(*pending.pop())
        starts = args[0] if args else kwargs.get("tensors", kwargs.get("self"))
        start = starts
        if isinstance(start, (tuple, list)):
            start = start[0] if start else None
        if isinstance(start, torch.Tensor) and not is_real(start):
            return None
        late = self.shared.late
        ask = None if late is None else late.ask()
        with self.book.reading:
            before = self._before(ask) if self._compares else []
        loss = self._loss(start, ask)
        if ask is not None:
            ask.send("backward")
        if self.graphs is not None:
            self.shared.safely("graphs", self.graphs.reach, starts)
        return "", (loss, before, "" if self.graphs is None else self.graphs.made(start))

    def _loss(self, start: Any, ask: Ask | None) -> float | Answer:
        """Return the value that a backward starts from; the sum if it is no scalar."""
        late = self.shared.late
        if ask is not None and late is not None and late.holds(start):
            return ask.number(start, torch.sum)
        plain = local(start) if isinstance(start, torch.Tensor) else None
        if plain is None:
            self.shared.unread("backward", self.shared.clock.step)
            return 0.0
        with torch.no_grad():
            value = plain.item() if plain.numel() == 1 else plain.sum().item()
        return float(value.real if isinstance(value, complex) else value)

    def _before(self, ask: Ask | None) -> list[tuple[torch.Tensor, Param, _Before]]:
        found: list[tuple[torch.Tensor, Param, _Before]] = []
        unknown: list[int] = []
        grads: list[torch.Tensor] = []
        known, late = self.book.trained_by_me(), self.shared.late
        if len(self.book.threads) > 1 and any(p.owner and not p.thread for p in self.book.params()):
            self.session.gap("accumulate", WHY_THREADS)
        for param in known:
            tensor = param.tensor()
            if tensor is None or not tensor.requires_grad:
                continue
            grad = tensor.grad
            if grad is None:
                found.append((tensor, param, (0, -1, "none")))
                continue
            before: _Before = id(grad), grad._version, "nonzero"
            found.append((tensor, param, before))
            if before[:2] != (param.grad, param.grad_version):
                # written since the last backward: cleared in place, clipped, unscaled
                if ask is not None and late is not None and late.holds(grad):
                    found[-1] = tensor, param, (before[0], before[1], ask.norm(grad))
                    continue
                plain = None if grad.is_sparse else local(grad.detach())
                if plain is not None:
                    unknown.append(len(found) - 1)
                    grads.append(plain)
        for index, grad, norm in zip(unknown, grads, norms(grads), strict=True):
            if class_of(grad, norm) == "zero":
                tensor, param, before = found[index]
                found[index] = tensor, param, (before[0], before[1], "zero")
        return found

    def leave(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """A backward returned."""
        loss, before, made = token
        step, at = frame.step, self.shared.tick()
        wrote: list[tuple[torch.Tensor, Param]] = []
        later: list[tuple[tuple[str, str, int], Answer]] = []
        with self.book.reading:
            mine = set(map(id, self.book.trained_by_me())) if len(self.book.threads) > 1 else None
            for tensor, param, (grad_id, version, onto) in before:
                grad = tensor.grad if mine is None or id(param) in mine else None
                if grad is None or (id(grad) == grad_id and grad._version == version):
                    continue
                param.grad, param.grad_version = id(grad), grad._version
                if param.name not in self.book.described:
                    self.structure.unseen(param)
                owner = param.owner
                name, nth = (owner.name, owner.nth) if owner is not None else ("", -1)
                if isinstance(onto, Answer):
                    later.append(((param.name, name, nth), onto))
                else:
                    self._put_grad(frame.call, param.name, name, nth, step, at, onto)
                wrote.append((tensor, param))
            if wrote and self.points is not None:
                self.shared.safely("gradients", self.points.look, frame.call, "backward", wrote)
        if self.graphs is not None:
            self.graphs.tell(frame, made)
        closure = getattr(context.steps[-1], "call", 0) if context.steps else 0
        about = frame.call, step, frame.begin, at
        if self.shared.late is None or not (later or isinstance(loss, Answer)):
            self._put(*about, loss, math.isfinite(loss), closure)
        else:
            params, onto_later = [about for about, _ in later], [onto for _, onto in later]
            self.shared.late.after("backward", self._write_late, about, loss, closure, params, onto_later)
        if not raised:
            self.shared.clock.backward_done()

    def _write_late(
        self,
        about: tuple[int, int, int, int],
        loss: float | None,
        closure: int,
        params: Sequence[tuple[str, str, int]],
        onto: Sequence[tuple[str, float] | None],
    ) -> None:
        call, step, _, at = about
        if loss is None:
            self.shared.unread("backward", step)
        else:
            self._put(*about, loss, math.isfinite(loss), closure)
        for param, before in zip(params, onto, strict=True):
            if before is None:
                self.shared.unread("accumulate", step)
            else:
                self._put_grad(call, *param, step, at, "zero" if before[0] == "zero" else "nonzero")

    # ------------------------------------------------------------------ gradients that are returned
    def enter_grad(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """`torch.autograd.grad` begins: it writes no gradient of a parameter, but the program may."""
        if in_transform():
            return None
        wanted = argument(args, kwargs, 1, "inputs")
        wanted = wanted if isinstance(wanted, (tuple, list)) else [wanted]
        if any(isinstance(item, torch.Tensor) and self.book.known(item) is not None for item in wanted):
            self.session.gap("accumulate", WHY_RETURNED)
        if self.graphs is not None:
            self.shared.safely("graphs", self.graphs.reach, argument(args, kwargs, 0, "outputs"))
        return "", None

    def leave_grad(self, _frame: Frame, _token: Any, _result: Any, raised: bool) -> None:
        """It returned."""
        if not raised:
            self.shared.clock.gradients_taken()


def install(shared: Shared, structure: Structure, points: Points | None, graphs: Graphs | None) -> None:
    """Patch both entries; `Tensor.backward` calls `autograd.backward`, and counts once."""
    backward = Backward(shared, structure, points, graphs)
    targets = ((torch.Tensor, "torch.Tensor.backward"), (torch.autograd, "torch.autograd.backward"))
    for owner, api in targets:
        shared.watch("backward", owner, "backward", api, backward.enter, backward.leave, family="backward")
    api = "torch.autograd.grad"
    shared.watch(
        "backward", torch.autograd, "grad", api, backward.enter_grad, backward.leave_grad, family="backward"
    )
