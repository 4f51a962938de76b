"""Processes that the script starts: random generators in workers of loaders, and children that nobody records."""

from __future__ import annotations

import multiprocessing
import os
from itertools import count
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from tcrules.instrument import session as sessions
from tcrules.instrument.attach import RUN_VARIABLE
from tcrules.instrument.probes.generators import states
from torch.utils.data import _utils, dataloader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Session

RELATIONS = ("worker_rng",)
WHY_SPAWNED = (
    "a process that was started by spawn or forkserver is recorded by `tcrules record` only, not by `watch`"
)
WHY_NOT_TRACED = "workers that are not forked are recorded by `tcrules record` only, not by `watch`"


class WorkerEntry:
    """Stands in for torch's worker loop: carries loader and epoch into the worker, forked or spawned.

    Pickled by spawn, it runs the loop that the child's torch has.
    """

    def __init__(self, loop: Callable[..., None] | None) -> None:
        self.loop = loop
        self.loader = ""
        self.epoch = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"loop": None, "loader": self.loader, "epoch": self.epoch}

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        loop = self.loop
        if loop is None:
            loop = _utils.worker._worker_loop
            loop = loop.loop if isinstance(loop, WorkerEntry) else loop
        session = sessions.current()
        if session is not None and self.loader and not session.closed:
            try:
                session.mark_worker()
                observe(session, self.loader, self.epoch)
            except Exception as fault:
                session.disable("workers", fault)
        assert loop is not None
        loop(*args, **kwargs)


def is_traced(loader: Any) -> bool:
    """Return whether the workers of a loader are recorded: forked ones, and all where the environment says so."""
    if os.environ.get(RUN_VARIABLE):
        return True
    return _default_method(loader.multiprocessing_context or multiprocessing) == "fork"


def started(session: Session, process: Any) -> None:
    """A process is about to be started: of one that will not be recorded there is a gap. A loader says so itself."""
    method = process._start_method or _default_method(multiprocessing)
    if method != "fork" and not os.environ.get(RUN_VARIABLE) and not isinstance(process._target, WorkerEntry):
        session.gap("process", WHY_SPAWNED)


def _default_method(context: Any) -> str:
    return str(context.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0])


def observe(session: Session, loader: str, epoch: int) -> None:
    """Read the generators of this worker around its first batch of each epoch; called in workers only, for their life.

    A worker makes a fetcher for each epoch: one that persists over epochs makes several.
    """
    put = session.put("worker_rng")
    epochs = count(epoch)
    make = dataloader._DatasetKind.create_fetcher

    guard = session.guard("workers", "worker_rng")

    @guard
    def look() -> list[tuple[str, int]]:
        return states(others=True)

    @guard
    def write(epoch: int, before: list[tuple[str, int]]) -> None:
        info = _utils.worker.get_worker_info()
        worker, after = info.id if info is not None else -1, dict(states(others=True))
        for source, data in before:
            put(loader, epoch, worker, source, data, after.get(source, data) != data)

    def create_fetcher(*args: Any, **kwargs: Any) -> Any:
        fetcher, epoch = make(*args, **kwargs), next(epochs)

        def first(indices: Any) -> Any:
            del fetcher.fetch  # it stands in front of the method, and is out of the way from now on
            before = look()
            try:
                return fetcher.fetch(indices)
            finally:
                if before is not None:
                    write(epoch, before)

        fetcher.fetch = first
        return fetcher

    dataloader._DatasetKind.create_fetcher = staticmethod(create_fetcher)


def install(shared: Shared) -> WorkerEntry:
    """Put the entry in the place of torch's worker loop."""
    entry = WorkerEntry(_utils.worker._worker_loop)
    shared.patches.replace(_utils.worker, "_worker_loop", entry)

    def before(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        started(shared.session, args[0])

    def after(_token: Any, _result: Any, _raised: bool) -> None:
        """Nothing is to be done: `before` never hands out a token."""

    shared.patches.around(BaseProcess, "start", shared.guard("workers", "process")(before), after)
    return entry
