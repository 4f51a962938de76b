"""The table: well-formed, wide enough, and each fault is an edit of its program that can be made."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from suite import KINDS, Fault, Program, load

PROGRAMS = load()
FAULTS = [
    pytest.param(program, fault, id=f"{program.name}/{fault.id}")
    for program in PROGRAMS
    for fault in program.faults
]


def seeds(flags: tuple[tuple[str, ...], ...]) -> list[str]:
    return [one[one.index("--seed") + 1] for one in flags]


def test_wide_enough():
    kinds = Counter(fault.kind for program in PROGRAMS for fault in program.faults)
    assert len(PROGRAMS) >= 6
    assert kinds.total() >= 40
    assert set(kinds) == set(KINDS)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program(program: Program):
    assert len(program.learn) == 3
    assert len(program.check) == 3
    used = [*seeds(program.learn), *seeds(program.check)]
    assert len(set(used)) == len(used), "each run has a seed of its own"
    for flags in (program.learn, program.check):
        assert len({len(one) for one in flags}) > 1, "runs vary something besides the seed"
    ids = [fault.id for fault in program.faults]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("program", "fault"), FAULTS)
def test_fault(program: Program, fault: Fault):
    healthy = program.script.read_text(encoding="utf-8")
    faulty = fault.apply(healthy)
    assert ast.dump(ast.parse(faulty)) != ast.dump(ast.parse(healthy))
    assert fault.what[0].islower()
    assert not fault.what.endswith(".")
    assert 0 <= fault.first < 20


def test_an_edit_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"gone: 'c' occurs 0 times"):
        Fault("gone", "drop", 0, "", (("c", ""),)).apply("ab")
    with pytest.raises(ValueError, match=r"twice: 'a' occurs 2 times"):
        Fault("twice", "drop", 0, "", (("a", ""),)).apply("aa")
