"""Every edge of every explanation is what its facts say; every proof passes the independent checker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tcrules.engine import naive
from tcrules.engine.check import naive_check
from tcrules.engine.ir import Invariant, Program
from tcrules.engine.proof import check_violation
from tcrules.engine.provenance import explain_violation
from tcrules.grammar import parse_tests
from tcrules.rules.catalogue import library_tests
from tcrules.rules.testing import facts_of, program_of

from tcrules.report.dot import as_data
from tcrules.report.explaining import violation_graph
from tcrules.report.graph import GraphBuilder, nodes_of
from tcrules.report.links import object_links
from tcrules.report.model import Violation
from tcrules.report.origins import ORIGINS

from .evidence import READS, faults_of

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((files("tcrules.report") / "schemas" / "explanation.json").read_text("utf-8"))
)


def breaches(path: Path) -> Iterator[tuple[Program, naive.Model, Invariant, dict]]:
    """All violations of the shipped rules on the facts of a file of tests."""
    tests = parse_tests(path.read_text(encoding="utf-8"), str(path))
    program = program_of(tests, path)
    for case in tests.tests:
        facts, _ = facts_of(case, program)
        model = naive.evaluate(program, facts)
        result = naive_check(program, lambda rule, model=model: naive.instances(rule, model), facts.coverage)
        for rule in program.invariants:
            for values in result.violations.get(rule.id, ())[:2]:
                names = (variable.name for variable in rule.variables)
                yield program, model, rule, dict(zip(names, values, strict=True))


def shown(rule: Invariant) -> Violation:
    return Violation("V1", rule.id, rule.severity, 0, 0, 1, (0,), (), "wrong", None, 0)


def find_in(program: Program, model: naive.Model) -> Any:
    def find(relation: str, number: int) -> dict[str, Any] | None:
        columns = [column.name for column in program.predicates[relation].columns]
        for stored in model.facts(relation):
            if stored.id == number:
                return dict(zip(columns, stored.values, strict=True))
        return None

    return find


@pytest.mark.parametrize("path", library_tests(), ids=lambda path: path.stem)
def test_explanations_of_the_shipped_rules(path: Path):
    seen = 0
    for program, model, rule, binding in breaches(path):
        proof = explain_violation(program, model, rule, binding)
        assert proof is not None and check_violation(proof, program, model) == []
        links = object_links(program.predicates, model)
        graph, _ = violation_graph(GraphBuilder(program, model), shown(rule), proof, links)
        data = as_data(graph)
        assert faults_of(data, find_in(program, model)) == []
        SCHEMA.validate(data)
        seen += 1
    assert seen


def test_conditions_that_hold_are_told_with_their_values():
    path = next(path for path in library_tests() if path.stem == "modes")
    for program, model, rule, binding in breaches(path):
        if rule.id == "training-mode-is-restored":
            proof = explain_violation(program, model, rule, binding)
            graph, _ = violation_graph(GraphBuilder(program, model), shown(rule), proof, {})
            told = [node.label for node in nodes_of(graph) if node.kind == "condition"]
            assert any(" = min(Step) {" in label for label in told)
            assert not any("has no value" in label for label in told)
            return
    raise AssertionError("no breach of the rule")


def test_a_wrong_edge_is_seen():
    path = next(path for path in library_tests() if path.stem == "gradients")
    for program, model, rule, binding in breaches(path):
        proof = explain_violation(program, model, rule, binding)
        graph, _ = violation_graph(
            GraphBuilder(program, model), shown(rule), proof, object_links(program.predicates, model)
        )
        data = as_data(graph)
        for edge in data["edges"]:
            was = edge["facts"]
            edge["facts"] = [{**fact, "id": 10_000} for fact in was]
            assert not was or faults_of(data, find_in(program, model))
            edge["facts"] = was


def test_each_kind_of_reading_has_a_check():
    assert {(one.reader, one.writer) for one in ORIGINS if one.kind == "reads"} == set(READS)
