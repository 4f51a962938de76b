"""The shipped library, checked live over the facts of its own tests, gives the verdicts of batch checking."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import pytest
from tcrules.engine import naive
from tcrules.engine.check import naive_check
from tcrules.engine.live import LiveSession
from tcrules.grammar import parse_tests
from tcrules.rules import testing
from tcrules.rules.catalogue import library_tests
from tcrules.rules.loading import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT = 100_000


@cache
def library():
    return load_rules().program


def batch(program, facts, coverage, rules):
    model = naive.evaluate(program, facts)
    return naive_check(program, lambda invariant: naive.instances(invariant, model), coverage, rules)


def streamed(facts, program, chance: random.Random) -> Iterator[tuple[str, list]]:
    """Facts step by step, those without a step first; within a step in random order, one by one or together."""
    steps: dict[int, list[tuple[str, tuple]]] = {}
    for name, stored in facts.relations.items():
        kinds = [column.type.name for column in program.predicates[name].columns]
        at = kinds.index("step") if kinds.count("step") == 1 else None
        for fact in stored:
            steps.setdefault(-1 if at is None else fact.values[at], []).append((name, fact.values))
    for step in sorted(steps):
        chance.shuffle(steps[step])
        for name, row in steps[step]:
            yield step, name, row


@pytest.mark.parametrize("path", library_tests(), ids=lambda path: path.stem)
def test_library_tests(path: Path) -> None:
    program = library()
    tests = parse_tests(path.read_text(encoding="utf-8"), str(path))
    for number, case in enumerate(tests.tests):
        facts, faults = testing._facts(case, program)
        assert not faults
        expected = batch(program, facts, facts.coverage, program.invariants)
        for keep in (0, KEPT):
            session = LiveSession(program, facts.coverage, world=1, keep=keep)
            last = None
            for step, name, row in streamed(facts, program, random.Random(number)):
                if last is not None and step != last:
                    session.advance(0, last)
                last = step
                session.feed(name, [row])
            result = session.close(batch=batch)
            late = session.late_rules() if not keep else {}
            wanted = [verdict for verdict in expected.verdicts if verdict.rule not in late]
            found = [verdict for verdict in result.verdicts if verdict.rule not in late]
            assert found == wanted, case.name
            broken = {rule: rows for rule, rows in expected.violations.items() if rule not in late}
            assert dict(result.violations) == broken, case.name
