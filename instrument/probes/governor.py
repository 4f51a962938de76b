"""Keeps the time that recording takes within its share of a step.

Decided: when recording takes more than `LIMIT` of the training's own time, facts about values are left out in most
steps; calls, their order and their settings are always recorded. Because only tiny steps (below about 3 ms) are ever
affected, and a gap says so. Two successive steps are recorded in each period, for rules that compare neighbours; the
periods are powers of two, so that ranks whose governors disagree still have steps in common.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcrules.instrument.session import Session

#: Time of recording per time of training; overridden by the session's option `overhead`, 0 = no limit.
LIMIT = 0.10
#: Steps that are always recorded in full, and after how many the share is looked at again. Most faults show from
#: the beginning, and short runs, from which rules are learned, must not depend on how busy the machine was.
FULL_STEPS, WINDOW = 512, 16
MAX_PERIOD = 64
WHY = "facts about values are left out in most steps, to bound the overhead"
#: What is left out.
RELATIONS = (
    "accumulate",
    "gradient",
    "update",
    "optimizer_state",
    "param_state",
    "buffer_state",
    "rng",
)


class Governor:
    """Decides in which steps facts about values are recorded.

    Attributes:
        detail: record them in the current step.
        spent: seconds that callbacks took in this window; they add to it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.limit = float(session.options.get("overhead", LIMIT))
        self.detail = True
        self.spent = 0.0
        self._period = 1
        self._steps = 0
        self._since = perf_counter()

    def step_over(self, step: int) -> None:
        """Step `step` is over: decide about the next one."""
        self._steps += 1
        if step >= FULL_STEPS and self._steps >= WINDOW and self.limit > 0:
            self._adapt(step)
        elif step < FULL_STEPS - WINDOW:
            self._restart()  # warming up: kernels are chosen, files are opened
        self.detail = step + 1 < FULL_STEPS or self._period == 1 or (step + 1) % self._period < 2

    def _adapt(self, step: int) -> None:
        elapsed = perf_counter() - self._since
        share = self.spent / max(elapsed - self.spent, 1e-9)
        if share > self.limit and self._period < MAX_PERIOD:
            if self._period == 1:
                for relation in RELATIONS:
                    self.session.gap(relation, WHY, first_step=step + 1)
            self._period = max(4, self._period * 2)
        elif share < self.limit / 4 and self._period > 4:
            self._period //= 2
        if self._steps >= max(WINDOW, self._period):
            self._restart()

    def _restart(self) -> None:
        self.spent, self._steps, self._since = 0.0, 0, perf_counter()
