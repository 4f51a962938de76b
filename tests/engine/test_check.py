"""Verdicts: three values, what makes an instance unknown, and what a result says."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.check import CheckResult, check, naive_check
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Coverage, Gap, MemoryFacts
from tcrules.engine.ir import Program

# With --import-mode=importlib a test folder is not importable by name.
for _name in ("helping", "strategies"):
    _spec = importlib.util.spec_from_file_location(f"engine_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"engine_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"engine_{_name}"])
helping, strategies = sys.modules["engine_helping"], sys.modules["engine_strategies"]

ONE = Settings(threads=1)
RELATIONS = """
relation did(rank: rank, step: step, what: string)
relation undid(rank: rank, step: step, what: string)
"""
UNDONE = (
    RELATIONS
    + """
invariant undone { each did(R, S, W) expect undid(R, S, W) message "{W}" }
invariant never-both { each did(R, S, W) expect not undid(R, S, W) message "{W}" }
invariant all-ranks { each did(step: S, what: W) expect undid(step: S, what: W) message "{W}" }
invariant later { each did(R, S, W) expect undid(R, T, W), T > S message "{W}" }
"""
)
FACTS = {
    "did": [(rank, step, "a") for rank in (0, 1) for step in range(4)],
    "undid": [(0, 0, "a"), (1, 0, "a"), (0, 2, "a"), (1, 3, "a")],
}
BOTH = frozenset({"did", "undid"})


def checked(program: Program, facts: MemoryFacts, coverage: Coverage, **options: int) -> CheckResult:
    """Both ways, which must agree."""
    model = naive.evaluate(program, facts)
    expected = naive_check(program, lambda rule: naive.instances(rule, model), coverage, **options)
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        assert check(program, store, coverage, **options) == expected
    return expected


def verdicts(gaps: Sequence[Gap] = (), *, recorded: frozenset[str] = BOTH, complete: bool = True) -> dict:
    coverage = Coverage(recorded, tuple(gaps), complete)
    result = checked(helping.program_of(UNDONE), helping.facts_of(**FACTS), coverage)
    return {v.rule: (v.status, v.violated, v.held, v.unknown) for v in result.verdicts}


def test_everything_recorded() -> None:
    assert verdicts() == {
        "undone": ("violated", 4, 4, 0),
        "never-both": ("violated", 4, 4, 0),
        "all-ranks": ("violated", 1, 3, 0),
        "later": ("violated", 3, 5, 0),
    }


def test_what_the_body_reads_was_not_recorded() -> None:
    gap = Gap("did", -1, 0, -1, "the probe failed")
    coverage = Coverage(frozenset({"undid"}), (gap,))
    result = checked(helping.program_of(UNDONE), helping.facts_of(**FACTS), coverage)
    assert {v.status for v in result.verdicts} == {"unknown"}
    assert result.verdicts[0].reasons == ("did was not recorded: the probe failed",)
    assert (result.evaluated, result.violations) == (0, {})


def test_what_the_expectation_reads_was_not_recorded() -> None:
    assert verdicts(recorded=frozenset({"did"})) == {
        "undone": ("unknown", 0, 4, 4),
        # What is there proves a violation; what is not there proves nothing.
        "never-both": ("violated", 4, 0, 4),
        "all-ranks": ("unknown", 0, 3, 1),
        "later": ("unknown", 0, 5, 3),
    }


def test_a_gap_of_some_steps() -> None:
    assert verdicts([Gap("undid", -1, 1, 1, "")]) == {
        "undone": ("violated", 2, 4, 2),
        "never-both": ("violated", 4, 2, 2),
        "all-ranks": ("unknown", 0, 3, 1),
        # What it expects may come at any later step.
        "later": ("unknown", 0, 5, 3),
    }


def test_a_gap_of_one_rank_until_the_end() -> None:
    found = verdicts([Gap("undid", 1, 2, -1, "")])
    assert found["undone"] == ("violated", 3, 4, 1)
    assert found["never-both"] == ("violated", 4, 3, 1)
    # The rule does not say on which rank, so facts of any rank may be missing.
    assert found["all-ranks"] == ("violated", 1, 3, 0)


def test_a_gap_elsewhere_changes_nothing() -> None:
    elsewhere = verdicts([Gap("undid", 7, 0, -1, ""), Gap("else", -1, 0, -1, "")])
    # The rule `all-ranks` reads all ranks, so also one that no instance lies on.
    assert {**elsewhere, "all-ranks": 0} == {**verdicts(), "all-ranks": 0}
    later = verdicts([Gap("undid", -1, 9, 12, "")])
    assert {**later, "later": 0} == {**verdicts(), "later": 0}


def test_a_run_that_was_cut_off() -> None:
    found = verdicts(complete=False)
    assert found["undone"] == ("violated", 4, 4, 0)
    assert found["later"] == ("unknown", 0, 5, 3)


def test_a_rule_without_a_step_doubts_every_gap() -> None:
    program = helping.program_of(
        RELATIONS + 'invariant i { each did(what: W) expect undid(what: W) message "{W}" }'
    )
    facts = helping.facts_of(did=[(0, 0, "a"), (0, 1, "b")], undid=[(0, 0, "a")])
    for gaps, expected in (((), ("violated", 1, 1, 0)), ((Gap("undid", 3, 7, 8, ""),), ("unknown", 0, 1, 1))):
        (found,) = checked(program, facts, Coverage(BOTH, gaps)).verdicts
        assert (found.status, found.violated, found.held, found.unknown) == expected


def test_a_body_that_never_matches_is_vacuous() -> None:
    result = checked(helping.program_of(UNDONE), helping.facts_of(did=[], undid=[]), Coverage(BOTH))
    assert {v.status for v in result.verdicts} == {"vacuous"}
    assert result.evaluated == 4


def test_violations_are_earliest_first_and_capped_but_counted() -> None:
    program = helping.program_of(
        RELATIONS + 'invariant i { each did(W0, S, W) expect undid(_, S, W) message "{W}" }'
    )
    facts = helping.facts_of(did=[(9 - n, n, "a") for n in range(10)], undid=[])
    result = checked(program, facts, Coverage(BOTH), most_violations=3)
    assert result.violations == {"i": ((9, 0, "a"), (8, 1, "a"), (7, 2, "a"))}
    assert result.verdicts[0].violated == 10


def test_only_the_rules_asked_for_and_progress() -> None:
    program, facts = helping.program_of(UNDONE), helping.facts_of(**FACTS)
    calls: list[tuple[int, int]] = []
    with DuckDBStore.from_memory(facts, program, ONE) as store:
        chosen = [program.invariants[3], program.invariants[0]]
        result = check(program, store, facts.coverage, chosen, lambda done, all_: calls.append((done, all_)))
    assert [v.rule for v in result.verdicts] == ["later", "undone"]
    assert calls == [(1, 2), (2, 2)]


def test_reasons_name_relation_steps_rank_and_why() -> None:
    gaps = (Gap("undid", 1, 2, -1, "disk full"), Gap("undid", -1, 1, 1, "sampled"))
    result = checked(
        helping.program_of(UNDONE), helping.facts_of(**FACTS), Coverage(BOTH, gaps, complete=False)
    )
    assert result.verdicts[0].reasons == (
        "undid was not recorded from step 2 on on rank 1: disk full",
        "undid was not recorded at steps 1 to 1: sampled",
    )
    assert result.verdicts[3].reasons[0].startswith("the run was cut off before its end")


# ------------------------------------------------------------------------------------------------ properties

gap = st.builds(
    Gap, st.sampled_from(sorted(BOTH)), st.integers(-1, 1), st.integers(0, 3), st.integers(-1, 3), st.just("")
)
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from("ab")), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows, rows, st.lists(gap, max_size=3), st.lists(gap, max_size=3), st.booleans(), st.booleans())
def test_recording_less_never_decides_more(did, undid, gaps, more, complete, drop) -> None:
    program, facts = helping.program_of(UNDONE), helping.facts_of(did=did, undid=undid)
    full = Coverage(BOTH, tuple(gaps), complete=True)
    less = Coverage(frozenset({"did"}) if drop else BOTH, (*gaps, *more), complete)
    before, after = checked(program, facts, full), checked(program, facts, less)
    for one, other in zip(before.verdicts, after.verdicts, strict=True):
        assert other.violated <= one.violated
        assert other.held <= one.held
        assert other.unknown >= one.unknown
        assert other.status in (one.status, "unknown")
        assert set(after.violations.get(other.rule, ())) <= set(before.violations.get(one.rule, ()))


@pytest.mark.parametrize("complete", [True, False])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=strategies.cases(strata=1), data=st.data())
def test_random_rules_with_random_coverage(complete: bool, case, data) -> None:
    names = sorted(strategies.OBSERVED)
    recorded = frozenset(data.draw(st.sets(st.sampled_from(names))) | {"edge", "link", "weight"})
    gaps = data.draw(
        st.lists(
            st.builds(Gap, st.sampled_from(names), st.just(-1), st.just(0), st.just(-1), st.just("")),
            max_size=1,
        )
    )
    checked(case.program, case.facts, Coverage(recorded, tuple(gaps), complete))
