"""The pure stages: names to patterns, guards, candidates, generalisation, reduction of orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tcrules.engine.patterns import glob
from tcrules.rules.infer.candidates import candidates
from tcrules.rules.infer.family import Table, Unit, merged, tally
from tcrules.rules.infer.filters import sift
from tcrules.rules.infer.generalise import generalise
from tcrules.rules.infer.guards import Cell, learn_guards, matches
from tcrules.rules.infer.learn import learn, learn_family
from tcrules.rules.infer.model import Choice, Counts, Evidence, Learned, Literal, Pattern, Run, Shape
from tcrules.rules.infer.names import cover
from tcrules.rules.infer.options import Options
from tcrules.rules.infer.reading import script_of

PLAIN = Shape("t", (("P", "param"),), (), (), frozenset({"default"}))
VALUED = Shape("t", (("P", "param"),), (("N", "int"),), (), frozenset({"default", "set", "once"}))
GUARDED = Shape("t", (("M", "module"),), (), (("A", "bool"), ("B", "string")), frozenset({"default"}))


def plain(**numbers: tuple[int, int]) -> Counts:
    """Statistics of `PLAIN`: name -> (triggers, held)."""
    return Counts(
        {((name,), ()): n for name, (n, _) in numbers.items()},
        {((name,), (), ()): h for name, (_, h) in numbers.items()},
    )


def units(*counts: Counts, steps: int = 0) -> list[Unit]:
    """Runs with these statistics."""
    return [Unit(one, steps) for one in counts]


# ------------------------------------------------------------------------------------------------ names

parts = st.sampled_from(["a", "b", "0", "1", "weight", "bias"])
names = st.lists(parts, min_size=1, max_size=4).map(lambda words: ".".join(["Net", *words]))


@given(st.sets(names, max_size=12), st.sets(names, max_size=6))
def test_patterns_cover_all_good_names_and_no_bad_one(good: set[str], bad: set[str]) -> None:
    patterns = cover(good, bad - good)
    assert {name for covered in patterns.values() for name in covered} == good
    for pattern, covered in patterns.items():
        assert len(covered) == 1 or all(glob(pattern, name) for name in covered)
        assert not any(glob(pattern, name) for name in bad - good)


@pytest.mark.parametrize(
    ("good", "bad", "patterns"),
    [
        (["Net.a.weight", "Net.a.bias", "Net.b.weight"], [], ["*"]),
        (["Net.h.0.weight", "Net.h.1.weight"], ["Net.h.0.bias"], ["Net.h.*.weight"]),
        (["Net.a.weight", "Net.b.weight"], ["Net.a.bias"], ["*.weight"]),
        (["G.0.weight", "G.0.bias", "D.0.weight"], ["D.0.bias"], ["G.*", "D.0.weight"]),
        (["G.0.weight", "D.0.weight"], ["D.0.bias"], ["*.weight"]),
        (["Net.od*d"], ["Net.odd"], ["Net.od*d"]),
        ([], ["Net.a"], []),
    ],
)
def test_the_broadest_pattern_without_a_counterexample_is_taken(
    good: list[str], bad: list[str], patterns: list[str]
) -> None:
    assert set(cover(good, bad)) == set(patterns)


# ------------------------------------------------------------------------------------------------ guards


A, B = [("A", "bool")], [("B", "string")]
AB = [*A, *B]


def cell(values: tuple[object, ...], *per_run: tuple[int, int]) -> Cell:
    return Cell(
        values, {i: n for i, (n, _) in enumerate(per_run)}, {i: f for i, (_, f) in enumerate(per_run)}
    )  # type: ignore[arg-type]


def test_no_guard_is_learned_where_nothing_fails() -> None:
    assert learn_guards([cell(("x",), (5, 0), (5, 0)), cell(("y",), (5, 0), (5, 0))], B, 2) == [()]


def test_a_flag_that_never_varied_is_kept_at_its_value() -> None:
    assert learn_guards([cell((False, "x"), (5, 0), (5, 0))], AB, 2) == [(Literal("A", "=", False),)]


def test_a_planted_guard_is_found() -> None:
    cells = [
        cell((True, "x"), (5, 0), (4, 0)),
        cell((True, "y"), (5, 0), (4, 0)),
        cell((False, "x"), (5, 3), (5, 1)),
    ]
    assert learn_guards(cells, AB, 2) == [(Literal("A", "=", True),)]


def test_a_conjunction_is_found_where_no_single_literal_separates() -> None:
    cells = [
        cell((True, "x"), (5, 0), (5, 0)),
        cell((True, "y"), (5, 1), (5, 1)),
        cell((False, "x"), (5, 1), (5, 1)),
        cell((False, "y"), (5, 2), (5, 2)),
    ]
    assert learn_guards(cells, AB, 2) == [(Literal("A", "=", True), Literal("B", "=", "x"))]


def test_a_guard_that_rests_on_an_accident_of_one_run_is_not_learned() -> None:
    cells = [cell((True,), (5, 0), (4, 0)), cell((False,), (5, 1), (5, 0))]
    assert learn_guards(cells, A, 2) == []


def test_a_guard_needs_instances_in_two_runs() -> None:
    assert learn_guards([cell((True,), (5, 0), (0, 0)), cell((False,), (5, 1), (5, 1))], A, 2) == []


def test_failures_that_no_guard_explains_give_no_rule() -> None:
    assert learn_guards([cell((True,), (5, 1), (5, 1)), cell((False,), (5, 1), (5, 1))], A, 2) == []


vectors = st.tuples(st.booleans(), st.sampled_from(["x", "y", "z"]))
counted = st.integers(0, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@given(st.dictionaries(vectors, st.lists(counted, min_size=2, max_size=3), max_size=6))
def test_a_guard_never_keeps_a_failure(cells: dict[tuple[bool, str], list[tuple[int, int]]]) -> None:
    made = [cell(values, *numbers) for values, numbers in cells.items()]
    for guard in learn_guards(made, AB, 2):
        assert all(one.pure for one in made if matches(guard, ["A", "B"], one.values))


# ------------------------------------------------------------------------------------------------ candidates


def test_a_binding_needs_two_runs() -> None:
    once = candidates(Table(PLAIN, units(plain(p=(9, 9)), plain(), plain())))
    assert once[0] == [] and once[1][0].stage == "support" and once[1][0].keep == "--least-runs 1"
    assert len(candidates(Table(PLAIN, units(plain(p=(9, 9)), plain(p=(9, 9)), plain())))[0]) == 1


def test_few_instances_suffice_where_all_of_three_runs_have_some() -> None:
    assert candidates(Table(PLAIN, units(*[plain(p=(1, 1))] * 2)))[0] == []
    assert len(candidates(Table(PLAIN, units(*[plain(p=(1, 1))] * 3)))[0]) == 1


def test_one_failure_in_any_run_ends_a_rule() -> None:
    assert candidates(Table(PLAIN, units(plain(p=(9, 9)), plain(p=(9, 9)), plain(p=(9, 8)))))[0] == []


def test_without_a_default_something_must_be_able_to_fail() -> None:
    strict = Shape("t", PLAIN.bound, (), ())
    found, (dropped,) = learn_family(strict, units(*[plain(p=(9, 9))] * 2))
    assert found == [] and dropped.stage == "falsifiability"


def test_a_value_that_holds_for_others_only_could_fail() -> None:
    strict = Shape("t", VALUED.bound, VALUED.free, ())
    counts = Counts({(("p",), ()): 9, (("q",), ()): 9}, {(("p",), (), (1,)): 9, (("q",), (), (2,)): 9})
    assert len(learn_family(strict, units(counts, counts))[0]) == 2


def test_values_that_vary_become_a_choice() -> None:
    counts = Counts({(("p",), ()): 10}, {(("p",), (), (4,)): 7, (("p",), (), (2,)): 3})
    (rule,) = candidates(Table(VALUED, units(counts, counts)))[0]
    assert rule.filling == (("P", "p"), ("N", Choice((2, 4))))
    assert tally(rule, VALUED, Unit(counts)) == (10, 0)


def test_a_value_of_one_run_is_no_choice() -> None:
    one = Counts({(("p",), ()): 10}, {(("p",), (), (4,)): 7, (("p",), (), (2,)): 3})
    two = Counts({(("p",), ()): 10}, {(("p",), (), (4,)): 10})
    assert candidates(Table(VALUED, units(one, two, two)))[0] == []


def test_a_run_in_which_a_value_never_held_counts_against_it() -> None:
    held = Counts({(("p",), ()): 10}, {(("p",), (), (4,)): 10})
    never = Counts({(("p",), ()): 10}, {})
    assert candidates(Table(VALUED, units(held, held, never)))[0] == []


def test_true_is_not_one() -> None:
    rule = Learned("t", (("P", "p"), ("N", 1)), (), Evidence(1, 1))
    assert tally(rule, VALUED, Unit(Counts({(("p",), ()): 1}, {(("p",), (), (True,)): 1}))) == (1, 1)


# ------------------------------------------------------------------------------------------------ generalisation


def test_siblings_become_a_pattern() -> None:
    rules = [Learned("t", (("P", f"Net.{n}.weight"),), (), Evidence(3, 10)) for n in range(4)]
    known = [*((f"Net.{n}.weight",) for n in range(4)), ("Net.0.bias",)]
    (rule,) = generalise(PLAIN, rules, known)
    assert rule.filling == (("P", Pattern("Net.*.weight")),)
    assert rule.evidence == Evidence(3, 40, 4)


def test_rules_with_different_guards_are_not_joined() -> None:
    rules = [
        Learned("t", (("M", "a"),), (Literal("A", "=", True),), Evidence(3, 10)),
        Learned("t", (("M", "b"),), (), Evidence(3, 10)),
    ]
    assert len(generalise(GUARDED, rules, [("a",), ("b",)])) == 2


def test_orders_that_follow_from_others_are_dropped() -> None:
    shape = Shape(
        "o", (("O", "optimizer"), ("B", "string")), (("A", "string"),), (), frozenset({"transitive"})
    )
    rules = [
        Learned("o", (("O", "SGD#0"), ("B", later), ("A", earlier)), (), Evidence(3, 9))
        for earlier, later in [("zero", "back"), ("back", "step"), ("zero", "step")]
    ]
    kept, dropped = sift(Table(shape, []), rules, Options(without=frozenset({"falsifiability", "chance"})))
    assert kept == rules[:2] and [one.stage for one in dropped] == ["redundancy"]


# ------------------------------------------------------------------------------------------------ several programs


def run(name: str, project: str, counts: Counts) -> Run:
    return Run(name, project, {"t": counts})


def test_rules_across_programs_name_nothing_of_one_program() -> None:
    runs = [run("a", "x", plain(**{"A.fc": (9, 9)})), run("b", "y", plain(**{"B.fc": (9, 9)}))]
    (rule,) = learn(runs, {"t": PLAIN}).rules
    assert rule.filling == (("P", Pattern("*")),)
    assert rule.evidence.runs == 2


def test_templates_about_one_program_are_not_learned_from_several() -> None:
    local = Shape("t", PLAIN.bound, (), (), PLAIN.tags | {"local"})
    runs = [run("a", "x", plain(p=(9, 9))), run("b", "x", plain(p=(9, 9))), run("c", "y", plain(p=(9, 9)))]
    assert len(learn(runs[:2], {"t": local}).rules) == 1
    assert learn(runs, {"t": local}).rules == ()


def test_a_failure_in_one_program_ends_a_rule_across_programs() -> None:
    runs = [run("a", "x", plain(p=(9, 9))), run("b", "y", plain(p=(9, 9))), run("c", "z", plain(q=(9, 8)))]
    assert learn(runs, {"t": PLAIN}).rules == ()


@given(st.lists(st.dictionaries(st.sampled_from("pqr"), counted, max_size=3), min_size=1, max_size=4))
def test_statistics_add_up_in_any_order(parts: list[dict[str, tuple[int, int]]]) -> None:
    counts = [plain(**one) for one in parts]
    assert merged(counts) == merged(list(reversed(counts)))


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python train.py --seed 3", "train.py"),
        ("torchrun --nproc_per_node=2 --master_port=29500 jobs/train.py x.py", "jobs/train.py"),
        ("python -m torch.distributed.run -m jobs.train", "jobs.train"),
        ("accelerate launch", "accelerate"),
        ("", ""),
    ],
)
def test_a_program_is_told_by_its_script(command: str, script: str) -> None:
    assert script_of(command) == script
