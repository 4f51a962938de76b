"""Which violations are causes and which are consequences.

Violations that speak about connected objects (a parameter and its model, an optimizer and its parameters) form a
cluster. What came first in a cluster is its root: by step; within a step by the order in which a training iteration
works (data, forward, loss, backward, …); then the louder; then the more specific one, which names fewer subjects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import networkx as nx

from tcrules.instrument.schema import BY_NAME
from tcrules.report.model import LOUD, SEVERITIES, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.engine.ir import Invariant

#: Types of values that name a thing in the program; violations that share one are connected.
OBJECT_TYPES = frozenset({"param", "buffer", "module", "optimizer", "scheduler", "scaler", "loader", "group"})


@dataclass(frozen=True, slots=True)
class Witness:
    """A violation with what decides about cause and consequence: the objects it names and its causal phase."""

    violation: Violation
    objects: frozenset[str]
    phase: int


def phase(invariant: Invariant) -> int:
    """Place of a rule in a training iteration: that of the earliest relation whose facts were expected.

    A denial expects nothing; it happens when the last of its facts does.

    >>> BY_NAME["batch"].phase < BY_NAME["forward"].phase < BY_NAME["update"].phase
    True
    """
    expected = [BY_NAME[name].phase for name in invariant.watched if name in BY_NAME]
    if expected:
        return min(expected)
    return max((BY_NAME[name].phase for name in invariant.needs if name in BY_NAME), default=0)


def mark_roots(
    witnesses: Sequence[Witness], links: Iterable[tuple[str, str]], order: Mapping[str, int]
) -> list[Violation]:
    """Violations with `cluster` and `root` set and ids V1, V2, …; roots first, then what follows from them.

    `links` connect objects of the run; `order` gives each rule its position, so that ties are broken the same way in
    every report.
    """
    ranked: list[tuple[int, bool, Witness]] = []
    for cluster, members in enumerate(_clusters(witnesses, links), 1):
        causes = sorted(members, key=lambda witness: _causality(witness, order))
        ranked += [(cluster, place == 0, witness) for place, witness in enumerate(causes)]
    ranked.sort(key=lambda item: not item[1])
    return [
        replace(witness.violation, id=f"V{number}", root=root, cluster=cluster)
        for number, (cluster, root, witness) in enumerate(ranked, 1)
    ]


def _clusters(witnesses: Sequence[Witness], links: Iterable[tuple[str, str]]) -> list[list[Witness]]:
    graph: nx.Graph[str | int] = nx.Graph()
    graph.add_edges_from(links)
    for index, witness in enumerate(witnesses):
        graph.add_node(index)
        graph.add_edges_from((index, name) for name in witness.objects)
    found = []
    for component in nx.connected_components(graph):
        members = sorted(node for node in component if isinstance(node, int))
        if members:
            found.append([witnesses[index] for index in members])
    # The loudest and earliest cluster is the one to look at first.
    return sorted(found, key=lambda members: min(_urgency(witness) for witness in members))


def _urgency(witness: Witness) -> tuple[int, int, int]:
    violation = witness.violation
    return SEVERITIES.index(violation.severity), _first(violation), witness.phase


def _causality(witness: Witness, order: Mapping[str, int]) -> tuple[bool, int, int, int, int, int, str]:
    violation = witness.violation
    return (
        # A note may be early but is no cause worth a headline where something louder is wrong.
        violation.severity not in LOUD,
        _first(violation),
        witness.phase,
        SEVERITIES.index(violation.severity),
        len(violation.subjects),
        order.get(violation.rule, len(order)),
        violation.subjects[0] if violation.subjects else "",
    )


def _first(violation: Violation) -> int:
    """Breaches of structure have no step: they were there before training began."""
    return -1 if violation.first_step is None else violation.first_step
