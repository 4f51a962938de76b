"""Keeps the time that recording takes within its share of the training's own: most steps may go unrecorded.

The first steps are recorded in full: most faults show from the beginning, and short runs, from which rules are learned,
must not depend on how busy the machine was. Where recording takes more than its budget from then on, whole steps are
left out. In these only what counts on is kept (steps, ordinals of optimizers, schedulers and batches), rare events
(checkpoints, seeds, changes of mode, the first evaluations after a step), and what exists. Each period has a stretch of
two successive steps that are recorded with everything, for rules that compare neighbours. Periods are powers of two, so
that ranks whose governors disagree still have steps in common.

A gap says what is left out from when on; facts of `recorded_steps` say in which steps it is not. A stretch begins when
the step before it is over, so that the batch that its first step uses belongs to it.

Of the steps that are recorded, what is dear is looked at in the first ones and in every 16th only (`looks`). A relation
of which facts were left out for that reason has a gap and stretches of its own.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tcrules.instrument.schema import SAMPLED, SPARSE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.instrument.session import Session

#: Time of recording per time of training, usually and in full mode, which nobody leaves on; overridden by the session's
#: option `overhead`, 0 = no limit.
BUDGET, FULL_BUDGET = 0.02, 0.5
#: Steps that are always recorded, overridden by the option `warm_up`; and over how many the cost is looked at before.
WARM_UP, WINDOW = 512, 64
#: Steps in a stretch, and in the shortest and the longest period.
STRETCH, SHORTEST, LONGEST = 2, 4, 1024
#: Steps that are left out are told at once for so many: the step facts of a long run may be so late.
GRAIN = 16
#: What is dear is looked at in so many first steps, and in every so many.
FIRST_STEPS, EVERY = 3, 16
#: Recording also costs what calls the callbacks, and what they drive out of caches: recorded steps take longer by that.
#: So many times the callbacks' time is believed of it; the rest is taken for chance.
HIDDEN = 1.0
#: Evaluations that are recorded after a step of which nothing else is.
EVALUATIONS = 4
#: What is left out; and how `recorded_steps` calls all of it.
ALL = "*"
RELATIONS = (
    *(
        "call",
        "signature",
        "location",
        "forward",
        "module_call",
        "dropout_call",
        "rng",
        "param_state",
        "buffer_state",
    ),
    *("trainability", "tie_state", "loss_call", "backward", "accumulate", "zero_grad", "clip"),
    *("scaler_scale", "scaler_unscale", "scaler_step", "scaler_update", "optimizer_step", "param_group"),
    *("gradient", "update", "optimizer_state", "scheduler_step", "batch", "batch_field", "batch_use"),
    *("gradient_point", "optimizer_slot", "autocast_region", "layer_gradient", "forward_argument"),
    *("forward_reached", "attention_call", "loss_graph"),
)


class Governor:
    """Decides which steps are recorded.

    Attributes:
        open: what happens now is recorded.
        spent: seconds that callbacks took in this step; they add to it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.budget = _budget(session.options)
        self.warm_up = int(session.options.get("warm_up", WARM_UP))
        self.open = True
        self.spent = 0.0
        self._device = 0.0
        self._put = session.put("recorded_steps")
        self._period = 1
        self._first = 0  # of the stretch
        #: A stretch may begin at multiples only; until then what happens may be told later.
        self._grain = SHORTEST
        self._gap = False
        #: Relations that were not looked at in all steps.
        self._sparse: set[str] = set()
        self._evaluations = 0
        #: When the step began that is measured next, and its number: of those left out several are measured at once.
        self._since, self._next = perf_counter(), 0
        #: Seconds of a step: of its recording, and without; smoothed.
        self._cost = self._plain = 0.0
        #: By how much recorded steps take longer than others, and than their callbacks.
        self._hidden = 0.0
        self._recording = self._training = 0.0
        self._recorded = 0
        session.cost = self.cost
        session.on_close(self.close)
        session.on_fork(self.after_fork)

    def looks(self, step: int, *relations: str) -> bool:
        """Whether relations of dear facts are recorded in this step; where they are not, they have a gap."""
        if step < FIRST_STEPS or step % EVERY == 0:
            return True
        if not self._sparse.issuperset(relations):
            self._sparse.update(relations)
            for relation in relations:
                self.session.gap(relation, SPARSE, first_step=step)
        return False

    def evaluates(self) -> bool:
        """Whether an evaluation after an unrecorded step is recorded all the same."""
        self._evaluations += 1
        return self._evaluations <= EVALUATIONS

    def device(self, seconds: float) -> None:
        """A device has worked for the recording."""
        self._device += seconds

    def round_over(self, step: int) -> None:
        """All optimizers have stepped: a stretch may begin with what comes between this step and the next."""
        if self.open:
            return
        if (step + 1) % self._grain == 0:
            self.open = self._wanted(step + 1)
            self._first, self._grain = step + 1, min(max(self._period, SHORTEST), GRAIN)
        self.session.clock.wait(0 if self.open else -(step + 2) % self._grain)

    def step_over(self, step: int) -> None:
        """Step `step` is over: decide about the next one."""
        self._evaluations = 0
        if not self.open and step % self._grain:
            return
        now = perf_counter()
        # what is computed on a device goes on beside the host: the larger of both delays the training
        spent = max(self.spent, self._device)
        plain = max(now - self._since - spent, 0.0)
        steps, self._next = step + 1 - self._next, step + 1
        self.spent, self._device, self._since = 0.0, 0.0, now
        recorded = self.open and self._first <= step
        self._recorded += recorded
        if recorded:
            self._looked(step)
        if step > 0:  # which pays for what is made once
            self._recording, self._training = self._recording + spent, self._training + plain
        if step < self.warm_up - WINDOW:
            return  # kernels are chosen, files are opened
        self._measure(spent, plain, steps, recorded=recorded)
        if step + 1 < self.warm_up or self.budget <= 0 or not self.session.clock.stepped:
            return
        if not self.open:
            self._adapt()
            return
        if step + 1 >= self._first + STRETCH:
            self._adapt()
        if self._gap and self._first <= step:
            # with each step: who follows the run must not wait for the end of the stretch
            self._put(self._first, step, ALL)
        if not self._wanted(step + 1):
            self._shut(step)

    def close(self) -> None:
        """The run is over: what was recorded last counts."""
        step = self.session.clock.step
        if self.open and self._first <= step:
            self._looked(step)
            if self._gap:
                self._put(self._first, step, ALL)

    def after_fork(self) -> None:
        """A child has written no gap yet: it is recorded until it has."""
        self.open, self._gap, self._first = True, False, self.session.clock.step
        self._sparse.clear()

    def cost(self) -> dict[str, float]:
        """Seconds that recording took since the first step ended, those that training took, and the steps recorded."""
        return {"recording": self._recording, "training": self._training, "recorded_steps": self._recorded}

    def _wanted(self, step: int) -> bool:
        return step < self.warm_up or self._period == 1 or step % self._period < STRETCH

    def _looked(self, step: int) -> None:
        """Step `step` was recorded: also what is dear?"""
        if step >= FIRST_STEPS and step % EVERY == 0:
            for relation in sorted(self._sparse):
                self._put(step, step, relation)

    def _shut(self, step: int) -> None:
        self.open = False
        if self._gap:
            return
        self._gap = True
        for relation in RELATIONS:
            self.session.gap(relation, SAMPLED, first_step=step + 1)

    def _measure(self, spent: float, plain: float, steps: int, *, recorded: bool) -> None:
        if not recorded or self._period == 1:
            self._plain += (plain - steps * self._plain) / WINDOW if self._plain else plain / steps
        if recorded:
            self._cost += (spent - self._cost) / (WINDOW if self._period == 1 else 4) if self._cost else spent
            if self._period > 1:
                self._hidden += (plain - self._plain - self._hidden) / 16

    def _adapt(self) -> None:
        """Choose the shortest period that is within the budget."""
        cost = self._cost + min(max(self._hidden, 0.0), HIDDEN * self._cost)
        share = STRETCH * cost / max(self.budget * self._plain, 1e-12)
        if self._period == 1 and share <= STRETCH:
            return
        if share <= STRETCH / 2:
            self._period = 1
        elif share > self._period or share < self._period / 4:
            self._period = min(max(SHORTEST, 1 << math.ceil(math.log2(share))), LONGEST)


def _budget(options: Mapping[str, Any]) -> float:
    chosen = options.get("overhead")
    if chosen is not None:
        return float(chosen)
    return FULL_BUDGET if options.get("full") else BUDGET


__all__ = ["BUDGET", "RELATIONS", "STRETCH", "WARM_UP", "Governor"]
