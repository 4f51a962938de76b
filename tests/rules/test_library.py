"""The shipped library: documented, tested both ways, canonical, and quiet about what was not recorded."""

from __future__ import annotations

import pytest
from tcrules.engine.facts import Coverage, MemoryFacts
from tcrules.grammar import parse, parse_tests, print_program, print_tests
from tcrules.rules.catalogue import SECTIONS, Entry, catalogue, library_paths, library_tests
from tcrules.rules.loading import load_rules
from tcrules.rules.testing import Outcome, run_tests

ENTRIES = catalogue()
OUTCOMES = run_tests()


def test_there_are_enough_rules_of_every_topic() -> None:
    assert len(ENTRIES) >= 25
    topics = {path.stem for path in library_paths()}
    assert topics >= {
        "optimizer",
        "gradients",
        "modes",
        "precision",
        "schedule",
        "data",
        "distributed",
        "checkpoints",
    }


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_each_rule_is_documented(entry: Entry) -> None:
    assert entry.summary.endswith(".")
    assert entry.tags
    assert [name for name in SECTIONS if not entry.section(name)] == []
    assert entry.section("see").startswith("https://")


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: f"{outcome.file.stem}: {outcome.name}")
def test_rule_tests_pass(outcome: Outcome) -> None:
    assert outcome.passed, [fault.message for fault in outcome.faults]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_each_rule_has_a_violating_and_a_healthy_test(entry: Entry) -> None:
    verdicts = {verdict for outcome in OUTCOMES for rule, verdict in outcome.verdicts if rule == entry.id}
    assert "violated" in verdicts
    assert verdicts & {"held", "vacuous"}


@pytest.mark.parametrize("path", [*library_paths(), *library_tests()], ids=lambda path: path.name)
def test_files_are_canonical(path) -> None:
    text = path.read_text()
    if path.suffix == ".tcr":
        program = parse(text, path.name).program
        assert program is not None
        assert print_program(program) == text
    else:
        assert print_tests(parse_tests(text, path.name)) == text


def test_the_library_has_no_warnings() -> None:
    assert load_rules().warnings == ()


def test_nothing_recorded_is_nothing_known() -> None:
    from tcrules.engine import naive
    from tcrules.engine.check import naive_check

    program = load_rules().program
    facts = MemoryFacts({}, Coverage(frozenset()))
    model = naive.evaluate(program, facts)
    result = naive_check(program, lambda invariant: naive.instances(invariant, model), facts.coverage)
    assert {verdict.status for verdict in result.verdicts} == {"unknown"}
    assert result.evaluated == 0
