"""From the proof of a violation to its causal graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.ir import Atom, Bind, Either, Group, Not, Op, Var
from tcrules.engine.show import show_literal, show_rule, show_value
from tcrules.report.graph import Evidence, Graph, GraphBuilder, Node, fact_label, leaves
from tcrules.report.origins import add_origins
from tcrules.report.placing import add_place, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcrules.engine.ir import Body, Expr, Literal, Value
    from tcrules.engine.proof import Proof, ViolationProof
    from tcrules.engine.why_not import Near, WhyNot
    from tcrules.report.model import Violation

#: What a breach without an expectation lacks: nothing, its facts must not come together.
FORBIDDEN = "these facts must not come together"


def violation_graph(
    builder: GraphBuilder,
    violation: Violation,
    proof: ViolationProof,
    links: Mapping[tuple[str, str], Evidence],
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
    rests = leaves(proof.premises)
    add_reasons(builder, proof, root)
    for number, (reason, body) in enumerate(zip(proof.unmet, proof.invariant.expect, strict=True), 1):
        add_missing(builder, reason, body, root, f"{violation.id} missing {number}", rests)
    if not proof.unmet:
        builder.add(Node(f"{violation.id} forbidden", "missing", FORBIDDEN), root, "forbidden", rests)
    add_origins(builder)
    builder.connect(links)
    return builder.graph, root


def add_reasons(builder: GraphBuilder, proof: ViolationProof, root: str) -> None:
    """The proofs of the facts of a body, and its conditions."""
    for atom, premise in zip(_atoms(proof.each), proof.premises, strict=True):
        _add_proof(builder, atom, premise, root, "because")
    _add_conditions(builder, proof.each, proof.binding, leaves(proof.premises), root, "because")


def add_missing(
    builder: GraphBuilder,
    reason: WhyNot,
    body: Body,
    parent: str,
    key: str,
    rests: tuple[Evidence, ...] = (),
    kind: str = "expected",
) -> str:
    """What is missing of a body, its place, the facts that come near, and for a derived fact why each rule fails.

    `rests` are the facts because of which it is expected.
    """
    window = window_of(reason, body)
    node = builder.add(
        Node(key, "missing", described(reason.missing, dict(reason.binding)), window=window),
        parent,
        kind,
        rests,
    )
    for atom, stored in reason.facts:
        builder.add_fact(atom, stored, node, "found")
    wanted = reason.missing if isinstance(reason.missing, Atom) else None
    for number, near in enumerate(reason.near, 1):
        shows = builder.evidence(near.predicate, near.fact)
        builder.add(Node(f"{key} near {number}", "near", near_label(near, wanted)), node, "near", shows)
    add_place(builder, window, node)
    for number, (rule, why) in enumerate(reason.rules, 1):
        place = f"{key} rule {number}"
        builder.add(Node(place, "condition", show_rule(rule)), node, "not derived by", rests)
        add_missing(builder, why, rule.body, place, f"{place} missing", rests)
    return node


def described(literal: Literal, binding: Mapping[str, Value]) -> str:
    """A literal with its values: filled in in an atom; beside a comparison, where a value alone says little."""
    if isinstance(literal, Atom | Not | Group | Either):
        return show_literal(literal, binding)
    terms = (literal.variable, literal.value) if isinstance(literal, Bind) else (literal.left, literal.right)
    found = dict.fromkeys(var for term in terms for var in _variables(term) if var.name in binding)
    values = ", ".join(f"{var.name} is {_shown(var, binding[var.name])}" for var in found)
    return f"{show_literal(literal)}, where {values}" if values else show_literal(literal)


def _shown(variable: Var, value: Value) -> str:
    # Of a fingerprint it matters only which ones are equal.
    if variable.type.name == "fingerprint":
        return f"#{int(value) & 0xFFFFFFFF:08x}"
    return show_value(value)


def _variables(expression: Expr) -> Iterator[Var]:
    if isinstance(expression, Var):
        yield expression
    elif isinstance(expression, Op):
        for argument in expression.arguments:
            yield from _variables(argument)


def near_label(near: Near, wanted: Atom | None) -> str:
    """A fact that comes near what was wanted, and in what it differs."""
    label = fact_label(near.predicate, near.fact.values, wanted)
    if not near.differences:
        return label
    return (
        f"{label}, but {', '.join(f'{name} is {show_value(found)}' for name, _, found in near.differences)}"
    )


def _add_proof(builder: GraphBuilder, atom: Atom, proof: Proof, parent: str, kind: str) -> None:
    rests = leaves((proof,))
    key = builder.add_fact(atom, proof.fact, parent, kind, rests=rests)
    if proof.rule is None:
        return
    _add_conditions(builder, proof.rule.body, proof.binding, rests, key, "derived from", f"{key} if ")
    for below, premise in zip(_atoms(proof.rule.body), proof.premises, strict=True):
        _add_proof(builder, below, premise, key, "derived from")


def _add_conditions(
    builder: GraphBuilder,
    body: Body,
    binding: Iterable[tuple[str, Value]],
    facts: tuple[Evidence, ...],
    parent: str,
    kind: str,
    prefix: str = "condition ",
) -> None:
    for literal in body:
        if not isinstance(literal, Atom | Bind):
            text = described(literal, dict(binding))
            builder.add(Node(f"{prefix}{text}", "condition", text), parent, kind, facts)


def _atoms(body: Body) -> list[Atom]:
    return [literal for literal in body if isinstance(literal, Atom)]
