"""Evaluation within limits of time, memory and facts: `with within(limits): …`.

Stores read the limits when they are opened. Time is kept by a thread: it interrupts the main thread, and what runs
there outside of Python, until that leaves. Memory is kept by the store (DuckDB spills to disk first) and by the system.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.grammar.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

#: What a process needs besides the data: stacks, buffers.
_SLACK = 256 * 1024 * 1024
_SIGNAL = getattr(signal, "SIGALRM", signal.SIGINT)
#: What a store says of a join with too many bindings.
TOO_MANY = "a join with more than {most:,} bindings"
_CURRENT: ContextVar[Limits] = ContextVar("limits", default=LIMITS)
_STOPS: list[Callable[[], None]] = []


class EvaluationLimit(Exception):
    """An evaluation would use more than it may; the message says of what."""


def current() -> Limits:
    """The limits in force."""
    return _CURRENT.get()


def stop_with(stop: Callable[[], None]) -> Callable[[], None]:
    """Call `stop`, from another thread, when the time is up. Returns what ends this."""
    _STOPS.append(stop)

    def forget() -> None:
        with suppress(ValueError):
            _STOPS.remove(stop)

    return forget


@contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Evaluate within `limits`. Time is limited in the main thread only.

    Raises:
        EvaluationLimit: one of them is exceeded.
    """
    token = _CURRENT.set(limits)
    try:
        with _memory(limits.memory), _time(limits.seconds):
            yield
    finally:
        _CURRENT.reset(token)


# ------------------------------------------------------------------------------------------------ time


@contextmanager
def _time(seconds: float | None) -> Iterator[None]:
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    message = f"not finished after {seconds:g} seconds"

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise EvaluationLimit(message)

    done, expired = threading.Event(), threading.Event()
    before = signal.signal(_SIGNAL, expire)
    watch = threading.Thread(target=_watch, args=(seconds, done, expired), daemon=True)
    watch.start()
    try:
        yield
    except EvaluationLimit:
        raise
    except Exception as error:
        if expired.is_set():  # what was interrupted reports it in its own way
            raise EvaluationLimit(message) from error
        raise
    finally:
        while signal.getsignal(_SIGNAL) is expire:
            with suppress(EvaluationLimit):  # one that came just now
                done.set()
                watch.join()
                signal.signal(_SIGNAL, before)


def _watch(seconds: float, done: threading.Event, expired: threading.Event) -> None:
    import _thread

    if done.wait(seconds):
        return
    expired.set()
    for tries in count():
        if tries % 20 == 0:  # again each second: an exception in a finaliser is lost
            _thread.interrupt_main(_SIGNAL)
        for stop in _STOPS:
            with suppress(Exception):
                stop()
        if done.wait(0.05):
            return


# ------------------------------------------------------------------------------------------------ memory


@contextmanager
def _memory(most: int | None) -> Iterator[None]:
    if most is None:
        yield
        return
    message = f"needs more than {most / 2**20:,.0f} MB of memory"
    restore = _bound(most)
    try:
        yield
    except MemoryError as error:
        raise EvaluationLimit(message) from error
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryException" or "Out of Memory" in str(error):
            raise EvaluationLimit(message) from error
        raise
    finally:
        restore()


def _bound(most: int) -> Callable[[], None]:
    """Let the system refuse more memory; returns what ends this. Does nothing where the system cannot."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (used + most + _SLACK, hard))
    except (ImportError, OSError, ValueError):
        return lambda: None
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
