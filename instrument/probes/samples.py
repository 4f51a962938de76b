"""Single samples of batches: which ones an epoch consists of, in which order, and which label goes with which input."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy
from tcrules.instrument.fingerprint import combine, fingerprint_bytes
from tcrules.instrument.probes.values import placed, sample_print

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from tcrules.instrument.probes.deferred import Ask
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("batch_sample", "epoch_end")
#: Samples that are written per epoch and per batch. Those of a dataset are chosen by their index, so that all epochs,
#: ranks and runs look at the same ones.
PER_EPOCH, PER_BATCH = 512, 64
#: Datasets up to this length are counted sample by sample: a byte each.
MAX_COUNTED = 1 << 24
WHY_SOME = "some samples of an epoch are looked at, chosen by their index"
WHY_NONE = "samples that have neither an index nor a label"
_LABELS = frozenset({"label", "labels", "target", "targets", "y", "label_ids"})
Fields = list[tuple[str, "torch.Tensor"]]


@dataclass(slots=True, eq=False)
class Order:
    """The samples of one pass over a loader, as its sampler gave them."""

    #: Length of the dataset, -1 = unknown.
    length: int
    #: The sampler gives lists of indices.
    batched: bool
    #: Indices that were asked for and not yielded yet, oldest first.
    pending: deque[list[int] | None] = field(default_factory=deque)
    seen: bytearray = field(default_factory=bytearray)
    samples: int = 0
    distinct: int = 0
    order: int = 0
    #: All indices so far were numbers of samples.
    known: bool = True
    written: int = 0

    def asked(self, indices: Any) -> None:
        """The sampler gave the indices of a batch."""
        found = indices if self.batched else [indices]
        is_plain = isinstance(found, (list, tuple)) and all(
            isinstance(i, (int, numpy.integer)) for i in found
        )
        self.pending.append([int(index) for index in found] if is_plain else None)

    def add(self, indices: list[int]) -> None:
        """A batch of these samples was yielded."""
        self.order = combine([self.order, fingerprint_bytes(array("q", indices).tobytes())])
        if not 0 <= self.length <= MAX_COUNTED:
            return
        if not self.seen:
            self.seen = bytearray(self.length)
        for index in indices:
            if -self.length <= index < self.length and not self.seen[index]:
                self.seen[index] = 1
                self.distinct += 1


class Samples:
    """Writes `batch_sample` and `epoch_end`."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._put, self._put_end = shared.session.put("batch_sample"), shared.session.put("epoch_end")

    def begin(self, loader: Any) -> Order:
        """A loader is iterated."""
        try:
            length = len(loader.dataset)
        except Exception:  # whatever the user's class raises where it has no length
            length = -1
        order = Order(length, getattr(loader, "batch_sampler", None) is not None)
        # batches that come as soon as a worker has one are not in the order of the sampler
        order.known = loader.num_workers == 0 or getattr(loader, "in_order", True)
        return order

    def batch(self, loader: str, epoch: int, index: int, order: Order, fields: Fields, at: int) -> None:
        """A batch was yielded."""
        indices = order.pending.popleft() if order.pending else None
        order.known = order.known and indices is not None
        if not fields:
            return
        size = (fields[0][1].shape[0] if fields[0][1].dim() else 1) if order.batched else 1
        order.samples += size
        if order.known and indices is not None:
            order.add(indices)
            places = _chosen(indices, order.length)
        else:
            indices = []
            places = list(range(0, size, size // PER_BATCH + 1))
        places = places[: min(PER_BATCH, PER_EPOCH - order.written)]
        inputs, label = roles(fields)
        if inputs is None or (label is None and not indices):
            self.shared.session.gap("batch_sample", WHY_NONE)
            return
        if len(places) < size:
            self.shared.session.gap("batch_sample", WHY_SOME)
        order.written += len(places)
        late = self.shared.late
        ask = None if late is None else late.ask()
        width = size if order.batched else -1
        rows = [(place, indices[place] if place < len(indices) else -1) for place in places]
        given = [_print(inputs[1], place, width, ask) for place in places]
        targets = [0 if label is None else _print(label[1], place, width, ask) for place in places]
        names = inputs[0], "" if label is None else label[0]
        about = loader, epoch, index, self.shared.clock.step, at, names
        if ask is None:
            self._write(about, rows, given, targets)
        else:
            ask.then("samples", self._write, about, rows, given, targets)

    def _write(
        self,
        about: tuple[str, int, int, int, int, tuple[str, str]],
        rows: Sequence[tuple[int, int]],
        given: Sequence[int | None],
        targets: Sequence[int | None],
    ) -> None:
        loader, epoch, index, step, at, names = about
        for row, one, other in zip(rows, given, targets, strict=True):
            if one is None or other is None:
                self.shared.unread("batch_sample", step)
            else:
                self._put(loader, epoch, index, *row, step, at, *names, one, other)

    def end(self, loader: str, epoch: int, batches: int, order: Order) -> None:
        """A loader is exhausted."""
        known = order.known and order.samples > 0
        counted = known and 0 <= order.length <= MAX_COUNTED
        self._put_end(
            *(loader, epoch, self.shared.clock.step, self.shared.tick(), batches, order.samples),
            *(order.distinct if counted else -1, order.length, order.order if known else 0),
        )


def roles(fields: Fields) -> tuple[tuple[str, torch.Tensor] | None, tuple[str, torch.Tensor] | None]:
    """Return the fields that are input and label: by the usual names, else the first and second of a pair."""
    label = next((item for item in fields if item[0].rpartition(".")[2] in _LABELS), None)
    if label is None and len(fields) == 2:
        label = fields[1]
    return next((item for item in fields if item is not label), None), label


def _chosen(indices: Sequence[int], length: int) -> list[int]:
    """Return the places of the samples that are looked at: every 2ⁿth of the dataset."""
    stride = 1
    while length > stride * PER_EPOCH:
        stride *= 2
    return [place for place, index in enumerate(indices) if index % stride == 0]


def _print(tensor: torch.Tensor, place: int, size: int, ask: Ask | None) -> Any:
    """Return the fingerprint of a sample, or the answer that it will be; 0 if it cannot be read."""
    if size >= 0 and (not tensor.dim() or tensor.shape[0] != size):
        return 0
    sample = tensor if size < 0 else tensor.detach()[place]
    if ask is None or placed(sample) is None:
        return sample_print(sample) or 0
    return ask.sample(sample)
