"""From the proof of a violation to its causal graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.show import show_rule, show_value
from tcrules.report.graph import Graph, GraphBuilder, Node, fact_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.proof import Proof, ViolationProof
    from tcrules.engine.why_not import Near, WhyNot
    from tcrules.report.model import Violation

#: What a breach without an expectation lacks: nothing, its facts must not come together.
FORBIDDEN = "these facts must not come together"


def violation_graph(
    builder: GraphBuilder, violation: Violation, proof: ViolationProof, links: Iterable[tuple[str, str]]
) -> tuple[Graph, str]:
    """The graph of a violation and the key of its node."""
    root = builder.add(
        Node(
            id=violation.id,
            kind="violation",
            label=f"{violation.id} {violation.severity} {violation.rule}: {violation.message}",
            step=violation.first_step,
            location=violation.location,
        )
    )
    for number, reason in enumerate(proof.unmet, 1):
        add_missing(builder, reason, root, f"{violation.id} missing {number}", "expected")
    if not proof.unmet:
        builder.add(Node(f"{violation.id} forbidden", "missing", FORBIDDEN), root, "forbidden")
    for check in proof.checks:
        builder.add(Node(f"condition {check}", "condition", check), root, "because")
    for premise in proof.premises:
        _add_proof(builder, premise, root, "because")
    builder.connect(links)
    return builder.graph, root


def add_missing(builder: GraphBuilder, reason: WhyNot, parent: str, key: str, kind: str) -> str:
    """What is missing, the facts that come near, and for a derived fact why each of its rules fails."""
    node = builder.add(Node(key, "missing", reason.text), parent, kind)
    for number, near in enumerate(reason.near, 1):
        builder.add(Node(f"{key} near {number}", "near", near_label(near)), node, "near")
    for number, (rule, why) in enumerate(reason.rules, 1):
        place = f"{key} rule {number}"
        builder.add(Node(place, "condition", show_rule(rule)), node, "not derived by")
        add_missing(builder, why, place, f"{place} missing", "expected")
    return node


def near_label(near: Near) -> str:
    """A fact that comes near, and in what it differs."""
    label = fact_label(near.predicate, near.fact.values)
    if not near.differences:
        return label
    return (
        f"{label}, but {', '.join(f'{name} is {show_value(found)}' for name, _, found in near.differences)}"
    )


def _add_proof(builder: GraphBuilder, proof: Proof, parent: str, kind: str) -> None:
    key = builder.add_fact(proof.predicate, proof.fact.values, parent, kind)
    for check in proof.checks:
        builder.add(Node(f"{key} if {check}", "condition", check), key, "derived from")
    for premise in proof.premises:
        _add_proof(builder, premise, key, "derived from")
