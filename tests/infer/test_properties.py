"""What learning promises, on random facts: counted, learned from and checked by the naive evaluator alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.check import naive_check
from tcrules.engine.ir import Const, Program
from tcrules.grammar.diagnostics import TcrError
from tcrules.instrument.schema import RELATIONS, UNLEARNABLE
from tcrules.rules.infer.guards import matches
from tcrules.rules.infer.learn import learn
from tcrules.rules.infer.model import Configured, Counts, Learned, Run
from tcrules.rules.infer.options import STAGES, Options
from tcrules.rules.infer.templates import TemplateSet, load_templates
from tcrules.rules.infer.write import write

from .helping import ALL, SMALL, Facts, memory_facts, program_of

params = st.sampled_from(["N.a.w", "N.a.b", "N.0.w", "N.1.w"])
parameter = st.fixed_dictionaries(
    {"param": params, "root": st.sampled_from(["N", "M"]), "class": st.sampled_from(["L", "B"]),
     "trainable": st.booleans(), "owners": st.integers(1, 3), "split": st.booleans()}
)  # fmt: skip
random_facts = st.fixed_dictionaries(
    {
        "parameter": st.lists(parameter, max_size=8),
        "member": st.lists(
            st.fixed_dictionaries({"param": params, "optimizer": st.sampled_from(["A#0", "B#0"])}), max_size=4
        ),
        "config": st.lists(
            st.fixed_dictionaries(
                {"key": st.sampled_from(["tie", "depth"]), "value": st.sampled_from(["1", "2", "3"])}
            ),
            max_size=2,
            unique_by=lambda one: one["key"],
        ),
    }
)


@pytest.fixture(scope="module")
def templates() -> TemplateSet:
    return load_templates([SMALL])


def read(name: str, facts: Facts, templates: TemplateSet, project: str = "p") -> Run:
    """A run as it is after counting; it depends on no other run."""
    model = naive.evaluate(templates.program, memory_facts(facts))
    counts = {t.invariant.id: Counts(*naive.statistics(t, model)) for t in templates.program.templates}
    return Run(name, project, counts, settings={one["key"]: one["value"] for one in facts.get("config", ())})


def violated(program: Program, facts: Facts) -> list[str]:
    model = naive.evaluate(program, memory_facts(facts))
    result = naive_check(program, lambda rule: naive.instances(rule, model), ALL)
    return [verdict.rule for verdict in result.verdicts if verdict.violated]


@settings(max_examples=60, deadline=None)
@given(st.lists(random_facts, min_size=1, max_size=4), st.booleans(), st.sets(st.sampled_from(STAGES)))
def test_every_learned_rule_holds_on_every_run_it_came_from(
    templates: TemplateSet, several: list[Facts], two_projects: bool, without: set[str]
) -> None:
    runs = [read(f"r{n}", facts, templates, f"p{n % (1 + two_projects)}") for n, facts in enumerate(several)]
    rules = learn(runs, templates.shapes, Options(without=frozenset(without), alarm_budget=9.0)).rules
    if rules:
        program = program_of(text := write(rules, templates, runs))
        for facts in several:
            assert violated(program, facts) == [], text


@settings(max_examples=40, deadline=None)
@given(st.lists(random_facts, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(templates: TemplateSet, several: list[Facts], random: Any) -> None:
    runs = [read(f"r{n}", facts, templates) for n, facts in enumerate(several)]
    shuffled = random.sample(runs, len(runs))
    one, other = learn(runs, templates.shapes), learn(shuffled, templates.shapes)
    assert one.rules == other.rules
    assert set(one.dropped) == set(other.dropped)
    if one.rules:
        assert write(one.rules, templates, runs) == write(other.rules, templates, shuffled)


@settings(max_examples=30, deadline=None)
@given(st.lists(random_facts, min_size=2, max_size=5))
def test_a_run_that_says_nothing_of_a_template_changes_none_of_its_rules(
    templates: TemplateSet, several: list[Facts]
) -> None:
    silent = [{**facts, "parameter": ()} for facts in several[:1]]
    runs = [read(f"r{n}", facts, templates) for n, facts in enumerate(several)]
    more = [*runs, *(read(f"s{n}", facts, templates) for n, facts in enumerate(silent))]
    options = Options(without=frozenset({"hold-out", "budget"}))
    if len(several) != 2:  # with a third run, two are no longer all: fewer instances may suffice
        assert {one.key() for one in learn(more, templates.shapes, options).rules} <= {
            one.key() for one in learn(runs, templates.shapes, options).rules
        }


VALUES: dict[str, tuple[Any, Any]] = {"C": ("B", "L"), "Split": (False, True), "T": (False, True)}
conditions = st.dictionaries(st.sampled_from(list(VALUES)), st.integers(0, 1), min_size=1, max_size=3)


@settings(max_examples=30, deadline=None)
@given(conditions)
def test_a_planted_guard_is_found(templates: TemplateSet, planted: dict[str, int]) -> None:
    """Parameters of all kinds; those that satisfy the planted conditions are members, the others are not."""
    wanted = {name: VALUES[name][place] for name, place in planted.items()}
    kinds = [{"C": c, "Split": s, "T": t} for c in VALUES["C"] for s in VALUES["Split"] for t in VALUES["T"]]
    facts: dict[str, list[dict[str, Any]]] = {"parameter": [], "member": []}
    for number, kind in enumerate(kinds * 3):
        name = f"N.p{number}"
        facts["parameter"].append(
            {"param": name, "root": "N", "class": kind["C"], "split": kind["Split"], "trainable": kind["T"]}
        )
        if all(kind[variable] == value for variable, value in wanted.items()):
            facts["member"].append({"param": name, "optimizer": "A#0"})
    runs = [read(f"r{n}", facts, templates) for n in range(3)]
    (rule,) = (one for one in learn(runs, templates.shapes).rules if one.template == "guarded")
    for kind in kinds:
        selected = matches(rule.guard, tuple(VALUES), tuple(kind.values()))
        assert selected == all(kind[variable] == value for variable, value in wanted.items())
    assert len(rule.guard) == len(wanted)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=3, max_size=5).filter(lambda depths: len(set(depths)) > 1))
def test_a_planted_setting_is_found_and_its_rule_is_checked_against_the_setting(
    templates: TemplateSet, depths: list[int]
) -> None:
    def facts(owners: int, depth: int) -> Facts:
        one = {"param": "N.w", "owners": owners, "root": "N"}
        return {"parameter": [one], "config": [{"key": "depth", "value": str(depth)}]}

    runs = [read(f"r{n}", facts(depth, depth), templates) for n, depth in enumerate(depths)]
    # Where one run alone has a value of its own, the others learn a constant without it, which fails there.
    options = Options(without=frozenset({"hold-out"}))
    found = learn(runs, templates.shapes, options).rules
    rules: list[Learned] = [one for one in found if dict(one.filling).get("N") == Configured("depth")]
    program = program_of(write(rules, templates, runs))
    assert violated(program, facts(9, 9)) == []
    assert {one.template for one in rules} == {"several", "open"}
    assert len(violated(program, facts(9, 8))) == len(rules)


# ------------------------------------------------------------------------------------------------ ids and times


@pytest.mark.parametrize("kind", sorted(UNLEARNABLE))
@pytest.mark.parametrize("place", ["metavariable", "guard"])
def test_no_template_may_range_over_ids_addresses_or_times(kind: str, place: str, tmp_path: Path) -> None:
    relation, column = next(
        (one.name, column.name)
        for one in RELATIONS
        for column in one.columns
        if column.type == kind and len([c for c in one.columns if c.type == kind]) == 1
    )
    head, guard = (f"?X: {kind}", "") if place == "metavariable" else ("?S: string", "guard X")
    bound = ", X = ?X" if place == "metavariable" else ""
    file = tmp_path / "t.tcr"
    file.write_text(
        f'template t({head}) {{ each {relation}({column}: X){bound} {guard} expect true message "m" }}'
    )
    with pytest.raises(TcrError, match="no rule can be learned"):
        load_templates([file])


@settings(max_examples=30, deadline=None)
@given(st.lists(random_facts, min_size=2, max_size=3))
def test_learned_rules_hold_no_constant_of_an_id_or_a_time(
    templates: TemplateSet, several: list[Facts]
) -> None:
    runs = [read(f"r{n}", facts, templates) for n, facts in enumerate(several)]
    if rules := learn(runs, templates.shapes).rules:
        program = program_of(write(rules, templates, runs))
        types = {one.type.name for rule in program.invariants for one in _constants((rule.each, rule.expect))}
        assert not types & UNLEARNABLE


def _constants(node: object) -> list[Const]:
    if isinstance(node, Const):
        return [node]
    parts = (
        node if isinstance(node, tuple) else [getattr(node, name) for name in getattr(node, "__slots__", ())]
    )
    return [found for part in parts for found in _constants(part)]
