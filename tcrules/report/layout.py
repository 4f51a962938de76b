"""Where the nodes of a causal graph stand: in layers, what explains below what is explained, with few crossings.

After Sugiyama, Tagawa and Toda (1981): edges that close a cycle are turned, a node stands a layer below the lowest that
points at it, and sweeps over the layers put each node at the mean place of its neighbours.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx

from tcrules.report.graph import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.report.graph import Graph

#: Pixels of a character and of a line, and the space between boxes.
CHARACTER, LINE, GAP, LAYER_GAP, PADDING = 6.7, 14, 18, 34, 8
#: Characters of a line and lines of a box; what is longer ends with an ellipsis.
WIDE, TALL = 28, 8
#: Sweeps down and up.
SWEEPS = 6
#: Edges that say in which order things ran, not why: they take no part.
SIDEWAYS = frozenset({"after", "part of", "should follow", "should precede"})


@dataclass(frozen=True, slots=True)
class Box:
    """A node with its lines of text; `x` and `y` are its middle, in pixels."""

    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by node, and the size of the picture."""

    boxes: Mapping[str, Box]
    width: float
    height: float


def layout(graph: Graph, labels: Mapping[str, str]) -> Layout:
    """Place the nodes of a graph; about 1 ms for each ten nodes."""
    lines = {key: _wrapped(labels[key]) for key in graph}
    sizes = {
        key: (max(map(len, text), default=1) * CHARACTER + 2 * PADDING, len(text) * LINE + 2 * PADDING)
        for key, text in lines.items()
    }
    down = _acyclic(graph)
    layers = _ordered(down, _layers(down))
    places = _columns(down, layers, {key: width for key, (width, _) in sizes.items()})
    boxes: dict[str, Box] = {}
    y = GAP
    for layer in layers:
        height = max(sizes[key][1] for key in layer)
        for key in layer:
            boxes[key] = Box(lines[key], places[key], y + height / 2, *sizes[key])
        y += height + LAYER_GAP
    left = min((box.x - box.width / 2 for box in boxes.values()), default=0.0) - GAP
    moved = {key: Box(b.lines, b.x - left, b.y, b.width, b.height) for key, b in boxes.items()}
    width = max((box.x + box.width / 2 for box in moved.values()), default=0.0) + GAP
    return Layout(moved, width, y - LAYER_GAP + GAP)


def _wrapped(text: str) -> tuple[str, ...]:
    lines = textwrap.wrap(text, WIDE, break_on_hyphens=False) or [""]
    if len(lines) > TALL:
        lines = [*lines[: TALL - 1], lines[TALL - 1][: WIDE - 1] + "…"]
    return tuple(lines)


def _acyclic(graph: Graph) -> nx.DiGraph[str]:
    """The edges that tell why, those that close a cycle turned round."""
    found: nx.DiGraph[str] = nx.DiGraph()
    found.add_nodes_from(graph)
    for source, target in graph.edges:
        if kind_of(graph, source, target) not in SIDEWAYS:
            closes = source == target or (found.has_node(target) and nx.has_path(found, target, source))
            if source != target:
                found.add_edge(*((target, source) if closes else (source, target)))
    return found


def _layers(graph: nx.DiGraph[str]) -> list[list[str]]:
    depth: dict[str, int] = {}
    for key in nx.topological_sort(graph):
        depth[key] = 1 + max((depth[above] for above in graph.predecessors(key)), default=-1)
    for key in reversed(list(nx.topological_sort(graph))):
        below = [depth[one] for one in graph.successors(key)]
        if below and not graph.in_degree(key):
            depth[key] = min(below) - 1  # what nothing explains stands close to what it is about
    layers: dict[int, list[str]] = {}
    for key in graph:
        layers.setdefault(depth[key], []).append(key)
    return [layers[number] for number in sorted(layers)]


def _ordered(graph: nx.DiGraph[str], layers: Sequence[Sequence[str]]) -> list[list[str]]:
    found = [list(layer) for layer in layers]
    for sweep in range(SWEEPS):
        place = {key: number / max(len(layer), 1) for layer in found for number, key in enumerate(layer)}
        for layer in found if sweep % 2 == 0 else reversed(found):
            near = graph.predecessors if sweep % 2 == 0 else graph.successors
            means = {key: _mean([place[one] for one in near(key)], place[key]) for key in layer}
            layer.sort(key=lambda key: means[key])
            place.update({key: number / max(len(layer), 1) for number, key in enumerate(layer)})
    return found


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _columns(
    graph: nx.DiGraph[str], layers: Sequence[Sequence[str]], widths: Mapping[str, float]
) -> dict[str, float]:
    """Places from left to right: as near to the neighbours as the boxes beside allow."""
    places: dict[str, float] = {}
    for layer in layers:
        wanted = [
            _mean([places[one] for one in graph.predecessors(key) if one in places], 0.0) for key in layer
        ]
        places.update(zip(layer, _apart(layer, wanted, widths), strict=True))
    for layer in reversed(layers[:-1]):
        near = [[places[one] for one in graph.successors(key)] for key in layer]
        wanted = [_mean(several, places[key]) for key, several in zip(layer, near, strict=True)]
        places.update(zip(layer, _apart(layer, wanted, widths), strict=True))
    return places


def _apart(layer: Sequence[str], wanted: Sequence[float], widths: Mapping[str, float]) -> list[float]:
    """Places in the given order that do not overlap: the mean of packing from the left and from the right."""
    from_left, edge = [], float("-inf")
    for key, place in zip(layer, wanted, strict=True):
        here = max(place, edge + widths[key] / 2)
        from_left.append(here)
        edge = here + widths[key] / 2 + GAP
    from_right, edge = [], float("inf")
    for key, place in zip(reversed(layer), reversed(wanted), strict=True):
        here = min(place, edge - widths[key] / 2)
        from_right.append(here)
        edge = here - widths[key] / 2 - GAP
    return [(one + other) / 2 for one, other in zip(from_left, reversed(from_right), strict=True)]
