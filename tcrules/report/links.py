"""Which objects of a run belong together: read from its facts about structure."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import networkx as nx

from tcrules.report.graph import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcrules.engine.facts import FactSource
    from tcrules.engine.ir import Predicate

#: Relation -> the two columns whose objects it connects.
CONNECTIONS: tuple[tuple[str, str, str], ...] = (
    ("module", "module", "root"),
    ("parameter", "param", "root"),
    ("buffer", "buffer", "root"),
    ("copy", "root", "source"),
    ("wrapper", "wrapper", "inner"),
    ("member", "optimizer", "param"),
    ("scheduler", "scheduler", "optimizer"),
)
#: The same for relations with a fact per step, of which one for each object is enough.
FREQUENT: tuple[tuple[str, str, str, str], ...] = (("scaler", "scaler", "scaler_step", "optimizer"),)


def object_links(predicates: Mapping[str, Predicate], facts: FactSource) -> dict[tuple[str, str], Evidence]:
    """Pairs of connected objects, each with the first fact that connects them, in the order of their names."""
    found: dict[tuple[str, str], Evidence] = {}
    for pair, evidence in chain(_structural(predicates, facts), _frequent(predicates, facts)):
        found.setdefault(pair, evidence)
    return dict(sorted(found.items()))


def single_component(links: Iterable[tuple[str, str]]) -> str | None:
    """An object of the only component of the run, None where there are several.

    With one model and what belongs to it, whatever happens in the run concerns it.
    """
    graph: nx.Graph[str] = nx.Graph(links)
    components = list(nx.connected_components(graph))
    return min(components[0]) if len(components) == 1 else None


def _structural(
    predicates: Mapping[str, Predicate], facts: FactSource
) -> Iterator[tuple[tuple[str, str], Evidence]]:
    for relation, left, right in CONNECTIONS:
        predicate = predicates.get(relation)
        if predicate is not None:
            first, second = _position(predicate, left), _position(predicate, right)
            for fact in facts.lookup(predicate, {}):
                yield (str(fact.values[first]), str(fact.values[second])), Evidence(relation, fact.id)


def _frequent(
    predicates: Mapping[str, Predicate], facts: FactSource
) -> Iterator[tuple[tuple[str, str], Evidence]]:
    for owner, column, relation, other in FREQUENT:
        objects, uses = predicates.get(owner), predicates.get(relation)
        if objects is None or uses is None:
            continue
        for fact in facts.lookup(objects, {}):
            name = fact.values[_position(objects, column)]
            for use in facts.lookup(uses, {_position(uses, column): name}):
                yield (str(name), str(use.values[_position(uses, other)])), Evidence(relation, use.id)
                break


def _position(predicate: Predicate, column: str) -> int:
    return next(place for place, found in enumerate(predicate.columns) if found.name == column)
