"""What time it is in a training run: an event counter and the number of the training step.

A step is a round in which every active optimizer stepped once. The loop is never asked: the rule must give
the same numbers for plain loops, accumulation, closures, scalers and several optimizers (see the table in
README.md).
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: An optimizer that did not step in this many finished rounds is no longer waited for.
ACTIVE_ROUNDS = 2
#: Steps of one optimizer in a round after which the round no longer waits for the others.
MAX_STEPS_IN_ROUND = 8
#: Backward passes without any optimizer step after which an optimizer that exists is taken for unused.
PATIENCE = 64
#: Among times at which steps began: the only optimizer has stepped.
STEPPED = 0


class Clock:
    """Event times and step numbers of one process.

    Events between the end of a round and the start of the next (evaluation, scheduler, logging) carry the
    number of the finished round. The next step starts with the first outermost gradient forward, or clearing
    of gradients, or step of an optimizer that stepped in this round already.

    Attributes:
        tick: returns the next event time, from 1; about 30 ns, safe in any thread.
        later: so many steps may yet be told later, together.
        between: a step is over and the next has not begun.
        on_steps: called with (step, begin, end) of finished steps that are over, that is when the next one has begun.
        on_round: called with the step when all its optimizers have stepped; with the last of several told together.
    """

    def __init__(self) -> None:
        self.tick: Callable[[], int] = count(1).__next__
        self._step = 0
        self.later = 0
        self.between = False
        #: What happened and was not told: when a step began, or `STEPPED`.
        self._untold: deque[int] = deque()
        self.on_steps: Callable[[Sequence[tuple[int, int, int]]], None] = lambda _steps: None
        self.on_round: Callable[[int], None] = lambda _step: None
        self._begin = 0
        self._round: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._rounds = 0
        self._made: set[str] = set()
        self._stepped = False
        self._backwards = 0
        # re-entrant: `on_steps` may free an optimizer, whose weak reference calls `optimizer_gone`
        self._lock = threading.RLock()

    @property
    def step(self) -> int:
        """Number of the current step, from 0."""
        if self._untold:
            self._tell()
        return self._step

    def optimizer_made(self, name: str) -> None:
        """An optimizer exists: a loop that accumulates before its first step is not taken for one without."""
        with self._lock:
            self._made.add(name)

    def optimizer_gone(self, name: str) -> None:
        """An optimizer is gone, or another one took over its parameters: no round waits for it any more."""
        with self._lock:
            self._tell()
            self._made.discard(name)
            self._last.pop(name, None)
            if self._round and not self.between and not self._waiting():
                self._complete()

    def before_optimizer(self, name: str) -> None:
        """`name` is about to step. Call it before the event of the step is stamped."""
        self._tell()
        if self.between and name in self._round:
            self._start()

    def optimizer_stepped(self, name: str) -> None:
        """`name` has stepped, or its scaler skipped the step; closures and all."""
        with self._lock:
            self._stepped = True
            self._tell()
            newcomer = not self._is_active(name)
            if self.between and name in self._round:
                self._start()
            alone = not self._round
            self._round[name] = self._round.get(name, 0) + 1
            self._last[name] = self._rounds
            if self.between:
                return  # a second optimizer for the same gradients, it joins the round
            # A newcomer that opens a round ends it: rounds then end where the loop's iteration ends (GAN: D,
            # G, [D G]).
            if (newcomer and alone) or self._round[name] >= MAX_STEPS_IN_ROUND or not self._waiting():
                self._complete()

    def before_forward(self) -> None:
        """An outermost forward with gradients is about to run."""
        self._tell()
        if self.between:
            self._start()

    def before_clear(self) -> None:
        """Gradients are about to be cleared."""
        self._tell()
        if self.between:
            self._start()

    def wait(self, steps: int) -> None:
        """So many steps may be told later, if there is one optimizer; they are told when somebody asks for the step."""
        self.later = steps if len(self._last) == 1 else 0

    def clears_later(self) -> bool:
        """As `before_clear`, but told when somebody asks; False if it cannot wait, and nothing was done.

        Code that runs seldom is slow, since the caches have forgotten it: many steps told at once cost what one costs.
        """
        if self.later <= 0:
            return False
        if self.between:
            self.between = False
            self.tick()  # the end of the last step
            self._untold.append(self.tick())
        return True

    def steps_later(self) -> None:
        """As `optimizer_stepped` of the only optimizer, but told when somebody asks; where a step has begun only."""
        self.later -= 1
        self.between = True
        self._untold.append(STEPPED)

    def backward_done(self) -> None:
        """A backward pass has ended. Where nothing else steps, the next gradient forward starts a step."""
        if self._stepped:
            return
        with self._lock:
            self._backwards += 1
            if not self._made or self._backwards > PATIENCE:
                self.between = True

    def gradients_taken(self) -> None:
        """Gradients were returned to the program (`torch.autograd.grad`), which may apply them by hand.

        Unlike a backward this never outweighs an optimizer that exists: inner loops take any number before its step.
        """
        with self._lock:
            if not self._stepped and not self._made:
                self.between = True

    def close(self) -> None:
        """The run is over: report the last step if it was finished."""
        with self._lock:
            self.later = 0
            self._tell()
            if self.between:
                self.on_steps([(self._step, self._begin, self.tick())])
                self.between = False

    def after_fork(self) -> None:
        """Replace the lock, which another thread may have held; a child reports no step of its parent."""
        self._lock = threading.RLock()
        self.later = 0
        self.on_steps, report = lambda _steps: None, self.on_steps
        self._tell()
        self.on_steps = report
        self.between = False

    def _is_active(self, name: str) -> bool:
        return name in self._last and self._last[name] >= self._rounds - ACTIVE_ROUNDS

    def _waiting(self) -> bool:
        """Whether an active optimizer has yet to step in this round."""
        if self._last.keys() <= self._round.keys():  # as with one optimizer
            return False
        return any(name not in self._round for name in list(self._last) if self._is_active(name))

    def _complete(self) -> None:
        late = self._last.keys() - self._round.keys()
        if late and self._round and max(self._round.values()) >= MAX_STEPS_IN_ROUND:
            self._last.update(dict.fromkeys(late, -ACTIVE_ROUNDS - 1))
        self.between = True
        self.on_round(self._step)

    @property
    def stepped(self) -> bool:
        """Whether an optimizer has stepped."""
        return self._stepped

    def _start(self) -> None:
        with self._lock:
            if self.between:
                self.on_steps([(self._step, self._begin, self.tick())])
                self.between = False
                self._round = {}
                self._rounds += 1
                self._step += 1
                self._begin = self.tick()

    def _tell(self) -> None:
        if not self._untold:
            return
        with self._lock:
            over, ended = [], -1
            while self._untold:
                begin = self._untold.popleft()
                if begin == STEPPED:
                    ended = self._step
                    continue
                over.append((self._step, self._begin, begin - 1))
                self._begin = begin
                self._step += 1
                self._rounds += 1
            (name,) = self._last  # the only optimizer, whose step ends the round
            self._round = {name: 1} if self.between else {}
            self._last[name] = self._rounds if self.between else self._rounds - 1
            if ended >= 0:
                self.on_round(ended)
            if over:
                self.on_steps(over)


__all__ = ["ACTIVE_ROUNDS", "MAX_STEPS_IN_ROUND", "PATIENCE", "Clock"]
