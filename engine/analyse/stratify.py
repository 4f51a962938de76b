"""Seventh pass: strata in the order in which they are evaluated; negation within a cycle is a fault."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.monotone import check_monotone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tcrules.engine.analyse.faults import Faults
    from tcrules.grammar.ast import Span


def reads(body: ir.Body, *, negated: bool = False) -> Iterator[tuple[ir.Atom, bool]]:
    """All atoms of a body at all depths, each with whether it is under a negation or in an aggregate."""
    for literal in body:
        if isinstance(literal, ir.Atom):
            yield literal, negated
        elif isinstance(literal, ir.Not | ir.Group):
            yield from reads(literal.body, negated=True)
        elif isinstance(literal, ir.Either):
            for alternative in literal.alternatives:
                yield from reads(alternative, negated=negated)


def stratify(
    predicates: Mapping[str, ir.Predicate], rules: Sequence[ir.Rule], faults: Faults
) -> tuple[ir.Stratum, ...]:
    """One stratum per strongly connected component of the precedence graph."""
    derived = [name for name, predicate in predicates.items() if not predicate.observed]
    graph = _Graph(derived, rules)
    strata = []
    for component in graph.components():
        members = set(component)
        own = tuple(rule for rule in rules if rule.head.predicate.name in members)
        recursive = any(target in members for name in component for target in graph.edges[name])
        for rule in own:
            for atom, negated in reads(rule.body):
                if negated and atom.predicate.name in members:
                    _report(graph, members, rule, atom, faults)
        stratum = ir.Stratum(tuple(predicates[name] for name in component), own, recursive)
        check_monotone(stratum, faults)
        strata.append(stratum)
    return tuple(strata)


def _report(graph: _Graph, members: set[str], rule: ir.Rule, atom: ir.Atom, faults: Faults) -> None:
    head, target = rule.head.predicate.name, atom.predicate.name
    back = graph.path(target, head, members)
    cycle = " -> ".join([f"{head} -> not {target}", *back[1:]])
    more = [(graph.places[pair], f"`{pair[0]}` reads `{pair[1]}`") for pair in pairwise(back)]
    message = f"`{head}` depends on itself through a negation or an aggregate"
    notes = (f"the cycle: {cycle}", "whether such a fact holds would depend on whether it holds")
    text = f"`{head}` reads `{target}` here"
    mend = (
        f"negate and aggregate only what does not depend on `{head}`; a smallest or largest value that a recursion "
        "looks for may be kept by its last column: `relation name(key: type, value: min type)`"
    )
    faults.error("TCR302", message, atom.span, text, more=more, notes=notes, mend=mend)


class _Graph:
    """The precedence graph of derived predicates: an edge from a head to what its body reads."""

    def __init__(self, names: Sequence[str], rules: Sequence[ir.Rule]) -> None:
        self.edges: dict[str, dict[str, None]] = {name: {} for name in names}
        self.places: dict[tuple[str, str], Span] = {}
        for rule in rules:
            head = rule.head.predicate.name
            for atom, _ in reads(rule.body):
                target = atom.predicate.name
                if target in self.edges and head in self.edges:
                    self.edges[head][target] = None
                    self.places.setdefault((head, target), atom.span)

    def components(self) -> Iterator[list[str]]:
        """Strongly connected components, those that are read first (Tarjan 1972, without recursion)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        open_: dict[str, None] = {}
        for root in self.edges:
            if root in index:
                continue
            index[root] = low[root] = len(index)
            open_[root] = None
            work = [(root, iter(self.edges[root]))]
            while work:
                name, targets = work[-1]
                for target in targets:
                    if target not in index:
                        index[target] = low[target] = len(index)
                        open_[target] = None
                        work.append((target, iter(self.edges[target])))
                        break
                    if target in open_:
                        low[name] = min(low[name], index[target])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[name])
                    if low[name] == index[name]:
                        yield self._close(name, open_, index)

    def _close(self, name: str, open_: dict[str, None], index: Mapping[str, int]) -> list[str]:
        component = [member for member in open_ if index[member] >= index[name]]
        for member in component:
            del open_[member]
        return component

    def path(self, start: str, goal: str, within: set[str]) -> list[str]:
        """A shortest path along edges, both ends included."""
        before: dict[str, str] = {}
        waiting = deque([start])
        while waiting and goal != start and goal not in before:
            name = waiting.popleft()
            for target in self.edges[name]:
                if target in within and target not in before and target != start:
                    before[target] = name
                    waiting.append(target)
        route = [goal]
        while route[-1] != start:
            route.append(before[route[-1]])
        return route[::-1]
