"""Folding of breaches and the choice of root causes, on rules built by hand."""

from __future__ import annotations

import json
from io import StringIO

import networkx as nx
import pytest
from rich.console import Console
from tcrules.engine.facts import Stored
from tcrules.engine.ir import Any_, Atom, Column, Invariant, Predicate, Type, Var, Window
from tcrules.instrument.schema import BY_NAME, TYPES

from tcrules.report.flow import ELSEWHERE, FLOW, acts_upon
from tcrules.report.fold import fold, location_predicate, render_message
from tcrules.report.json_report import as_json
from tcrules.report.model import Location, Report, RuleVerdict, Violation
from tcrules.report.roots import Witness, mark_roots, phase
from tcrules.report.terminal import write


def predicate(name: str) -> Predicate:
    columns = tuple(Column(c.name, Type(c.type, TYPES[c.type])) for c in BY_NAME[name].columns)
    return Predicate(name, columns, True)


def var(name: str, kind: str) -> Var:
    return Var(name, Type(kind, TYPES[kind]))


STEP, RANK, PARAM, CALL = var("S", "step"), var("R", "rank"), var("P", "param"), var("C", "call")


class Facts:
    """Facts by relation, found by scanning."""

    def __init__(self, **relations: list[tuple]):
        self.relations = relations

    def lookup(self, predicate: Predicate, bound: dict):
        for number, fact in enumerate(self.relations.get(predicate.name, []), 1):
            if all(fact[place] == value for place, value in bound.items()):
                yield Stored(number, fact)


def rule(**changes) -> Invariant:
    given = {
        "id": "rule", "severity": "error", "tags": (), "doc": "", "each": (), "variables": (STEP, RANK, PARAM, CALL),
        "expect": (), "about": (PARAM,), "message": "step {S}: {P} is wrong", "step": STEP, "rank": RANK,
        "needs": frozenset({"update"}), "watched": frozenset(),
        "saves": frozenset(), "spoils": frozenset(), "monotone": True, "window": Window("body"),
    }  # fmt: skip
    return Invariant(**(given | changes))


def breach(step: int, param: str, rank: int = 0, call: int = 7) -> dict:
    return {"S": step, "R": rank, "P": param, "C": call}


def test_same_subject_over_steps_and_ranks_is_one_violation():
    found = fold(rule(), [breach(5, "w"), breach(3, "w", 1), breach(4, "w"), breach(4, "b")], Facts(), None)
    assert [(v.subjects, v.first_step, v.last_step, v.count, v.ranks) for v in found] == [
        (("w",), 3, 5, 3, (0, 1)),
        (("b",), 4, 4, 1, (0,)),
    ]
    assert found[0].message == "step 3: w is wrong"
    assert found[0].instance == 1
    assert found[0].noun == "parameter"


def test_steps_and_calls_do_not_distinguish_violations():
    found = fold(
        rule(about=(PARAM, STEP, CALL)), [breach(1, "w", call=1), breach(2, "w", call=2)], Facts(), None
    )
    assert len(found) == 1


def test_rule_about_the_run_has_no_step():
    (found,) = fold(rule(step=None, rank=None), [{"P": "w", "C": 7}], Facts(), None)
    assert (found.first_step, found.last_step, found.ranks) == (None, None, ())


def test_location_is_the_line_of_the_call_in_the_evidence():
    predicates = {"location": predicate("location")}
    facts = Facts(location=[(0, 7, "train.py", 12, "main"), (1, 7, "other.py", 1, "main")])
    (found,) = fold(rule(), [breach(1, "w")], facts, location_predicate(predicates))
    assert found.location == Location("train.py", 12)


@pytest.mark.parametrize("step", [STEP, var("#1", "step")], ids=["named", "made for an expression"])
def test_location_by_a_fact_whose_call_the_rule_does_not_name(step: Var):
    accumulate = predicate("accumulate")
    terms = {"rank": RANK, "param": PARAM, "step": step}
    atom = Atom(accumulate, tuple(terms.get(c.name, Any_()) for c in accumulate.columns))
    row = {"rank": 0, "call": 9, "param": "w", "step": 1, "onto": "none"}
    facts = Facts(
        accumulate=[tuple(row.get(c.name, 0) for c in accumulate.columns)],
        location=[(0, 9, "train.py", 30, "main")],
    )
    (found,) = fold(
        rule(each=(atom,), variables=(STEP, RANK, PARAM)), [breach(1, "w")], facts, predicate("location")
    )
    assert found.location == Location("train.py", 30)


def test_message_formats():
    assert render_message("{X:.2f} {Y} {Z} {N:bad}", {"X": 1.234, "Y": True, "N": "n"}) == "1.23 true {Z} n"


def violation(
    name: str, first: int | None, subjects: tuple[str, ...] = ("w",), severity: str = "error"
) -> Violation:
    return Violation("", name, severity, first, first, 1, (0,), subjects, f"{name} message", None, 0)


def witness(name: str, first: int | None, objects: set[str], place: int = 9, **more) -> Witness:
    """By default all show in one relation, which flows into itself."""
    site, missing, learned = (
        more.pop("site", "update"),
        more.pop("missing", False),
        more.pop("learned", False),
    )
    about = violation(name, first, tuple(sorted(objects)), **more)
    return Witness(about, frozenset(objects), place, frozenset({site}), missing, learned)


def test_phase_is_that_of_what_was_expected():
    assert phase(rule(watched=frozenset({"update", "zero_grad"}))) == BY_NAME["zero_grad"].phase
    # A denial expects nothing: it happens with the last of its facts.
    assert phase(rule(needs=frozenset({"parameter", "update"}))) == BY_NAME["update"].phase


def test_earliest_of_connected_violations_is_the_root():
    links = [("w", "model"), ("SGD#0", "w"), ("other.w", "other")]
    found = mark_roots(
        [
            witness("late", 4, {"SGD#0"}),
            witness("early", 2, {"w"}),
            witness("elsewhere", 3, {"other.w"}),
        ],
        links,
        {},
    )
    assert [(v.id, v.rule, v.root, v.cluster) for v in found] == [
        ("V1", "early", True, 1),
        ("V2", "elsewhere", True, 2),
        ("V3", "late", False, 1),
    ]


def test_ties_go_to_the_earlier_phase_then_severity_then_specific():
    same = {"w"}
    order = [
        witness("forward", 1, same, 4),
        witness("backward", 1, same, 6),
        witness("backward-warning", 1, same, 6, severity="warning"),
    ]
    assert next(v.rule for v in mark_roots(list(reversed(order)), [], {})) == "forward"
    assert next(v.rule for v in mark_roots(order[:0:-1], [], {})) == "backward"
    wide, narrow = witness("wide", 1, {"w", "b"}), witness("narrow", 1, {"w"})
    assert next(v.rule for v in mark_roots([wide, narrow], [], {})) == "narrow"


def test_structure_comes_before_every_step():
    found = mark_roots([witness("first-step", 0, {"w"}), witness("structure", None, {"w"})], [], {})
    assert found[0].rule == "structure"


def test_note_is_no_root_where_something_is_wrong():
    found = mark_roots([witness("note", 0, {"w"}, severity="note"), witness("error", 5, {"w"})], [], {})
    assert [(v.rule, v.root) for v in found] == [("error", True), ("note", False)]


@pytest.mark.parametrize(
    ("first", "root"), [(None, "written"), (0, "written"), (1, "written"), (-1, "learned")]
)
def test_what_somebody_wrote_is_told_before_what_was_learned(first: int | None, root: str):
    """Unless the learned rule was broken at an earlier step: then it may be the cause."""
    learned_at, written_at = (0, 1) if first == -1 else (first, first or 0)
    unusual = witness("learned", learned_at, {"w"}, 4, site="forward", learned=True)
    wrong = witness("written", written_at, {"w"}, 6, site="accumulate")
    found = mark_roots([unusual, wrong], [], {})
    assert (found[0].rule, found[0].root) == (root, True)
    assert [v.cluster for v in found] == [1, 1]


def test_what_nothing_flows_into_is_a_root_of_its_own():
    links = [("w", "model"), ("StepLR#0", "SGD#0"), ("SGD#0", "w")]
    found = mark_roots(
        [
            witness("mode", 0, {"model"}, 3, site="dropout_call"),
            witness("schedule", 1, {"StepLR#0"}, 11, site="scheduler_step"),
            witness("stuck", 2, {"w"}, 9, site="update"),
            witness("frozen", 2, {"w"}, 12, site="param_state"),
        ],
        links,
        {},
    )
    assert [(v.rule, v.root, v.cluster) for v in found] == [
        ("mode", True, 1),
        ("schedule", True, 2),
        ("stuck", False, 1),
        ("frozen", False, 1),
    ]
    cause = found[0].cause
    assert cause is not None and (cause.confidence, cause.explains, cause.rivals) == ("medium", 2, ())
    assert (cause.way[0], cause.way[-1]) == ("dropout_call", "param_state")


def test_one_cause_that_explains_more_is_preferred():
    found = mark_roots(
        [
            witness("early", 0, {"w"}, 7, site="clip"),
            witness("structure", 1, {"w"}, 0, site="trainability"),
            witness("gradients", 1, {"w"}, 6, site="accumulate"),
            witness("late", 1, {"w"}, 9, site="update"),
        ],
        [],
        {},
    )
    assert [(v.rule, v.root) for v in found][:2] == [("early", True), ("structure", True)]
    assert [v.cluster for v in found if v.rule == "late"] == [found[1].cluster]


def test_equal_explanations_are_told_and_lower_the_confidence():
    same = [witness("a", 1, {"w"}), witness("b", 1, {"w"}, missing=True), witness("c", 2, {"w"})]
    (root,) = [v for v in mark_roots(same, [], {}) if v.root]
    assert root.rule == "b" and root.cause is not None
    assert (root.cause.confidence, root.cause.rivals) == ("low", ("a",))
    (alone,) = mark_roots(same[:1], [], {})
    assert alone.cause is not None and (alone.cause.confidence, alone.cause.explains) == ("high", 0)


def test_a_later_breach_causes_no_earlier_one():
    found = mark_roots([witness("late", 5, {"w"}, 6, site="accumulate"), witness("early", 2, {"w"})], [], {})
    assert [(v.rule, v.root) for v in found] == [("early", True), ("late", True)]


def test_each_relation_has_a_place_in_the_flow():
    known = {*FLOW, *ELSEWHERE}
    assert known == set(BY_NAME) and not set(FLOW) & ELSEWHERE
    edges = [(source, target) for source, targets in FLOW.items() for target in targets]
    assert {target for _, target in edges} <= known
    assert nx.is_directed_acyclic_graph(nx.DiGraph(edges)), "an iteration goes from data to update"


@pytest.mark.parametrize(
    ("causes", "effects", "way"),
    [
        ({"zero_grad"}, {"update"}, ("zero_grad", "gradient", "update")),
        ({"update"}, {"update"}, ("update",)),
        ({"scheduler_step"}, {"dropout_call"}, None),
        ({"update"}, {"forward"}, None),
        ({"scheduler_step", "batch"}, {"update"}, ("scheduler_step", "param_group", "update")),
        (set(), {"update"}, None),
    ],
)
def test_flow(causes: set[str], effects: set[str], way: tuple[str, ...] | None):
    assert acts_upon(causes, effects) == way


def report(*violations: Violation, **statuses: str) -> Report:
    verdicts = {
        name: RuleVerdict(name, status, 0, 1, int(status == "unknown")) for name, status in statuses.items()
    }
    return Report("runs/a", violations, verdicts, steps=10)


def text_of(found: Report, verbose: bool = False) -> str:
    out = StringIO()
    write(found, Console(file=out, width=110, highlight=False), verbose=verbose)
    return out.getvalue()


def test_exit_codes():
    assert report(a="held", b="vacuous").exit_code == 0
    assert report(a="vacuous", b="unknown").exit_code == 2
    assert report().exit_code == 2
    assert report(violation("a", 1), a="violated").exit_code == 1
    assert report(violation("a", 1, severity="note"), a="violated").exit_code == 0


def test_text_names_root_first_and_folds_subjects():
    found = mark_roots(
        [witness("r", 1, {f"w{i}"}) for i in range(40)], [(f"w{i}", "m") for i in range(40)], {}
    )
    text = text_of(report(*found, r="violated"))
    assert text.startswith("FAULTY  1 root cause")
    assert "and 39 more subjects" in text
    assert text.count("r message") == 1
    assert text_of(report(*found, r="violated"), verbose=True).count("r message") == 40


def test_text_never_calls_the_unchecked_clean():
    text = text_of(report(a="unknown", b="vacuous"))
    assert text.startswith("NOT CHECKED")
    assert "CLEAN" not in text


def test_text_strips_control_characters_of_a_run():
    bad = Violation("V1", "r", "error", 1, 1, 1, (0,), ("w",), "\x1b[2Jboo", None, 0, root=True, cluster=1)
    assert "\x1b" not in text_of(report(bad, r="violated"))


def test_json_has_what_programs_rely_on():
    located = Violation(
        "V1", "r", "error", None, None, 1, (), ("w",), "m", Location("t.py", 3), 0, root=True, cluster=1
    )
    data = json.loads(as_json(report(located, r="violated", u="unknown")))
    assert data["schema_version"] == 1
    assert data["summary"] == {"violated": 1, "held": 0, "vacuous": 0, "unknown": 1, "suppressed": 0}
    assert data["violations"][0]["first_step"] is None
    assert data["violations"][0]["location"] == {"file": "t.py", "line": 3}
    assert set(data["verdicts"]["u"]) == {"status", "violated", "held", "unknown", "reasons"}
