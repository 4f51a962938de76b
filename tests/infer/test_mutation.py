"""Injected faults: that each operator changes facts as it says, and what learned rules make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from tcrules.engine.sql_values import SQL_TYPES
from tcrules.instrument.runs import open_run
from tcrules.instrument.schema import BY_NAME, RELATIONS, TYPES
from tcrules.rules.infer import InferError, Options, infer
from tcrules.rules.infer.collect import collect
from tcrules.rules.infer.judging import judges, program_of
from tcrules.rules.infer.learn import learn
from tcrules.rules.infer.model import Learned
from tcrules.rules.infer.mutation.laboratory import Laboratory, laboratory
from tcrules.rules.infer.mutation.operators import Span, mutants
from tcrules.rules.infer.templates import load_templates

from tcrules.cli.main import cli

SPAN = Span(5, 1)
WHEN = {" from step 4": "step >= 4", " from step 0": "step >= 0"}


@pytest.fixture(scope="module")
def rules(reference: list[Path]) -> list[Learned]:
    loaded = load_templates()
    return list(learn(collect(reference, loaded).runs, loaded.shapes).rules)


@pytest.fixture
def bench(reference: list[Path], rules: list[Learned]) -> Iterator[Laboratory]:
    facts = open_run(reference[0]).facts
    with laboratory(facts, program_of(rules, load_templates()), set(BY_NAME), 20_000) as found:
        assert found is not None
        yield found


def changed(
    relation: str, rows: str, operator: str, column: str = "", when: str = " from step 4"
) -> list[tuple[Any, ...]]:
    """What an operator makes of some facts."""
    (one,) = (
        mutant
        for mutant in mutants(BY_NAME[relation], SPAN, WHEN)
        if (mutant.operator, mutant.column, mutant.when) == (operator, column, when)
    )
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE facts AS {rows}")
        return sorted(connection.execute(one.query).fetchall())


def test_operators_of_facts() -> None:
    clears = "SELECT s + 1 AS fact, 0 AS rank, s AS call, 'SGD#0' AS object, s AS step, 10 * s AS at FROM range(6) r(s)"
    steps = {
        operator: [row[4] for row in changed("zero_grad", clears, operator)]
        for operator in ("drop", "drop once", "duplicate")
    }
    assert steps["drop"] == [0, 1, 2, 3]
    assert steps["drop once"] == [0, 1, 2, 3, 5]
    one_rank = changed("zero_grad", clears, "drop", when=" on one rank from step 4")
    assert [row[4] for row in one_rank] == [0, 1, 2, 3, 4, 5]
    assert steps["duplicate"] == [0, 1, 2, 3, 4, 5, 4, 5]
    assert [row[5] for row in changed("zero_grad", clears, "late")] == [0, 10, 20, 30, 45, 55]
    assert [row[5] for row in changed("zero_grad", clears, "early", when=" from step 0")] == [
        -5,
        5,
        15,
        25,
        35,
        45,
    ]


def test_operators_of_columns() -> None:
    states = """
        SELECT s + 1 AS fact, 1 AS rank, 'w' AS param, 'N' AS root, s AS step, s AS at, 100 + s AS data, true AS finite
        FROM range(6) r(s)
    """

    def data(operator: str) -> list[int]:
        return [row[6] for row in changed("param_state", states, operator, "data")]

    assert data("freeze") == [100, 101, 102, 103, 100, 100]
    assert data("stale") == [100, 101, 102, 103, 103, 104]
    assert data("corrupt")[:4] == [100, 101, 102, 103] and not {104, 105} & set(data("corrupt"))
    flags = [row[7] for row in changed("param_state", states, "flip", "finite")]
    assert flags == [True] * 4 + [False] * 2
    assert {row[2] for row in changed("param_state", states, "mix up", "param")} == {"w", "w?"}


def test_every_mutant_of_the_schema_runs() -> None:
    with duckdb.connect() as connection:
        for relation in RELATIONS:
            columns = ", ".join(f'"{c.name}" {SQL_TYPES[TYPES[c.type]]}' for c in relation.columns)
            connection.execute(f"CREATE OR REPLACE TABLE facts (fact BIGINT, {columns})")
            found = list(mutants(relation, SPAN, WHEN if "step" in relation.column_names() else {"": "true"}))
            assert len({one.name for one in found}) == len(found) > 0
            for one in found:
                connection.execute(one.query)


def test_faults_are_found_and_the_healthy_facts_raise_nothing(bench: Laboratory) -> None:
    invariants = bench.program.invariants
    assert "violated" not in bench.statuses(invariants).values()
    (lost,) = (
        one for one in bench.mutants({"update"}) if (one.operator, one.when) == ("freeze", " from step 4")
    )
    assert "violated" in bench.statuses(invariants, lost).values()
    assert "violated" not in bench.statuses(invariants).values()


def test_scores_are_the_same_each_time_and_archive_what_finds_nothing(
    reference: list[Path], rules: list[Learned]
) -> None:
    loaded = load_templates()
    runs = collect(reference, loaded).runs
    score = dict(judges(loaded, runs))["mutation"]
    first, second = score(rules, Options(mutations=5)), score(rules, Options(mutations=5))
    assert first == second
    tried = [rule for rule in first[0] if rule.evidence.mutations]
    assert len(tried) > len(rules) / 2
    useful = {rule.template for rule in tried if rule.evidence.caught}
    for rule, before in zip(first[0], rules, strict=True):
        assert rule.tier == before.tier or (rule.evidence.mutations and rule.template not in useful)
    assert sum(rule.tier == "warning" for rule in tried) > len(tried) / 2


def test_too_many_facts_leave_the_rules_as_they_are(reference: list[Path], rules: list[Learned]) -> None:
    loaded = load_templates()
    score = dict(judges(loaded, collect(reference, loaded).runs))["mutation"]
    assert score(rules, Options(mutation_facts=10)) == (rules, [])


# ------------------------------------------------------------------------------------------------ why dropped


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["infer", *map(str, arguments)])
    return result.exit_code, result.output


def of_the_template(template: Path, *runs: Path) -> list[object]:
    """Arguments to learn from one template; these small runs lack what the library looks for."""
    return ["--runs", *runs, "--only-templates", "--templates", template, "--keep-unhealthy"]


def test_why_dropped_says_stage_figures_and_option(make_run: Callable[..., Path], tmp_path: Path) -> None:
    template = tmp_path / "mine.tcr"
    template.write_text(
        "template held(?P: param) @tags(default) "
        '{ each update(param: P, step: S), P = ?P expect P != "" message "{P}" }\n'
        'template shorter(?P: param) @tags(default) { each member(param: P), P = ?P expect P != "" message "{P}" }\n'
        'template idle(?B: buffer) @tags(default) { each buffer(buffer: B), B = ?B expect B = "" message "{B}" }\n'
    )
    given = of_the_template(template, *(make_run(f"r{n}", seed=n) for n in (1, 2)))
    code, told = call(*given, "--why-dropped", "SHORT")
    assert code == 0, told
    assert "shorter(P: Net.h.0.bias)" in told and "held(" not in told
    assert "2 instances in 2 of 2 runs; needed are 3 in each of 2" in told and "--least-triggers 1" in told
    assert "no run has an instance" in call(*given, "--why-dropped", "i?le*")[1]
    assert "no candidate that was dropped has 'held'" in call(*given, "--why-dropped", "held")[1]
    assert (
        "shorter(P: Net.h.*.bias)" not in call(*given, "--why-dropped", "shorter", "--least-triggers", 1)[1]
    )


def test_why_dropped_helps_where_nothing_is_learned(make_run: Callable[..., Path], tmp_path: Path) -> None:
    template = tmp_path / "mine.tcr"
    template.write_text(
        'template idle(?B: buffer) @tags(default) { each buffer(buffer: B), B = ?B expect B = "" message "{B}" }\n'
    )
    given = of_the_template(template, make_run("r"), make_run("s2"))
    code, told = call(*given, "--why-dropped", "idle")
    assert code == 2 and "no run has an instance" in told
    with pytest.raises(InferError) as nothing:
        infer([make_run("r3"), make_run("s24")], templates=[template])
    assert [one.rule for one in nothing.value.dropped] == ["idle"]
