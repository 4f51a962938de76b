"""Step numbers of the loops that people write. D, G, … stand for optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tcrules.instrument.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

F, B, Z = "forward", "backward", "zero"


class Trace:
    """Plays events to a clock and notes which step each one was stamped with."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.finished: list[int] = []
        self.times: list[tuple[int, int]] = []
        self.clock.on_steps = self._over
        self.stamps: dict[str, list[int]] = {}

    def _over(self, steps: Sequence[tuple[int, int, int]]) -> None:
        for step, begin, end in steps:
            assert begin < end
            self.finished.append(step)
            self.times.append((begin, end))

    def play(self, *events: str, times: int = 1) -> Trace:
        for event in events * times:
            if event == F:
                self.clock.before_forward()
            elif event == Z:
                self.clock.before_clear()
            elif event not in (B, "other"):
                self.clock.before_optimizer(event)
            self.stamps.setdefault(event, []).append(self.clock.step)
            self.clock.tick()
            if event == B:
                self.clock.backward_done()
            elif event not in (F, Z, "other"):
                self.clock.optimizer_stepped(event)
        return self


def made(*optimizers: str) -> Trace:
    trace = Trace()
    for name in optimizers:
        trace.clock.optimizer_made(name)
    return trace


@pytest.mark.parametrize(
    "loop",
    [(Z, F, B, "A"), (F, B, "A", Z), (F, Z, B, "A"), (Z, F, B, "A", Z), (F, B, "A")],
    ids=["zero first", "zero last", "zero between", "zero twice", "never"],
)
def test_plain_loops_count_iterations(loop: tuple[str, ...]):
    trace = made("A").play(*loop, times=5)
    assert trace.stamps["A"] == [0, 1, 2, 3, 4]
    assert trace.stamps[F] == [0, 1, 2, 3, 4]
    trace.clock.close()
    assert trace.finished == [0, 1, 2, 3, 4]
    trace.clock.close()
    assert trace.finished == [0, 1, 2, 3, 4], "only once"


def test_a_step_is_over_when_the_next_begins():
    trace = made("A").play(F, B, "A")
    assert trace.finished == []
    trace.play("other", F)
    assert trace.stamps["other"] == [0], "evaluation and schedulers belong to the finished step"
    assert trace.finished == [0]
    trace.clock.close()
    assert trace.finished == [0], "an unfinished step is not reported"


def test_accumulation_is_one_step():
    trace = made("A").play(F, B, F, B, F, B, "A", Z, times=3)
    assert trace.stamps["A"] == [0, 1, 2]
    assert trace.stamps[F] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_scaler_that_skips():
    """The scaler's probe reports the step that it left out; the numbers are those of the plain loop."""
    assert made("A").play(F, B, "A", Z, times=3).stamps["A"] == [0, 1, 2]


def test_closures_belong_to_the_step_that_calls_them():
    trace = made("L")
    for expected in range(3):
        trace.clock.before_optimizer("L")
        for _ in range(4):
            trace.play(Z, F, B)
            assert trace.clock.step == expected
        trace.clock.optimizer_stepped("L")
    assert trace.stamps[F] == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("critic", [1, 2, 5])
def test_gan_is_one_step_per_iteration(critic: int):
    iteration = (F, B, "D") * critic + (F, B, "G")
    trace = made("D", "G").play(*iteration, times=6)
    settled = trace.stamps["G"][1:]
    assert settled == list(range(settled[0], settled[0] + 5)), "one step per iteration after the first"
    first = trace.stamps["D"][critic:]
    assert first == [step for step in settled for _ in range(critic)], "D and G of an iteration share a step"


def test_two_optimizers_for_the_same_gradients():
    trace = made("A", "B").play(F, B, "A", "B", times=4)
    assert trace.stamps["A"] == trace.stamps["B"] == [0, 1, 2, 3]


def test_pretraining_optimizer_that_stays_alive():
    trace = made("A").play(F, B, "A", times=5)
    trace.clock.optimizer_made("B")
    trace.play(F, B, "B", times=30)
    stamps = trace.stamps["B"]
    assert stamps[0] == 5, "the newcomer has a step of its own"
    assert stamps[1:9] == [6] * 8, "then the other one is waited for"
    assert stamps[9:] == list(range(7, 7 + len(stamps) - 9)), "then it is not any more"


def test_an_optimizer_that_is_gone_is_not_waited_for():
    trace = made("A").play(F, B, "A", times=5)
    trace.clock.optimizer_gone("A")
    trace.clock.optimizer_made("B")
    assert trace.play(F, B, "B", times=5).stamps["B"] == [5, 6, 7, 8, 9]


def test_going_in_the_middle_of_a_round_ends_it():
    trace = made("A", "B").play(F, B, "A", F, B, "B", F, B, "A")
    before = trace.clock.step
    trace.clock.optimizer_gone("B")
    trace.play(F)
    assert trace.clock.step == before + 1


def test_many_steps_in_a_round_end_it():
    trace = made("D", "G").play(*(F, B, "D") * 12, F, B, "G", times=4)
    assert max(trace.stamps["D"].count(step) for step in set(trace.stamps["D"])) == 8


def test_without_an_optimizer_a_step_is_a_backward():
    trace = made().play(F, B, "other", times=3)
    assert trace.stamps["other"] == [0, 1, 2]


def test_first_optimizer_step_ends_the_counting_of_backwards():
    trace = made().play(F, B, times=2)
    trace.clock.optimizer_made("A")
    trace.play(F, B, F, B, "A", times=2)
    assert trace.stamps["A"] == [2, 3]


def test_an_optimizer_that_never_steps_does_not_stop_time():
    assert made("A").play(F, B, times=100).clock.step == 35


def test_ticks_are_unique_and_ascending():
    clock = Clock()
    assert [clock.tick() for _ in range(3)] == [1, 2, 3]


@given(st.lists(st.sampled_from([Z, F, "A", "ask", "wait"]), max_size=40))
def test_what_is_told_later_is_the_same(events: list[str]):
    at_once, later = (made("A").play(F, B, "A") for _ in range(2))
    rounds: tuple[list[int], list[int]] = ([], [])
    at_once.clock.on_round, later.clock.on_round = rounds[0].append, rounds[1].append
    for event in events:
        if event == "ask":
            assert later.clock.step == at_once.clock.step and later.finished == at_once.finished
        elif event == "wait":
            later.clock.wait(3)
        elif event == "A" and later.clock.clears_later():
            later.clock.tick()
            later.clock.steps_later()
            at_once.play("A")
        elif event == Z and later.clock.clears_later():
            later.clock.tick()
            at_once.play(Z)
        else:
            at_once.play(event)
            later.play(event)
        assert later.clock.between == at_once.clock.between
    at_once.clock.close()
    later.clock.close()
    assert later.finished == at_once.finished and later.times == at_once.times
    assert rounds[0][-1:] == rounds[1][-1:] and set(rounds[1]) <= set(rounds[0])
    assert later.clock.tick() == at_once.clock.tick()


def test_nothing_waits_where_there_are_two_optimizers():
    clock = made("D", "G").play(F, B, "D", F, B, "G", times=3).clock
    clock.wait(3)
    assert not clock.clears_later()


def test_a_child_knows_the_step_and_tells_none_of_its_parent():
    trace = made("A").play(F, B, "A")
    trace.clock.wait(3)
    for _ in range(2):
        assert trace.clock.clears_later()
        trace.clock.steps_later()
    trace.clock.after_fork()
    assert trace.finished == [] and trace.clock.step == 2
    trace.clock.close()
    assert trace.finished == [] and not trace.clock.clears_later()
