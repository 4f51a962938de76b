"""Random generators in the worker processes of loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument import session as sessions
from tcrules.instrument.probes.generators import states
from torch.utils.data import _utils

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Session

RELATIONS = ("worker_rng",)


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


def observe(session: Session, loader: str, epoch: int) -> None:
    """Read the generators of this worker around its first batch; only called in workers, for the life of one."""
    put = session.put("worker_rng")

    @session.guard("workers", "worker_rng")
    def write(worker: int, before: list[tuple[str, int]], after: dict[str, int]) -> None:
        for source, data in before:
            put(loader, epoch, worker, source, data, after.get(source, data) != data)

    for cls in (_utils.fetch._MapDatasetFetcher, _utils.fetch._IterableDatasetFetcher):
        cls.fetch = _first(cls.fetch, cls, write)


def _first(fetch: Callable[..., Any], cls: Any, write: Callable[..., None]) -> Callable[..., Any]:
    """Return a `fetch` that looks once and then takes itself out of the way."""

    def first(self: Any, indices: Any) -> Any:
        cls.fetch = fetch
        info = _utils.worker.get_worker_info()
        before = states(others=True)
        try:
            return fetch(self, indices)
        finally:
            write(info.id if info is not None else -1, before, dict(states(others=True)))

    return first


def install(shared: Shared) -> WorkerEntry:
    """Put the entry in the place of torch's worker loop."""
    entry = WorkerEntry(_utils.worker._worker_loop)
    shared.patches.replace(_utils.worker, "_worker_loop", entry)
    return entry
