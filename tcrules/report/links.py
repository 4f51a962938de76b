"""Which objects of a run belong together: read from its facts about structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


def object_links(predicates: Mapping[str, Predicate], facts: FactSource) -> list[tuple[str, str]]:
    """Pairs of connected objects, each once."""
    return sorted({*_structural(predicates, facts), *_frequent(predicates, facts)})


def single_component(links: list[tuple[str, str]]) -> str | None:
    """An object of the only component of the run, None where there are several.

    With one model and what belongs to it, whatever happens in the run concerns it.
    """
    graph: nx.Graph[str] = nx.Graph(links)
    components = list(nx.connected_components(graph))
    return min(components[0]) if len(components) == 1 else None


def _structural(predicates: Mapping[str, Predicate], facts: FactSource) -> Iterator[tuple[str, str]]:
    for relation, left, right in CONNECTIONS:
        predicate = predicates.get(relation)
        if predicate is not None:
            first, second = _position(predicate, left), _position(predicate, right)
            for fact in facts.lookup(predicate, {}):
                yield str(fact.values[first]), str(fact.values[second])


def _frequent(predicates: Mapping[str, Predicate], facts: FactSource) -> Iterator[tuple[str, str]]:
    for owner, column, relation, other in FREQUENT:
        objects, uses = predicates.get(owner), predicates.get(relation)
        if objects is None or uses is None:
            continue
        for fact in facts.lookup(objects, {}):
            name = fact.values[_position(objects, column)]
            for use in facts.lookup(uses, {_position(uses, column): name}):
                yield str(name), str(use.values[_position(uses, other)])
                break


def _position(predicate: Predicate, column: str) -> int:
    return next(place for place, found in enumerate(predicate.columns) if found.name == column)
