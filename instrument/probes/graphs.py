"""What a backward goes through: the graph is looked at before the backward, and never changed."""

from __future__ import annotations

import threading
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tcrules.instrument.probes.values import tensors_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from tcrules.instrument.probes.forward import Run
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("loss_graph", "forward_reached")
#: Inputs of an operation that are named; forwards of a step that are remembered; nodes of a graph that are looked at.
MAX_INPUTS, MAX_FORWARDS, MAX_NODES = 8, 64, 4096
WHY_FORWARDS = f"more than {MAX_FORWARDS} forwards with gradients in one step"
WHY_NODES = f"more than {MAX_NODES} operations between a forward and a backward"
WHY_THREADS = "several threads train: of which step a forward is the clock does not know"


class Returned(NamedTuple):
    """A forward whose result no backward has gone through yet, told by the numbers of its last operations."""

    call: int
    module: str
    step: int
    nodes: frozenset[int]


class Graphs:
    """Writes `loss_graph` and `forward_reached`.

    Operations that a thread records are numbered in their order, so those from which others follow have the lower
    numbers: of the graph only what is younger than the forwards that are looked for is walked, about 1 µs a node.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._put, self._put_reached = shared.session.put("loss_graph"), shared.session.put("forward_reached")
        #: Of the thread that trains.
        self._waiting: list[Returned] = []
        self._thread = 0
        shared.step_over.append(("graphs", self._step_over))
        shared.session.on_fork(self._waiting.clear)
        shared.session.on_close(self._close)

    # ------------------------------------------------------------------ the operations that made a loss
    def made(self, start: Any) -> str:
        """Return the operation that made a tensor, and those that made its inputs; "" of a leaf, or of no tensor."""
        node = start.grad_fn if isinstance(start, torch.Tensor) else None
        if node is None:
            return ""
        inputs = [_name(before) for before, _ in node.next_functions if before is not None]
        shown = inputs[:MAX_INPUTS] + (["…"] if len(inputs) > MAX_INPUTS else [])
        return f"{_name(node)}({','.join(shown)})"

    def tell(self, frame: Frame, made: str) -> None:
        """Write what the loss of a backward is made of."""
        self._put(frame.call, frame.step, frame.begin, made)

    # ------------------------------------------------------------------ forwards that a backward reaches
    def returned(self, run: Run, result: Any) -> None:
        """A forward returned; what it returned is remembered by numbers, nothing is kept alive."""
        frame = run.frame
        if not torch.is_grad_enabled() or not self.shared.governor.looks(frame.step, "forward_reached"):
            return
        nodes = _numbers(result)
        if nodes is None:
            return
        thread = threading.get_ident()
        if self._waiting and thread != self._thread:
            self._give_up(WHY_THREADS)
        elif len(self._waiting) >= MAX_FORWARDS:
            self._give_up(WHY_FORWARDS)
        else:
            self._thread = thread
            self._waiting.append(Returned(frame.call, run.name, frame.step, nodes))

    def reach(self, starts: Any) -> None:
        """A backward begins at these tensors: write which forwards it goes through."""
        if not self._waiting:
            return
        if threading.get_ident() != self._thread:
            self._give_up(WHY_THREADS)
            return
        wanted = frozenset(number for one in self._waiting for number in one.nodes)
        found = _walk([tensor.grad_fn for tensor in tensors_in(starts)], wanted)
        if found is None:
            self._give_up(WHY_NODES)
            return
        waiting, self._waiting[:] = list(self._waiting), []
        at = self.shared.tick()
        for one in waiting:
            if one.nodes.isdisjoint(found):
                self._waiting.append(one)
            else:
                self._put_reached(one.call, one.module, one.step, at, True)

    def _step_over(self, _step: int) -> None:
        """No backward of the step has gone through what is left."""
        if len(self.shared.book.threads) > 1:
            self._give_up(WHY_THREADS)
        for one in self._waiting:
            self._put_reached(one.call, one.module, one.step, self.shared.tick(), False)
        self._waiting.clear()

    def _close(self) -> None:
        """The run is over, and so is the last step, if its optimizers have stepped: else it is no step."""
        if self.shared.clock.between:
            self._step_over(self.shared.clock.step)

    def _give_up(self, why: str) -> None:
        self.shared.session.gap("forward_reached", why, first_step=self.shared.clock.step)
        self._waiting.clear()


def _name(node: Any) -> str:
    name: str = node.name()
    return name.rpartition("::")[2]


def _numbers(result: Any) -> frozenset[int] | None:
    """Return the numbers of the operations that made a result; None where it holds no tensor, or one that is not told.

    A view is not asked when what it is a view of may have been written to since: autograd would then make its operation
    anew, and number it, at a moment that is not the program's.
    """
    numbers, count = [], 0
    for tensor in tensors_in(result):
        count += tensor.is_floating_point() or tensor.is_complex()
        if not tensor.requires_grad:
            continue
        if tensor.is_leaf or (tensor._is_view() and tensor._version):
            return None
        numbers.append(tensor.grad_fn._sequence_nr())
    return frozenset(numbers) if count else None


def _walk(starts: Collection[Any], wanted: Collection[int]) -> set[int] | None:
    """Return which of the wanted operations lead to these; None where the way is too long."""
    lowest = min(wanted, default=0)
    found: set[int] = set()
    seen: set[Any] = set()
    heap: list[tuple[int, int, Any]] = []

    def add(node: Any) -> None:
        number = -1 if node is None or node in seen else node._sequence_nr()
        if lowest <= number < 1 << 63:  # leaves have the highest of all numbers
            seen.add(node)
            heappush(heap, (-number, len(seen), node))

    for start in starts:
        add(start)
    while heap and len(found) < len(wanted):
        if len(seen) > MAX_NODES:
            return None
        number, _, node = heappop(heap)
        if -number in wanted:
            found.add(-number)
        for before, _ in node.next_functions:
            add(before)
    return found


__all__ = ["Graphs"]
