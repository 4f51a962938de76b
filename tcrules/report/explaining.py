"""From the proof of a violation to its causal graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.ir import Atom, Bind, Either, Group, Not, Op, Var
from tcrules.engine.show import show_expression, show_literal, show_rule, show_value
from tcrules.engine.values import evaluate
from tcrules.engine.why_not import why_not
from tcrules.report.graph import Evidence, Graph, GraphBuilder, Node, fact_label, leaves
from tcrules.report.origins import add_origins
from tcrules.report.parting import add_parting
from tcrules.report.placing import add_place, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcrules.engine.facts import Coverage, DerivedSource
    from tcrules.engine.ir import Body, Expr, Literal, Program, Value
    from tcrules.engine.proof import Proof, ViolationProof
    from tcrules.engine.why_not import Near, WhyNot
    from tcrules.report.model import Violation
    from tcrules.report.parting import Parting

#: What a breach without an expectation lacks: nothing, its facts must not come together.
FORBIDDEN = "these facts must not come together"


def violation_graph(
    builder: GraphBuilder,
    violation: Violation,
    proof: ViolationProof,
    links: Mapping[tuple[str, str], Evidence],
    parted: Parting | None = None,
) -> tuple[Graph, str]:
    """The graph of a violation and the key of its node; with where the run parts from a reference run."""
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
    if parted is not None:
        add_parting(builder, parted, root)
    builder.connect(links)
    return builder.graph, root


def missing_graph(
    program: Program, source: DerivedSource, body: Body, asked: str, coverage: Coverage | None = None
) -> tuple[Graph, str] | None:
    """Why no facts satisfy a body, and the key of what was asked; None if some do."""
    reason = why_not(body, source, {}, program, coverage=coverage)
    if reason is None:
        return None
    builder = GraphBuilder(program, source)
    root = builder.add(Node("asked", "violation", f"does not hold: {asked}"))
    add_missing(builder, reason, body, root, "asked missing")
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
) -> str:
    """What is missing of a body, its place, the facts that come near, and for a derived fact why each rule fails.

    `rests` are the facts because of which it is expected.
    """
    window = window_of(reason, body)
    kind = "expected" if isinstance(reason.missing, Atom | Group | Either) else "unmet"
    node = builder.add(
        Node(key, "missing", _lacking(reason, body), window=window),
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
    for text in reason.notes:
        builder.add(Node(f"{key} note {text}", "note", text), node, "note")
    add_place(builder, window, node)
    for number, (rule, why) in enumerate(reason.rules, 1):
        place = f"{key} rule {number}"
        builder.add(Node(place, "condition", show_rule(rule)), node, "not derived by", rests)
        add_missing(builder, why, rule.body, place, f"{place} missing", rests)
    return node


def _lacking(reason: WhyNot, body: Body) -> str:
    """What is missing; an aggregate is where it has no value, since nothing is in it."""
    binding = dict(reason.binding)
    if isinstance(reason.missing, Group):
        return f"{_aggregate(reason.missing, binding)} has no value"
    return described(reason.missing, binding, body)


def described(literal: Literal, binding: Mapping[str, Value], body: Body = ()) -> str:
    """A literal with its values: filled in in an atom; beside a comparison, where a value alone says little.

    With the body that it stands in, an aggregate is written where its value is used.
    """
    if isinstance(literal, Atom | Not | Group | Either):
        return show_literal(literal, binding)
    terms = (literal.variable, literal.value) if isinstance(literal, Bind) else (literal.left, literal.right)
    found = dict.fromkeys(var for term in terms for var in _variables(term) if var.name in binding)
    values = ", ".join(f"{_name(var)} is {_shown(var, binding[var.name])}" for var in found)
    text = show_literal(literal)
    for group in (one for one in body if isinstance(one, Group) and one.result.name.startswith("#")):
        text = text.replace(group.result.name, _aggregate(group, binding))
    text = f"{text}, where {values}" if values else text
    undefined = [
        show_expression(term) for term in terms if isinstance(term, Op) and evaluate(term, binding) is None
    ]
    return "; ".join([text, *(f"{term} has no value" for term in undefined)])


def _aggregate(group: Group, binding: Mapping[str, Value]) -> str:
    """An aggregate without its result, of which analysis may have made up the name."""
    result = group.result.name
    text = show_literal(group, {name: value for name, value in binding.items() if name != result})
    return text.partition(" = ")[2] if result.startswith("#") else text


def _name(variable: Var) -> str:
    """A variable as the reader knows it; the value of an aggregate has no name of its own."""
    return "its value" if variable.name.startswith("#") else variable.name


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
    differ = [f"{_column(name)} is {show_value(found)}" for name, _, found in near.differences]
    names = [column.name for column in near.predicate.columns]
    if "step" in names and "step" not in (name for name, _, _ in near.differences):
        label = f"step {near.fact.values[names.index('step')]}: {label}"
    return f"{label}, but {', '.join(differ)}" if differ else label


def _column(name: str) -> str:
    """The name of a column; those that have only a position are counted from 1."""
    return f"argument {int(name[1:]) + 1}" if name.startswith("$") else name


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
