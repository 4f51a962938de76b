"""Strata to relations: semi-naive, all rules of a round see the facts of the rounds before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tcrules.engine.ir import Atom, Const, Rule, Stratum, Var
from tcrules.engine.optimise.order import order
from tcrules.engine.plan.build import compile_body
from tcrules.engine.plan.build import expression_variables as read
from tcrules.engine.plan.plan import Extend, Join, Plan, Project, Scan, Select, SemiJoin, Version, columns
from tcrules.engine.vector.stream import Evaluation
from tcrules.engine.vector.words import Words, word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcrules.engine.vector.batch import Batch
    from tcrules.engine.vector.store import VectorStore


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule's plan; `reads` is the relation whose new facts it starts from ("" for none)."""

    rule: Rule
    plan: Plan
    reads: str


def derive(store: VectorStore, stratum: Stratum) -> None:
    """Fill the relations of a stratum; those that it reads are complete.

    Raises:
        EvaluationLimit: more facts or rounds than the store allows.
    """
    members = {predicate.name for predicate in stratum.predicates}
    start = [rule for rule in stratum.rules if not _recursive(rule, members)]
    for rule in start:
        _apply(store, _compiled(store, rule, None, members))
    changed = _advance(store, members, 1)
    if not stratum.recursive or not changed:
        return
    steps = [
        _compiled(store, rule, place, members)
        for rule in stratum.rules
        for place in _recursive(rule, members)
    ]
    round_ = 1
    while changed:
        round_ += 1
        store.check_size(round_)
        for step in steps:
            if step.reads in changed:
                _apply(store, step)
        changed = _advance(store, members, round_)


def _recursive(rule: Rule, members: set[str]) -> list[int]:
    """Places of the body's atoms over relations of the same stratum; such atoms are never nested."""
    return [
        place
        for place, literal in enumerate(rule.body)
        if isinstance(literal, Atom) and literal.predicate.name in members
    ]


def _advance(store: VectorStore, members: set[str], round_: int) -> set[str]:
    """The relations that changed in a round."""
    return {name for name in sorted(members) if store.filling[name].advance(round_)}


def _compiled(store: VectorStore, rule: Rule, delta: int | None, members: set[str]) -> _Compiled:
    """The plan of a rule, from the new facts of the atom at place `delta` if one is given.

    The other recursive atoms read all facts: what two of them find twice is dropped on arrival.
    """
    places = order(rule.body, store.statistics(members), delta)
    body = tuple(rule.body[place] for place in places)
    versions = {} if delta is None else {places.index(delta): Version.DELTA}
    plan = narrowed(compile_body(body, versions=versions), frozenset(_head(rule)))
    chosen = rule.body[delta] if delta is not None else None
    return _Compiled(rule, plan, chosen.predicate.name if isinstance(chosen, Atom) else "")


def narrowed(plan: Plan, wanted: frozenset[Var]) -> Plan:
    """The plan with a distinct projection below each join where variables have done their work.

    Bindings that differ only in such variables would each meet all partners.
    """
    match plan:
        case Join(left, right) | SemiJoin(left, right):
            bound = columns(left)
            shared = set(columns(right))
            needed = tuple(name for name in bound if name in wanted or name in shared)
            below = narrowed(left, frozenset(needed))
            if len(needed) < len(bound) and not isinstance(left, Scan):
                below = Project(below, needed)
            return type(plan)(below, right)
        case Select(source, comparison):
            return Select(
                narrowed(source, wanted | read(comparison.left) | read(comparison.right)), comparison
            )
        case Extend(source, variable, value):
            return Extend(narrowed(source, (wanted - {variable}) | read(value)), variable, value)
        case _:
            return plan


def _head(rule: Rule) -> Iterator[Var]:
    return (term for term in rule.head.arguments if isinstance(term, Var))


def _apply(store: VectorStore, step: _Compiled) -> None:
    """Add what a rule derives."""
    relation = store.filling[step.rule.head.predicate.name]
    for batch in Evaluation(store).run(step.plan, dict.fromkeys(_head(step.rule))):
        relation.add(_facts(store, step.rule, batch), batch.size)
        store.check_size(0)


def _facts(store: VectorStore, rule: Rule, batch: Batch) -> list[Words]:
    found = []
    for term, column in zip(rule.head.arguments, rule.head.predicate.columns, strict=True):
        if isinstance(term, Const):
            found.append(np.full(batch.size, word(term.value, column.type.base, store.texts), np.int64))
        else:
            assert isinstance(term, Var), "analysis refuses wildcards in heads"
            found.append(batch.columns[term])
    return found
