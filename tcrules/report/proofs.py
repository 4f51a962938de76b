"""Proofs and near misses as trees on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from tcrules.engine.ir import Atom, Const, Var
from tcrules.engine.show import show_fact, show_rule, show_value
from tcrules.report.explaining import described
from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from tcrules.engine.proof import Proof
    from tcrules.engine.why_not import Near, WhyNot
    from tcrules.why import Reason


def reason_tree(reason: Reason) -> Tree:
    """An answer above the proofs of its facts."""
    values = ", ".join(f"{name} = {show_value(value)}" for name, value in reason.answer.items())
    tree = Tree(Text(plain(values or "true"), style="bold"), guide_style="dim")
    for several in reason.proofs:
        for number, proof in enumerate(several, start=1):
            branch = tree
            if len(several) > 1:
                branch = tree.add(Text(f"proof {number} of {len(several)}", style="dim"))
            _add_proof(branch, proof, set())
    return tree


def _add_proof(tree: Tree, proof: Proof, told: set[int]) -> None:
    """A fact, the rule that derives it, and what the rule needs; a proof that was told is only named."""
    line = Text(plain(proof.conclusion))
    if proof.rule is None:
        line.append("  observed", style="dim")
        tree.add(line)
        return
    if id(proof) in told:
        line.append("  as above", style="dim")
        tree.add(line)
        return
    told.add(id(proof))
    line.append(f"  by {plain(show_rule(proof.rule))}", style="dim")
    branch = tree.add(line)
    for premise in proof.premises:
        _add_proof(branch, premise, told)
    for check in proof.checks:
        branch.add(Text(plain(check), style="dim"))


def miss_tree(miss: WhyNot, title: str) -> Tree:
    """How far a conjunction came, and what it lacks."""
    tree = Tree(Text(plain(title), style="bold"), guide_style="dim")
    _add_miss(tree, miss, frozenset())
    return tree


def _add_miss(tree: Tree, miss: WhyNot, above: frozenset[object]) -> None:
    for atom, stored in miss.facts:
        tree.add(Text(f"found: {plain(show_fact(atom.predicate, stored.values))}"))
    word = "missing" if isinstance(miss.missing, Atom) else "does not hold"
    line = Text(f"{word}: {plain(described(miss.missing, dict(miss.binding)))}", style="bold yellow")
    asked = _asked(miss)
    if asked in above:
        line.append("  as above", style="dim")
        tree.add(line)
        return
    branch = tree.add(line)
    for note in miss.notes:
        branch.add(Text(f"note: {plain(note)}"))
    for near in miss.near:
        branch.add(Text(plain(_near(near))))
    for rule, why in miss.rules:
        below = branch.add(Text(f"by rule: {plain(show_rule(rule))}", style="dim"))
        _add_miss(below, why, above | {asked})


def _asked(miss: WhyNot) -> object:
    """Equal where the same fact is missing, whatever variables are called."""
    if not isinstance(miss.missing, Atom):
        return miss.text
    values = dict(miss.binding)
    terms = []
    for term in miss.missing.arguments:
        value = (
            term.value
            if isinstance(term, Const)
            else values.get(term.name)
            if isinstance(term, Var)
            else None
        )
        terms.append(repr(value))
    return miss.missing.predicate.name, tuple(terms)


def _near(near: Near) -> str:
    fact = f"there is: {show_fact(near.predicate, near.fact.values)}"
    differences = ", ".join(
        f"{name} is {show_value(found)}, not {show_value(wanted)}" for name, wanted, found in near.differences
    )
    return f"{fact}, where {differences}" if differences else fact
