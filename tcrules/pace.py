"""Keeps what following a run costs within a share of one core."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Share of one core that following may take, and CPU seconds that it may take ahead, so that the first steps are
#: checked at once.
SHARE, AHEAD_S = 0.05, 2.0
#: How often a run is looked at that has nothing new.
POLL_S = 0.25
#: How much others go before: a thread of this niceness gets a tenth of a core that is wanted otherwise.
NICE = 10


class Pace:
    """The budget of the thread that makes it.

    Args:
        share: of one core; `ahead`: CPU seconds that may be taken before they are earned.
        clock: tells the time; `cpu`: the CPU time of this thread.
    """

    def __init__(
        self,
        share: float = SHARE,
        ahead: float = AHEAD_S,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share, self._ahead, self._clock, self._cpu = share, ahead, clock, cpu
        self._since, self._cpu_before = clock(), cpu()
        self._elsewhere = 0.0

    def left(self) -> float:
        """CPU seconds that may be taken now; negative after too many were."""
        return self._ahead + self._share * (self._clock() - self._since) - self.used()

    def used(self) -> float:
        """CPU seconds that were taken."""
        return self._cpu() - self._cpu_before + self._elsewhere

    def charge(self, seconds: float) -> None:
        """Another process took CPU time for this one."""
        self._elsewhere += seconds

    def pause(self, more: bool) -> float:
        """Seconds to wait until the run is looked at again; `more`: it has something to be read already."""
        return max(0.0 if more else POLL_S, -self.left() / self._share)


def step_aside() -> None:
    """Let other work go before that of this thread, where the system can tell threads apart."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError:
            pass
