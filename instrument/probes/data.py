"""Data loaders and the batches that they yield."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tcrules.instrument.fingerprint import combine
from tcrules.instrument.identity import IdentityMap
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.values import key_name, local, placed, sample_print
from tcrules.instrument.probes.workers import WHY_NOT_TRACED, is_traced
from torch.utils.data import dataloader, sampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tcrules.instrument.probes.samples import Order, Samples
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.probes.workers import WorkerEntry

RELATIONS = ("loader", "epoch", "batch", "batch_field")
#: Tensors of a batch that are described, and how deep they may be nested.
MAX_FIELDS, MAX_DEPTH = 32, 4


@dataclass(slots=True, eq=False)
class Iteration:
    """One pass over a loader."""

    loader: str
    epoch: int
    index: int = 0
    #: A worker made the batch that is fetched; -1 = the main process.
    worker: int = -1
    order: Order | None = None


class Place(NamedTuple):
    """Where a tensor came from."""

    loader: str
    epoch: int
    number: int
    field: str


class Batches:
    """Knows which tensors came from which loader, and which loaders are being iterated."""

    def __init__(self, shared: Shared) -> None:
        self._put = shared.session.put("batch_use")
        #: The last is a fingerprint, or the answer that it will be.
        self._tensors: IdentityMap[tuple[Place, int, int, Any]] = IdentityMap()
        #: Address and size of the tensors of the last batch of each loader, which views are told by.
        self._last: dict[str, list[tuple[weakref.ref[torch.Tensor], Place, int, int]]] = {}
        self._active: list[tuple[weakref.ref[Any], str]] = []

    def of(self, tensor: torch.Tensor) -> tuple[str, Any]:
        """Return (loader, fingerprint or answer) of a tensor, "" and None if it is not as a loader yielded it."""
        known = self._tensors.get(tensor)
        if known is None:
            return "", None
        place, pointer, version, data = known
        same = tensor.data_ptr() == pointer and _version(tensor) == version
        return place.loader, data if same else None

    def put(self, tensor: torch.Tensor, place: Place, data: Any) -> None:
        """Note that a loader yielded a tensor."""
        pointer = tensor.data_ptr()
        self._tensors.put(tensor, (place, pointer, _version(tensor), data))
        size = tensor.numel() * tensor.element_size()
        if pointer:
            last = self._last.setdefault(place.loader, [])
            if last and last[0][1][:3] != place[:3]:
                last.clear()
            last.append((weakref.ref(tensor), place, pointer, size))

    def origin(self, tensor: torch.Tensor) -> tuple[Place, bool] | None:
        """Return where a tensor came from and whether it is what the loader yielded; None if that is not known.

        A view of a tensor of the last batch counts; what was computed from one, or copied, does not.
        """
        known = self._tensors.get(tensor)
        if known is not None:
            return known[0], tensor.data_ptr() == known[1] and _version(tensor) == known[2]
        if placed(tensor) is None:
            return None
        pointer = tensor.data_ptr()
        for last in self._last.values():
            for reference, place, start, size in last:
                found = reference() if start <= pointer < start + size else None
                known = None if found is None else self._tensors.get(found)
                if found is not None and known is not None:
                    return place, _version(found) == known[2] and tensor.dtype is found.dtype
        return None

    def used(self, call: int, role: str, tensor: torch.Tensor, step: int, at: int) -> None:
        """Write what a tensor of a batch was used for."""
        found = self.origin(tensor)
        if found is not None:
            self._put(call, role, step, at, *found[0], found[1])

    def begin(self, iterator: object, loader: str) -> None:
        """A loader is being iterated."""
        self.end(iterator)
        self._active.append((weakref.ref(iterator), loader))

    def end(self, iterator: object) -> None:
        """An iterator is exhausted."""
        self._active = [
            entry for entry in self._active if entry[0]() is not None and entry[0]() is not iterator
        ]

    def active(self) -> str:
        """Return the loader whose iteration began last and goes on, "" if there is none."""
        while self._active and self._active[-1][0]() is None:
            self._active.pop()
        return self._active[-1][1] if self._active else ""


class Loaders:
    """Writes facts of loaders."""

    def __init__(
        self, shared: Shared, batches: Batches, entry: WorkerEntry | None, samples: Samples | None
    ) -> None:
        self.shared, self.batches, self.entry, self.samples = shared, batches, entry, samples
        #: Iterations whose iterators are being made: these fetch indices already.
        self._starting: list[Iteration] = []
        self.clock = shared.clock
        self.epochs: IdentityMap[list[int]] = IdentityMap()
        self._iterations: IdentityMap[Iteration] = IdentityMap()
        session = shared.session
        self._put, self._put_epoch = session.put("loader"), session.put("epoch")
        self._put_batch, self._put_field = session.put("batch"), session.put("batch_field")

    def enter_iter(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Iteration:
        """`iter(loader)`: a new epoch."""
        loader = args[0]
        name = self.shared.names.loader(loader)
        epochs = self.epochs.get(loader)
        if epochs is None:
            epochs = [0]
            self.epochs.put(loader, epochs)
            kind, shuffle = describe_sampler(loader)
            batch = getattr(loader, "batch_size", None)
            if batch is None:
                batch = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
            self._put(
                name, kind, shuffle, loader.num_workers, -1 if batch is None else batch, _length(loader)
            )
        iteration = Iteration(name, epochs[0])
        epochs[0] += 1
        told = getattr(getattr(loader, "sampler", None), "epoch", -1)
        epoch = told if isinstance(told, int) else -1
        self._put_epoch(name, iteration.epoch, self.clock.step, self.shared.tick(), epoch)
        if self.entry is not None:
            self.entry.loader, self.entry.epoch = name, iteration.epoch
            if loader.num_workers and not is_traced(loader):
                self.shared.session.gap("worker_rng", WHY_NOT_TRACED)
        if self.samples is not None:
            iteration.order = self.samples.begin(loader)
        self._starting.append(iteration)
        return iteration

    def leave_iter(self, iteration: Iteration, result: Any, raised: bool) -> None:
        """The iterator exists."""
        if iteration in self._starting:
            self._starting.remove(iteration)
        if not raised:
            self._iterations.put(result, iteration)
            self.batches.begin(result, iteration.loader)

    def enter_next(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[Any, Iteration] | None:
        """A batch is fetched."""
        iteration = self._iterations.get(args[0])
        if iteration is None:
            return None
        iteration.worker = _next_worker(args[0])
        return args[0], iteration

    def enter_index(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Order | None:
        """The sampler is asked for the indices of a batch."""
        iteration = self._starting[-1] if self._starting else self._iterations.get(args[0])
        return None if iteration is None else iteration.order

    def leave_index(self, order: Order, indices: Any, raised: bool) -> None:
        """It gave them, or has no more."""
        if not raised:
            order.asked(indices)

    def process(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """A worker's batch is taken: which worker's, is known only now, as others may have run out meanwhile."""
        iteration = self._iterations.get(args[0])
        if iteration is not None and len(args) > 2:
            iteration.worker = int(args[2])

    def leave_next(self, token: tuple[Any, Iteration], batch: Any, raised: bool) -> None:
        """A batch was yielded, or the iterator is exhausted."""
        iterator, now = token
        if not raised:
            self._batch(now, batch)
            return
        self.batches.end(iterator)
        if self.samples is not None and now.order is not None and sys.exc_info()[0] is StopIteration:
            self.shared.safely("samples", self.samples.end, now.loader, now.epoch, now.index, now.order)
        now.order = None  # it is told once, also when the iterator is asked again

    def _batch(self, now: Iteration, batch: Any) -> None:
        if not self.shared.governor.open:
            self._sample(now, list(fields(batch)), self.shared.tick())
            now.index += 1
            return
        step, at, size = self.clock.step, self.shared.tick(), 0
        late = self.shared.late
        ask = None if late is None else late.ask()
        found, rows = list(fields(batch)), []
        prints: list[Any] = []
        constant: list[Any] = []
        for number, (field, tensor) in enumerate(found):
            if number >= MAX_FIELDS:
                self.shared.session.gap("batch_field", f"more than {MAX_FIELDS} tensors in a batch")
                break
            size = size or (tensor.shape[0] if tensor.dim() else 1)
            data: Any = sample_print(tensor) if ask is None else ask.sample(tensor)
            self.batches.put(tensor, Place(now.loader, now.epoch, now.index, field), data)
            rows.append((field, dtype_name[tensor.dtype]))
            prints.append(data)
            constant.append(is_constant(tensor) if ask is None else ask.number(tensor, all_equal))
        about = now.loader, now.epoch, now.index, now.worker, step, at
        if ask is None:
            self._write(about, size, rows, prints, constant)
        else:
            ask.then("data", self._write, about, size, rows, prints, constant)
        self._sample(now, found, at)
        now.index += 1

    def _write(
        self,
        about: tuple[str, int, int, int, int, int],
        size: int,
        rows: Sequence[tuple[str, str]],
        prints: Sequence[int | None],
        constant: Sequence[float | bool | None],
    ) -> None:
        for (field, dtype), data, is_equal in zip(rows, prints, constant, strict=True):
            if data is None or is_equal is None:
                self.shared.unread("batch_field", about[4])
            else:
                self._put_field(*about, field, dtype, data, bool(is_equal))
        if None in prints:
            self.shared.unread("batch", about[4])
        self._put_batch(*about, size, combine(data for data in prints if data is not None))

    def _sample(self, now: Iteration, found: list[tuple[str, torch.Tensor]], at: int) -> None:
        if self.samples is not None and now.order is not None:
            self.shared.safely(
                "samples", self.samples.batch, now.loader, now.epoch, now.index, now.order, found, at
            )


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def fields(value: Any, path: str = "", depth: int = MAX_DEPTH) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (path, tensor) of a batch: nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if not depth:
        return
    if isinstance(value, (tuple, list)):
        names: Any = getattr(value, "_fields", None) or range(len(value))
        items = zip(names, value, strict=False)
    elif hasattr(type(value), "items") and hasattr(type(value), "keys"):  # asking the object may run code
        items = value.items()
    else:
        return
    for key, item in items:
        name = key_name(key)
        yield from fields(item, f"{path}.{name}" if path else name, depth - 1)


def all_equal(tensor: torch.Tensor) -> torch.Tensor:
    """Return whether all elements are equal, where they are."""
    flat = tensor.reshape(-1)
    return (flat[1:] == flat[:1]).all()


def is_constant(tensor: torch.Tensor) -> bool | None:
    """Return whether all elements are equal, None if it cannot be read; most tensors are told by a few."""
    plain = local(tensor)
    if plain is None or plain.numel() < 2:
        return None if plain is None else True
    with torch.no_grad():
        flat = plain.reshape(-1) if plain.is_contiguous() else plain.flatten()
        few = flat[:: max(1, flat.numel() // 16)]
        return bool((few == flat[0]).all()) and bool((flat == flat[0]).all())


def describe_sampler(loader: Any) -> tuple[str, bool]:
    """Return the class of a loader's sampler, and whether it is meant to change the order each epoch."""
    found = getattr(loader, "sampler", None)
    custom: Any = getattr(loader, "batch_sampler", None)
    while isinstance(inner := getattr(custom, "batch_sampler", None), sampler.BatchSampler):
        custom = inner  # sharded among ranks
    if type(custom) is sampler.BatchSampler:
        found = (
            custom.sampler
        )  # a loader that is given one has a sequential sampler of its own, and never uses it
    elif custom is not None:
        found = custom
    shuffle = getattr(found, "shuffle", None)
    if not isinstance(shuffle, bool):
        shuffle = isinstance(
            found, (sampler.RandomSampler, sampler.SubsetRandomSampler, sampler.WeightedRandomSampler)
        )
    return type(found).__name__ if found is not None else "", shuffle


def _length(loader: Any) -> int:
    # asking a loader of an iterable dataset makes it warn later on when it yields more
    if isinstance(loader.dataset, torch.utils.data.IterableDataset):
        return -1
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return -1


def _next_worker(iterator: Any) -> int:
    """Return the worker that makes the next batch, as `_MultiProcessingDataLoaderIter._next_data` finds it."""
    tasks = getattr(iterator, "_task_info", None)
    if tasks is None:
        return -1
    status = iterator._workers_status
    for index in range(iterator._rcvd_idx, iterator._send_idx):
        task = tasks.get(index)
        if task is not None and (len(task) == 2 or status[task[0]]):
            return int(task[0])
    return -1


def _unused(_token: Any, _result: Any, _raised: bool) -> None:
    """Nothing is done when the batch is processed."""


def install(shared: Shared, batches: Batches, entry: WorkerEntry | None, samples: Samples | None) -> Loaders:
    """Patch `DataLoader.__iter__` and what its iterators inherit."""
    loaders = Loaders(shared, batches, entry, samples)
    guard = shared.guard("data")
    shared.patches.around(
        dataloader.DataLoader, "__iter__", guard(loaders.enter_iter), guard(loaders.leave_iter)
    )
    base, workers = dataloader._BaseDataLoaderIter, dataloader._MultiProcessingDataLoaderIter
    shared.patches.around(workers, "_process_data", guard(loaders.process), _unused)
    shared.patches.around(base, "__next__", guard(loaders.enter_next), guard(loaders.leave_next))
    if samples is not None:
        index = guard(loaders.enter_index), guard(loaders.leave_index)
        shared.patches.around(base, "_next_index", *index)
    return loaders
