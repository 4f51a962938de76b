"""Where a missing event should have been, and what was there instead."""

from __future__ import annotations

from typing import Any

import pytest
from tcrules.engine import naive

from tcrules.report.dot import as_data
from tcrules.report.explaining import missing_graph

from .asking import asked
from .evidence import faults_of
from .test_evidence import SCHEMA

#: Two steps: forward, backward with a call inside, step; the second without zero_grad.
CALLS = """
step(step: 0, begin: 1, end: 20). step(step: 1, begin: 21, end: 40).
call(call: 1, api: "zero_grad", step: 0, begin: 1, end: 2).
call(call: 2, api: "forward", step: 0, begin: 3, end: 8).
call(call: 3, api: "backward", step: 0, begin: 9, end: 12).
call(call: 4, api: "step", step: 0, begin: 13, end: 20).
call(call: 5, api: "forward", step: 1, begin: 21, end: 28).
call(call: 6, api: "backward", step: 1, begin: 29, end: 32).
call(call: 7, api: "inner", parent: 6, step: 1, begin: 30, end: 31).
call(call: 8, api: "step", step: 1, begin: 33, end: 40).
zero_grad(call: 1, object: "SGD#0", step: 0, at: 2).
backward(call: 6, step: 1, begin: 29, end: 32).
optimizer_step(call: 4, optimizer: "SGD#0", step: 0, begin: 13, end: 20).
"""
#: Question -> window after, before, and the calls that it should follow, precede, and that were there instead.
PLACES = {
    "of a step alone only the step is known": ("zero_grad(step: 1)", (None, None), [], [], []),
    "after a moment": ("zero_grad(step: 1, at: T), T > 28", (28, None), [5], [], [6, 8]),
    "before a moment, in what goes on at that time": (
        "zero_grad(step: 1, at: T), T < 29", (None, 29), [], [6], [5],
    ),
    "between two moments": ("zero_grad(step: 1, at: T), T > 20, T < 33", (20, 33), [4], [8], [5, 6]),
    "the other way round": ("zero_grad(step: 1, at: T), 20 < T, 33 > T", (20, 33), [4], [8], [5, 6]),
    "after another event": (
        'optimizer_step(step: 0, end: Used), zero_grad(step: 1, at: T), T > Used', (20, None), [4], [], [5, 6, 8],
    ),
    "found, but at another moment": (
        "zero_grad(step: S, at: T), optimizer_step(step: S, end: Used), T > Used", (20, None), [4], [], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_place(name: str):
    ask, window, follows, precedes, instead = PLACES[name]
    data, faults = graph_of(CALLS, ask)
    assert faults == []
    (missing,) = (node for node in data["nodes"] if node["kind"] == "missing")
    assert (missing["window"]["after"], missing["window"]["before"]) == window
    assert targets(data, "should follow") == follows
    assert targets(data, "should precede") == precedes
    assert targets(data, "instead") == instead


def test_of_many_calls_those_at_the_ends_are_told():
    calls = "\n".join(f'call(call: {n}, api: "f", step: 0, begin: {n}, end: {n}).' for n in range(10, 30))
    data, _ = graph_of(f"step(step: 0, begin: 1, end: 50). {calls}", "clip(step: 0, at: T), T > 10, T < 29")
    assert targets(data, "should follow") == [10] and targets(data, "should precede") == [29]
    assert targets(data, "instead") == [11, 12, 27, 28]


def test_part_of_a_call():
    data, faults = graph_of(CALLS, 'gradient(call: 8, class: "nonzero")')
    assert targets(data, "inside") == [8] and faults == []


def test_what_has_no_moment_has_no_place():
    data, _ = graph_of(CALLS, 'member(param: "w")')
    (missing,) = (node for node in data["nodes"] if node["kind"] == "missing")
    assert missing["window"] is None


def targets(data: dict[str, Any], kind: str) -> list[int]:
    found = (edge["to"] for edge in data["edges"] if edge["kind"] == kind)
    return sorted(int(name.removeprefix("call ")) for name in found)


def graph_of(facts: str, ask: str) -> tuple[dict[str, Any], list[str]]:
    program, query, found = asked(None, facts, ask)
    model = naive.evaluate(program, found)
    missing = missing_graph(program, model, query.each, ask)
    assert missing is not None
    data = as_data(missing[0])
    SCHEMA.validate(data)

    def find(relation: str, number: int) -> dict[str, Any] | None:
        names = [column.name for column in program.predicates[relation].columns]
        rows = {one.id: one.values for one in model.facts(relation)}
        return dict(zip(names, rows[number], strict=True)) if number in rows else None

    return data, faults_of(data, find)
