"""Which candidates become rules: filters, risks, the budget, settings, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.rules.infer.family import Unit, is_text_of, tally
from tcrules.rules.infer.filters.budget import over_budget
from tcrules.rules.infer.filters.holdout import Trial, fit
from tcrules.rules.infer.learn import learn, learn_family
from tcrules.rules.infer.model import Configured, Counts, Evidence, Learned, Literal, Run, Shape
from tcrules.rules.infer.options import STAGES, Options, thresholds

PLAIN = Shape("t", (("P", "param"),), (), (), frozenset({"default"}))
NESTED = Shape("t", (("A", "api"),), (("B", "api"),), ())
GUARDED = Shape("t", (), (), (("C", "string"),), frozenset({"default"}))
VALUED = Shape("t", (("O", "optimizer"),), (("N", "int"),), (), frozenset({"default", "set"}))


def plain(**numbers: tuple[int, int]) -> Counts:
    return Counts(
        {((name,), ()): n for name, (n, _) in numbers.items()},
        {((name,), (), ()): h for name, (_, h) in numbers.items()},
    )


# ------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    "wrong", [{"least_runs": 0}, {"chance": -0.1}, {"without": frozenset({"thinking"})}, {"prior_risk": -1.0}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if "without" not in wrong else "thinking"):
        Options(**wrong)  # type: ignore[arg-type]


def test_every_threshold_is_explained() -> None:
    found = list(thresholds())
    assert len(found) > 8
    assert all(one.doc.endswith(".") and one.flag.startswith("--") for one in found)


# ------------------------------------------------------------------------------------------------ chance


def nested(inside: int, elsewhere: int) -> Counts:
    """`a` contains `b` always; of 100 other calls `elsewhere` do."""
    return Counts(
        {(("a",), ()): inside, (("c",), ()): 100},
        {(("a",), (), ("b",)): inside, (("c",), (), ("b",)): elsewhere},
    )


@pytest.mark.parametrize(("elsewhere", "rules"), [(5, 1), (95, 0)])
def test_what_holds_elsewhere_as_often_holds_by_chance(elsewhere: int, rules: int) -> None:
    units = [Unit(nested(10, elsewhere), steps=10) for _ in range(3)]
    found, dropped = learn_family(NESTED, units)
    assert len(found) == rules
    assert [one.stage for one in dropped if one.stage == "chance"] == ["chance"] * (1 - rules)


def test_repetitions_within_a_step_are_no_evidence() -> None:
    once, often = (
        learn_family(NESTED, [Unit(nested(1000, 50), steps=steps) for _ in range(3)])[0] for steps in (1, 8)
    )
    assert not once and len(often) == 1


def test_a_guard_that_may_be_an_accident_is_dropped() -> None:
    def unit(x: int, y: int, failed: int) -> Unit:
        return Unit(
            Counts({((), ("x",)): x, ((), ("y",)): y}, {((), ("x",), ()): x, ((), ("y",), ()): y - failed}),
            50,
        )

    (rule,) = learn_family(GUARDED, [unit(20, 20, 10)] * 3)[0]
    assert rule.guard == (Literal("C", "=", "x"),)
    found, (dropped,) = learn_family(GUARDED, [unit(20, 20, 1)] * 3)
    assert not found and dropped.stage == "chance"
    assert len(learn_family(GUARDED, [unit(20, 20, 1)] * 3, Options(chance=0.5))[0]) == 1


# ------------------------------------------------------------------------------------------------ risk and budget


def runs(*counts: Counts, configured: Sequence[dict[str, str]] = ()) -> list[Run]:
    return [
        Run(f"r{place}", "p", {"t": one}, steps=10, settings=configured[place] if configured else {})
        for place, one in enumerate(counts)
    ]


def test_without_failures_the_risk_is_below_the_prior() -> None:
    risk = fit([[Trial(30, 0)] * 3], Options())
    assert risk.after(Trial(90, 0)) <= Options().prior_risk
    assert fit([], Options()).mean == Options().prior_risk


def test_families_share_what_is_known_of_failures() -> None:
    healthy, shaky = [Trial(10, 0)] * 3, [Trial(10, 2)] * 3
    alone, together = fit([healthy], Options()), fit([healthy, shaky], Options())
    assert together.mean > alone.mean
    assert together.after(Trial(30, 6)) > together.after(Trial(30, 0))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 20).flatmap(
    lambda n: st.builds(Trial, st.just(n), st.integers(0, n))), max_size=4), max_size=5))  # fmt: skip
def test_a_risk_is_a_probability(families: list[list[Trial]]) -> None:
    risk = fit(families, Options())
    for trials in families:
        assert 0 < risk.after(sum(trials, Trial())) < 1


def test_a_family_that_fails_on_left_out_runs_is_dropped() -> None:
    steady = {f"p{n}": (9, 9) for n in range(4)}
    shaky = [
        plain(**{**steady, **{f"q{n}": (9, 8 if n == run else 9) for n in range(3)}}) for run in range(3)
    ]
    lessons = learn(runs(*shaky), {"t": PLAIN})
    assert not lessons.rules and {one.stage for one in lessons.dropped} == {"failures", "hold-out"}
    (kept,) = learn(runs(*shaky), {"t": PLAIN}, Options(highest_risk=1.0, alarm_budget=9.0)).rules
    assert (kept.evidence.left_out, kept.evidence.left_out_failed) == (6, 3) and kept.evidence.risk > 0.1
    assert len(learn(runs(*shaky), {"t": PLAIN}, Options(without=frozenset({"hold-out"}))).rules) == 1


def rule(name: str, risk: float, caught: int = 0, tier: str = "warning", left_out: int = 9) -> Learned:
    evidence = Evidence(3, 9, left_out=left_out, risk=risk, caught=caught)
    return Learned(f"t{name[0]}", (("P", name),), (), evidence, tier)


def test_the_budget_takes_what_finds_most_for_its_risk() -> None:
    given = [rule("a", 0.06), rule("b", 0.06, caught=5), rule("c", 0.03), rule("d", 0.06, tier="note")]
    kept, dropped = over_budget(given, Options(alarm_budget=0.1))
    assert [one.filling[0][1] for one in kept] == ["b", "c", "d"]
    assert [(one.stage, one.keep) for one in dropped] == [("budget", "--alarm-budget 0.15")]


def test_rules_of_one_template_cost_together_what_one_costs() -> None:
    kept, dropped = over_budget(
        [rule(f"a{n}", 0.06) for n in range(9)] + [rule("b", 0.06)], Options(alarm_budget=0.1)
    )
    assert [one.filling[0][1] for one in kept] == [f"a{n}" for n in range(9)]
    assert len(dropped) == 1


def test_rules_that_could_not_be_tried_are_not_counted_against_the_budget() -> None:
    assert len(over_budget([rule(f"p{n}", 0.5, left_out=0) for n in range(9)], Options())[0]) == 9


# ------------------------------------------------------------------------------------------------ settings

KEY = "accum"


def windows(*values: int) -> Counts:
    return Counts({(("SGD#0",), ()): 9 * len(values)}, {(("SGD#0",), (), (v,)): 9 for v in values})


def test_a_value_that_follows_a_setting_is_learned_as_such() -> None:
    other = "batch"
    settings = [{KEY: "2", other: "8"}, {KEY: "4", other: "8"}, {KEY: "2", other: "8"}]
    given = runs(windows(2), windows(4), windows(2), configured=settings)
    (found,) = learn(given, {"t": VALUED}).rules
    assert found.filling == (("O", "SGD#0"), ("N", Configured(KEY)))
    assert found.evidence.triggers == 27
    assert tally(found, VALUED, Unit(windows(4), settings={KEY: "4"})) == (9, 0)
    assert tally(found, VALUED, Unit(windows(4), settings={KEY: "2"})) == (9, 9)


@pytest.mark.parametrize(
    "settings",
    [
        [{KEY: "2"}, {KEY: "2"}, {KEY: "2"}],
        [{KEY: "2"}, {}, {KEY: "2"}],
        [{KEY: "two"}, {KEY: "four"}, {KEY: "two"}],
    ],
)
def test_a_setting_that_does_not_follow_is_not_taken(settings: list[dict[str, str]]) -> None:
    given = runs(windows(2), windows(4), windows(2), configured=settings)
    assert all(Configured(KEY) not in dict(one.filling).values() for one in learn(given, {"t": VALUED}).rules)


def test_a_constant_is_preferred_to_a_setting() -> None:
    given = runs(*[windows(2)] * 3, configured=[{KEY: "2"}, {KEY: "2"}, {KEY: "2"}])
    assert learn(given, {"t": VALUED}).rules[0].filling[1] == ("N", 2)


@given(
    st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False), st.text(max_size=5), st.booleans())
)
def test_every_value_equals_its_text(value: int | float | str | bool) -> None:
    assert is_text_of(str(value), value)


# ------------------------------------------------------------------------------------------------ stages


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_left_out(stage: str) -> None:
    counts = Counts(
        {(("a", ), ("x",)): 9, (("b",), ("x",)): 9, (("b",), ("y",)): 9},
        {(("a",), ("x",), ()): 9, (("b",), ("x",), ()): 9},
    )  # fmt: skip
    shape = Shape("t", (("P", "param"),), (), (("C", "string"),), frozenset({"default"}))
    found = learn(runs(counts, counts, counts), {"t": shape}, Options(without=frozenset({stage}))).rules
    assert found
    assert any(one.guard for one in found) == (stage != "guards")
