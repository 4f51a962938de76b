"""Proofs as data, their check, and their JSON form.

`check_proof` trusts the facts of the source and the table of functions, nothing else: it has its own
evaluation of terms, negations and aggregates, so a fault of an evaluator or of `provenance.py` cannot
hide itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine import ir
from tcrules.engine.alternatives import conjunctions
from tcrules.engine.show import show_fact, show_literal, show_rule, show_value
from tcrules.engine.values import apply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcrules.engine.facts import FactSource, Stored
    from tcrules.engine.ir import Value
    from tcrules.engine.why_not import WhyNot

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """Why a fact holds. `rule` is None for an observed fact, whose id is in `fact`.

    `binding` are the values of the rule's variables, `premises` the proofs of its positive atoms in order,
    `checks` its other literals with values filled in. Equal subproofs are one object.
    """

    predicate: ir.Predicate
    fact: Stored
    rule: ir.Rule | None = None
    binding: tuple[tuple[str, Value], ...] = ()
    premises: tuple[Proof, ...] = ()
    checks: tuple[str, ...] = ()

    @property
    def conclusion(self) -> str:
        """The fact as text."""
        return show_fact(self.predicate, self.fact.values)

    def nodes(self) -> Iterator[Proof]:
        """This proof and all below it, each once, conclusions before premises."""
        yield from _nodes([self])


@dataclass(frozen=True, slots=True, eq=False)
class ViolationProof:
    """Why an invariant is violated: proofs of what its body matched, and how far each alternative came.

    `each` is the conjunction that holds, of those that the invariant's body stands for.
    """

    invariant: ir.Invariant
    each: ir.Body
    binding: tuple[tuple[str, Value], ...]
    premises: tuple[Proof, ...]
    checks: tuple[str, ...]
    unmet: tuple[WhyNot, ...]

    @property
    def conclusion(self) -> str:
        """The violation as text."""
        shown = {variable.name for variable in self.invariant.variables}
        values = ", ".join(f"{name}: {show_value(value)}" for name, value in self.binding if name in shown)
        return f"violated {self.invariant.id}({values})"

    def nodes(self) -> Iterator[Proof]:
        """All proofs of facts, each once, conclusions before premises."""
        yield from _nodes(list(self.premises))


def _nodes(start: list[Proof]) -> Iterator[Proof]:
    seen: set[int] = set()
    waiting = start[::-1]
    while waiting:
        proof = waiting.pop()
        if id(proof) not in seen:
            seen.add(id(proof))
            yield proof
            waiting.extend(reversed(proof.premises))


def to_json(proof: Proof | ViolationProof) -> dict[str, Json]:
    """The hypergraph of a proof: its conclusion, and one inference per fact that was proved."""
    inferences: list[Json] = []
    if isinstance(proof, ViolationProof):
        inferences.append(_inference(proof.conclusion, proof.invariant.id, proof.premises, proof.checks))
        inferences[0]["unmet"] = [missing.text for missing in proof.unmet]  # type: ignore[index,call-overload]
    for node in proof.nodes():
        name = "observed" if node.rule is None else show_rule(node.rule)
        inferences.append(_inference(node.conclusion, name, node.premises, node.checks))
    return {"finalConclusion": proof.conclusion, "inferences": inferences}


def _inference(
    conclusion: str, name: str, premises: tuple[Proof, ...], checks: tuple[str, ...]
) -> dict[str, Json]:
    return {
        "conclusion": conclusion,
        "ruleName": name,
        "premises": [premise.conclusion for premise in premises],
        "checks": list(checks),
    }


# ------------------------------------------------------------------------------------------------ check


def check_proof(proof: Proof, program: ir.Program, source: FactSource) -> list[str]:
    """What is wrong with a proof; nothing if it is valid.

    Every step is checked: the rule belongs to the program, head and premises are its instances, its other literals
    hold over the facts of `source`, and facts without a rule are observed there. Of a relation that keeps the best
    fact, that it is the best is looked up in `source`.
    """
    rules = {id(rule): number for number, stratum in enumerate(program.strata) for rule in stratum.rules}
    checker = _Checker(source)
    faults = checker.best([proof])
    for node in proof.nodes():
        if node.rule is None:
            found = checker.observed(node)
        elif id(node.rule) not in rules:
            found = ["the rule is not in the program"]
        else:
            found = checker.step(node, node.rule)
            # In their own stratum facts were used before better ones replaced them.
            stratum = rules[id(node.rule)]
            later = [p for p in node.premises if p.rule is not None and rules.get(id(p.rule)) != stratum]
            found += checker.best(later)
        faults += [f"{node.conclusion}: {fault}" for fault in found]
    return faults


def check_violation(proof: ViolationProof, program: ir.Program, source: FactSource) -> list[str]:
    """What is wrong with the proof of a violation; nothing if it is valid."""
    checker = _Checker(source)
    binding = dict(proof.binding)
    if not any(body == proof.each for body in conjunctions(proof.invariant.each)):
        return ["the body is none of those that the rule stands for"]
    faults = checker.body(proof.each, proof.premises, binding)
    for alternative in proof.invariant.expect:
        if next(checker.solutions(alternative, 0, binding), None) is not None:
            faults.append("an alternative of `expect` holds")
    for premise in proof.premises:
        faults += check_proof(premise, program, source)
    return faults


class _Checker:
    def __init__(self, source: FactSource) -> None:
        self.source = source

    def observed(self, node: Proof) -> list[str]:
        if not node.predicate.observed:
            return ["a derived fact without a rule"]
        if node.premises:
            return ["an observed fact with premises"]
        found = self.source.lookup(node.predicate, dict(enumerate(node.fact.values)))
        if not any(
            stored.id == node.fact.id and _all_same(stored.values, node.fact.values) for stored in found
        ):
            return [f"no such observed fact with the id {node.fact.id}"]
        return []

    def best(self, nodes: Iterable[Proof]) -> list[str]:
        """Faults of facts that should be the best of their relation."""
        return [
            f"{node.conclusion} was replaced by a better fact"
            for node in nodes
            if node.predicate.best
            and not any(self.source.lookup(node.predicate, dict(enumerate(node.fact.values))))
        ]

    def step(self, node: Proof, rule: ir.Rule) -> list[str]:
        """Faults of one use of a rule."""
        binding = dict(node.binding)
        if rule.head.predicate != node.predicate or not self._instance(rule.head, node.fact.values, binding):
            return ["the fact is no instance of the rule's head"]
        return self.body(rule.body, node.premises, binding)

    def body(self, body: ir.Body, premises: tuple[Proof, ...], binding: Mapping[str, Value]) -> list[str]:
        """Faults of a body whose positive atoms are proved by `premises`."""
        atoms = [literal for literal in body if isinstance(literal, ir.Atom)]
        if len(atoms) != len(premises):
            return [f"{len(premises)} premises for {len(atoms)} atoms"]
        faults = []
        for atom, premise in zip(atoms, premises, strict=True):
            fits = atom.predicate == premise.predicate
            if not fits or not self._instance(atom, premise.fact.values, binding):
                faults.append(f"{premise.conclusion} is no instance of {show_literal(atom, binding)}")
        others = (literal for literal in body if not isinstance(literal, ir.Atom))
        failed = (literal for literal in others if not self._holds(literal, binding))
        return [*faults, *(f"{show_literal(literal, binding)} does not hold" for literal in failed)]

    def _instance(self, atom: ir.Atom, values: tuple[Value, ...], binding: Mapping[str, Value]) -> bool:
        for term, value in zip(atom.arguments, values, strict=True):
            if isinstance(term, ir.Any_):
                continue
            wanted = self._value(term, binding)
            if wanted is None or not _same(wanted, value):
                return False
        return True

    def _holds(self, literal: ir.Literal, binding: Mapping[str, Value]) -> bool:
        if isinstance(literal, ir.Compare):
            left, right = self._value(literal.left, binding), self._value(literal.right, binding)
            return left is not None and right is not None and _compares(literal.op, left, right)
        if isinstance(literal, ir.Bind):
            left, right = self._value(literal.variable, binding), self._value(literal.value, binding)
            return left is not None and right is not None and _same(left, right)
        if isinstance(literal, ir.Not):
            outer = self._outer(literal.shared, binding)
            return outer is not None and next(self.solutions(literal.body, 0, outer), None) is None
        if isinstance(literal, ir.Group):
            result, found = self._value(literal.result, binding), self._group(literal, binding)
            return result is not None and found is not None and _same(result, found)
        raise TypeError("atoms are proved by premises")

    def _outer(self, shared: tuple[ir.Var, ...], binding: Mapping[str, Value]) -> dict[str, Value] | None:
        names = [variable.name for variable in shared]
        return {name: binding[name] for name in names} if all(name in binding for name in names) else None

    def _value(self, term: ir.Expr, binding: Mapping[str, Value]) -> Value | None:
        if isinstance(term, ir.Var):
            return binding.get(term.name)
        if isinstance(term, ir.Const):
            return term.value
        return apply(term.name, [self._value(argument, binding) for argument in term.arguments])

    def solutions(self, body: ir.Body, at: int, binding: dict[str, Value]) -> Iterator[dict[str, Value]]:
        """Bindings that satisfy the literals from `at` on."""
        if at == len(body):
            yield binding
            return
        literal = body[at]
        if isinstance(literal, ir.Atom):
            for extended in self._matches(literal, binding):
                yield from self.solutions(body, at + 1, extended)
        elif isinstance(literal, ir.Either):
            for alternative in literal.alternatives:
                for found in self.solutions(alternative, 0, binding):
                    bound = {variable.name: found[variable.name] for variable in literal.binds}
                    yield from self.solutions(body, at + 1, {**binding, **bound})
        elif isinstance(literal, ir.Bind | ir.Group) and self._target(literal).name not in binding:
            value = (
                self._value(literal.value, binding)
                if isinstance(literal, ir.Bind)
                else self._group(literal, binding)
            )
            if value is not None:
                yield from self.solutions(body, at + 1, {**binding, self._target(literal).name: value})
        elif self._holds(literal, binding):
            yield from self.solutions(body, at + 1, binding)

    def _target(self, literal: ir.Bind | ir.Group) -> ir.Var:
        return literal.variable if isinstance(literal, ir.Bind) else literal.result

    def _matches(self, atom: ir.Atom, binding: dict[str, Value]) -> Iterator[dict[str, Value]]:
        bound = {}
        for place, term in enumerate(atom.arguments):
            value = None if isinstance(term, ir.Any_) else self._value(term, binding)
            if value is not None:
                bound[place] = value
        for stored in self.source.lookup(atom.predicate, bound):
            extended = dict(binding)
            for term, value in zip(atom.arguments, stored.values, strict=True):
                if isinstance(term, ir.Var):
                    extended.setdefault(term.name, value)
            if self._instance(atom, stored.values, extended):
                yield extended

    def _group(self, group: ir.Group, binding: Mapping[str, Value]) -> Value | None:
        outer = self._outer(group.shared, binding)
        if outer is None:
            return None
        elements: list[tuple[list[Value], Value, Value]] = []
        for found in self.solutions(group.body, 0, outer):
            over = [found[variable.name] for variable in group.over]
            value = 1 if group.value is None else self._value(group.value, found)
            key = 1 if group.key is None else self._value(group.key, found)
            if None not in (value, key) and not any(_all_same(over, other) for other, _, _ in elements):
                elements.append((over, value, key))  # type: ignore[arg-type]
        if group.kind in ("arg_min", "arg_max"):
            return _extreme(group.kind, [(value, key) for _, value, key in elements])
        return _fold(group, [value for _, value, _ in elements])


def _extreme(kind: str, elements: list[tuple[Value, Value]]) -> Value | None:
    """The smallest value among the elements that no other key beats."""
    beats = "<" if kind == "arg_min" else ">"
    best = [v for v, key in elements if not any(_compares(beats, other, key) for _, other in elements)]
    return next((v for v in best if not any(_compares("<", other, v) for other in best)), None)


def _fold(group: ir.Group, values: list[Value]) -> Value | None:
    if group.kind == "count":
        return len(values)
    if group.kind == "distinct":
        return sum(not any(_same(value, other) for other in values[:at]) for at, value in enumerate(values))
    if group.kind in ("min", "max"):
        best: Value | None = None
        for value in values:
            if best is None or _compares("<" if group.kind == "min" else ">", value, best):
                best = value
        return best
    numbers = [value for value in values if not isinstance(value, str)]
    floats = group.value is not None and group.value.type.base == "float"
    total = _total(numbers) if floats else sum(numbers)
    if group.kind == "mean":
        return float(total) / len(numbers) if numbers else None
    return total if floats or -(2**63) <= total < 2**63 else None


def _total(numbers: list[float]) -> float:
    """The exact sum of floats, rounded once."""
    if not all(math.isfinite(value) for value in numbers):
        return sum(value for value in numbers if not math.isfinite(value))
    exact = sum((Fraction(value) for value in numbers), Fraction())
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)


# ------------------------------------------------------------------------------------------------ values


def _same(left: Value, right: Value) -> bool:
    both_nan = isinstance(left, float) and isinstance(right, float) and left != left and right != right
    return both_nan or (left == right and isinstance(left, str) == isinstance(right, str))


def _all_same(left: tuple[Value, ...] | list[Value], right: tuple[Value, ...] | list[Value]) -> bool:
    return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))


def _compares(op: str, left: Value, right: Value) -> bool:
    """The total order, stated by cases: NaN is above everything."""
    if op in ("=", "!="):
        return _same(left, right) == (op == "=")
    if _same(left, right):
        return op in ("<=", ">=")
    if isinstance(left, float) and left != left:
        smaller = False
    elif isinstance(right, float) and right != right:
        smaller = True
    elif isinstance(left, str) and isinstance(right, str):
        smaller = left < right
    else:
        smaller = float(left) < float(right) if isinstance(left, float) else int(left) < int(right)
    return smaller == (op in ("<", "<="))
