"""Ranges of numbers: what limits are learned, that they add up over runs, and what is refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.grammar.diagnostics import TcrError
from tcrules.rules.infer.family import Table, Unit
from tcrules.rules.infer.model import Counts, Interval, Learned, Shape
from tcrules.rules.infer.options import Options
from tcrules.rules.infer.ranges import learn_ranges, level, limits, widened
from tcrules.rules.infer.templates import load_templates

SHAPE = Shape("norm", (("O", "optimizer"),), (("Range", "int"),), (), frozenset({"range", "default"}))
POSITIVE = st.floats(1e-6, 1e6)


def run_with(values: Sequence[float]) -> Counts:
    """The statistics of a run in which one optimizer has these values; those without a level hold nowhere."""
    levels = Counter(level(value) for value in values if 0 < value < math.inf)
    return Counts({(("SGD#0",), ()): len(values)}, {(("SGD#0",), (), (n,)): k for n, k in levels.items()})


def learned(runs: Sequence[Sequence[float]], options: Options | None = None) -> list[Learned]:
    return learn_ranges(Table(SHAPE, [Unit(run_with(values)) for values in runs]), options or Options())[0]


def interval_of(rule: Learned) -> Interval:
    interval = dict(rule.filling)["Range"]
    assert isinstance(interval, Interval)
    return interval


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(POSITIVE, min_size=3, max_size=9), min_size=2, max_size=4))
def test_all_values_of_all_runs_lie_inside_with_room(runs: list[list[float]]) -> None:
    for rule in learned(runs):
        low, high = limits(interval_of(rule))
        for value in (value for run in runs for value in run):
            assert low * 1.5 < value < high / 1.5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(POSITIVE, min_size=3, max_size=9), min_size=2, max_size=4), st.randoms())
def test_the_order_of_runs_and_of_values_does_not_matter(runs: list[list[float]], random: object) -> None:
    turned = [list(reversed(run)) for run in reversed(runs)]
    assert learned(runs) == learned(turned)


def test_an_outlier_moves_one_limit_and_not_the_room_beside_the_others() -> None:
    calm = interval_of(*learned([[1.0] * 20, [1.0] * 20, [1.0] * 20]))
    spike = interval_of(*learned([[1.0] * 20, [1.0] * 20, [1.0] * 19 + [100.0]]))
    assert spike.low == calm.low
    assert spike.high == calm.high + level(100.0)


def test_values_that_scatter_get_more_room() -> None:
    calm, wild = widened(Counter([0] * 9), 3), widened(Counter([-4, -4, -4, 0, 0, 4, 4, 4]), 3)
    assert (calm.low, calm.high) == (-3, 3)
    assert (wild.low, wild.high) == (-4 - 11, 4 + 11)


def test_limits_are_two_digits_away_from_what_was_seen() -> None:
    assert limits(Interval(0, 0)) == (1.0, 1.3)
    assert limits(Interval(-40, -37)) == (4.5e-05, 0.00013)


@pytest.mark.parametrize(
    "runs",
    [
        [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0] * 3],  # zero has no level
        [[1.0, 1.0, math.inf], [1.0, 1.0, 1.0], [1.0] * 3],
        [[1e-9, 1.0, 1e9], [1.0, 1.0, 1.0], [1.0] * 3],  # says nothing
        [[1.0, 1.0, 1.0], []],  # one run only
    ],
)
def test_what_is_not_learned(runs: list[list[float]]) -> None:
    table = Table(SHAPE, [Unit(run_with(values) if values else Counts()) for values in runs])
    rules, dropped = learn_ranges(table)
    assert not rules and len(dropped) == 1 and dropped[0].reason


def test_thresholds_are_options() -> None:
    runs = [[1.0] * 3, [1.0] * 3, [1.0] * 3]
    assert interval_of(*learned(runs, Options(range_room=9))) == Interval(-9, 9)
    assert learned(runs, Options(widest_range=5)) == []


def test_a_template_that_measures_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.tcr"
    file.write_text(
        "template t(?N: int) @tags(range) {\n"
        '    each parameter(param: P, owners: N) expect N = ?N about P message "m"\n}\n'
    )
    with pytest.raises(TcrError, match="does not say of which number") as caught:
        load_templates([file])
    assert "bad.tcr:1:1" in str(caught.value)
