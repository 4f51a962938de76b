"""Work on several items in processes of their own, so that one core each is busy with Python and with the database.

Processes and not threads: most of the work on a small run is Python. An interruption reaches the parent alone, which
ends its workers; each gets to keep what it has done.
"""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from types import FrameType

#: Seconds that a worker has to leave when it is told to.
PATIENCE = 5.0

T = TypeVar("T")
R = TypeVar("R")


class WorkerLost(Exception):
    """A worker ended in the middle of its work; `item` is what it worked on."""

    def __init__(self, item: object, code: int | None) -> None:
        super().__init__(f"a worker ended with code {code}")
        self.item = item
        self.code = code


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    #: What it works on; None: it waits.
    item: Any = None


def each(
    work: Callable[[T, Callable[[], None]], R], items: Sequence[T], jobs: int, tick: Callable[[], None]
) -> Iterator[tuple[T, R]]:
    """Each item with what the work made of it, as they are finished; `jobs` of them at once.

    Args:
        work: called with an item and a function that it calls when a part is done.
        items: what to work on.
        jobs: processes; with one, the work is done here.
        tick: called here for each part that is done somewhere.

    Raises:
        WorkerLost: the system ended a worker, for want of memory for example.
    """
    if jobs <= 1 or len(items) <= 1:
        for item in items:
            yield item, work(item, tick)
        return
    waiting = list(reversed(items))
    workers = [_start(work) for _ in range(min(jobs, len(items)))]
    try:
        for worker in workers:
            _give(worker, waiting)
        while busy := {id(worker.pipe): worker for worker in workers if worker.item is not None}:
            for pipe in wait([worker.pipe for worker in busy.values()]):
                worker = busy[id(pipe)]
                kind, answer = _answer(worker)
                if kind == "tick":
                    tick()
                elif kind == "failed":
                    raise answer
                else:
                    finished = worker.item
                    _give(worker, waiting)
                    yield finished, answer
    finally:
        _end(workers)


def _start(work: Callable[[T, Callable[[], None]], R]) -> _Worker:
    # A copy of this process has all modules that are loaded here; elsewhere they are loaded anew.
    known = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in known else None)
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _give(worker: _Worker, waiting: list[Any]) -> None:
    worker.item = waiting.pop() if waiting else None
    if worker.item is not None:
        worker.pipe.send(worker.item)


def _answer(worker: _Worker) -> tuple[str, Any]:
    try:
        answer: tuple[str, Any] = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(PATIENCE)
        raise WorkerLost(worker.item, worker.process.exitcode) from None
    return answer


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _serve(work: Callable[[T, Callable[[], None]], R], pipe: Connection) -> None:
    """What a worker does until its parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while True:
            item = pipe.recv()
            try:
                pipe.send(("done", work(item, lambda: pipe.send(("tick", None)))))
            except Exception as fault:
                pipe.send(("failed", fault))


def _leave(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
