"""A recorded run that is replayed step by step gets the verdicts of batch checking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest
from tcrules.engine.check import check
from tcrules.engine.duckdb_store import DuckDBStore
from tcrules.engine.live import LiveSession
from tcrules.instrument.runs import open_run
from tcrules.rules.coverage import known_facts
from tcrules.rules.loading import load_rules

if TYPE_CHECKING:
    from pathlib import Path


def steps_of(folder: Path, program) -> dict[int, list[tuple[str, tuple]]]:
    """The facts of a run by step; those that have none come before the first."""
    steps: dict[int, list[tuple[str, tuple]]] = {}
    for name, predicate in program.predicates.items():
        path = folder / f"{name}.parquet"
        if not predicate.observed or not path.exists():
            continue
        kinds = [column.type.name for column in predicate.columns]
        at = kinds.index("step") if kinds.count("step") == 1 else None
        columns = ", ".join(f'"{column.name}"' for column in predicate.columns)
        for row in duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").fetchall():
            steps.setdefault(-1 if at is None else row[at], []).append((name, row))
    return steps


@pytest.mark.parametrize("name", ["faulty", "fixed"])
def test_a_replayed_run_gets_the_same_verdicts(runs: Path, name: str) -> None:
    program, run = load_rules().program, open_run(runs / name)
    coverage = known_facts(run)
    with DuckDBStore.open(run.facts, program) as store:
        expected = check(program, store, coverage)
    session = LiveSession(program, coverage, world=1)
    told = set()
    for step, facts in sorted(steps_of(run.facts, program).items()):
        for relation, row in facts:
            session.feed(relation, [row])
        if step >= 0:
            told |= {(found.rule, found.binding) for found in session.advance(0, step)}
    result, late = session.close(), session.late_rules()
    assert [v for v in result.verdicts if v.rule not in late] == [
        v for v in expected.verdicts if v.rule not in late
    ]
    counted = {(rule, b) for rule, rows in expected.violations.items() for b in rows if rule not in late}
    # The last ordinal of an object is closed only by the end of the run.
    counting = {w.family.members[0].id for w in session._watchers() if w.horizon.clock}
    assert {rule for rule, _ in counted - told} <= counting
    assert counted == {
        (rule, b) for rule, rows in result.violations.items() for b in rows if rule not in late
    }
    assert not counted or counted & told
    assert any(v.status == "held" for v in result.verdicts)
