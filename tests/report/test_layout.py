"""Pictures of graphs: nothing overlaps, arrows go down, whatever the graph and its names."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from tcrules.report.graph import Graph, Node
from tcrules.report.layout import SIDEWAYS, TALL, WIDE, layout
from tcrules.report.svg import as_svg

KINDS = ("because", "during", "inside", "after", "part of")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 14))
    found: Graph = nx.DiGraph()
    for number in range(size):
        name = f"n{number}"
        found.add_node(
            name, node=Node(name, draw(st.sampled_from(["violation", "fact", "call"])), draw(st.text()))
        )
    pairs = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=25))
    for source, target in pairs:
        found.add_edge(f"n{source}", f"n{target}", kind=draw(st.sampled_from(KINDS)), facts=())
    return found


@settings(deadline=None)
@given(graphs())
def test_boxes_do_not_overlap_and_arrows_go_down(graph: Graph):
    placed = layout(graph, {key: graph.nodes[key]["node"].label for key in graph})
    boxes = placed.boxes
    assert boxes.keys() == set(graph)
    for one, other in itertools.combinations(boxes.values(), 2):
        beside = abs(one.x - other.x) >= (one.width + other.width) / 2
        above = abs(one.y - other.y) >= (one.height + other.height) / 2
        assert beside or above
    for box in boxes.values():
        assert box.width / 2 <= box.x <= placed.width - box.width / 2 and 0 < box.y < placed.height
        assert len(box.lines) <= TALL and max(map(len, box.lines)) <= WIDE
    telling = [(s, t) for s, t in graph.edges if graph.edges[s, t]["kind"] not in SIDEWAYS and s != t]
    if nx.is_directed_acyclic_graph(nx.DiGraph(telling)):
        assert all(boxes[source].y < boxes[target].y for source, target in telling)


@settings(deadline=None)
@given(graphs())
def test_pictures_are_xml_with_all_nodes(graph: Graph):
    root = ElementTree.fromstring(as_svg(graph, "</title><script>\0"))
    assert len([g for g in root if g.tag.endswith("}g")]) == len(graph)
    assert not [e for e in root.iter() if e.tag.endswith("script")]


def test_a_diamond_is_drawn_without_crossing():
    graph: Graph = nx.DiGraph()
    for name in "avwxyb":
        graph.add_node(name, node=Node(name, "fact", name))
    for source, target in ("av", "aw", "vy", "wx", "xb", "yb"):
        graph.add_edge(source, target, kind="because", facts=())
    boxes = layout(graph, {key: key for key in graph}).boxes
    assert (boxes["v"].x < boxes["w"].x) == (boxes["y"].x < boxes["x"].x)
    assert len({round(boxes[name].y) for name in "avwxyb"}) == 4
