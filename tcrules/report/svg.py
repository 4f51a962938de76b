"""A causal graph as a picture: SVG that stands alone, readable on light and dark pages, without a script."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tcrules.report.dot import label, shown_by
from tcrules.report.graph import kind_of, node_of
from tcrules.report.layout import LINE, SIDEWAYS, Box, layout
from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from tcrules.report.graph import Graph

STYLE = """
svg { font: 11px ui-monospace, Menlo, Consolas, monospace; --ink: #1b1f24; --paper: #ffffff; --line: #8a929c; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9ed; --paper: #16191d; --line: #7d8590; } }
rect { fill: var(--paper); stroke: var(--line); stroke-width: 1.2; } text { fill: var(--ink); }
path { fill: none; stroke: var(--line); } marker path { fill: var(--line); }
.violation rect { stroke: #d1242f; stroke-width: 2.5; }
.missing rect { stroke: #d9822b; stroke-width: 2; stroke-dasharray: 5 3; }
.parting rect { stroke: #d9822b; stroke-width: 2.5; } .reference rect { stroke: #2e8b57; stroke-width: 2.5; }
.call rect { stroke: #2f6fd0; } .object rect { stroke: #2e8b57; } .near rect { stroke-dasharray: 2 2; }
.condition rect, .derived rect { stroke-opacity: .55; } path.after, path.part { stroke-dasharray: 2 4; }
"""


def as_svg(graph: Graph, title: str, *, alone: bool = True) -> str:
    """The graph as SVG text; not `alone`, it gets its style from the page that it is part of."""
    placed = layout(graph, {key: plain(label(node_of(graph, key))) for key in graph})
    root = ElementTree.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        width=f"{placed.width:.0f}",
        height=f"{placed.height:.0f}",
        viewBox=f"0 0 {placed.width:.0f} {placed.height:.0f}",
        role="img",
    )
    ElementTree.SubElement(root, "title").text = plain(title)
    if alone:
        ElementTree.SubElement(root, "style").text = STYLE
    defs = ElementTree.SubElement(root, "defs")
    tip = f"tip-{hashlib.sha256(title.encode('utf-8', 'replace')).hexdigest()[:8]}"  # of several pictures in a page
    marker = ElementTree.SubElement(
        defs,
        "marker",
        id=tip,
        viewBox="0 0 8 8",
        refX="7",
        refY="4",
        markerWidth="6",
        markerHeight="6",
        orient="auto",
    )
    ElementTree.SubElement(marker, "path", d="M0 0L8 4L0 8z")
    for source, target in graph.edges:
        _edge(
            root,
            placed.boxes[source],
            placed.boxes[target],
            kind_of(graph, source, target),
            tip,
            shown_by(graph, source, target),
        )
    for key, box in placed.boxes.items():
        _node(root, box, node_of(graph, key).kind, plain(label(node_of(graph, key))))
    return ElementTree.tostring(root, encoding="unicode")


def _node(parent: ElementTree.Element, box: Box, kind: str, whole: str) -> None:
    group = ElementTree.SubElement(parent, "g", {"class": kind})
    ElementTree.SubElement(group, "title").text = whole
    left, top = box.x - box.width / 2, box.y - box.height / 2
    ElementTree.SubElement(
        group,
        "rect",
        x=f"{left:.1f}",
        y=f"{top:.1f}",
        width=f"{box.width:.1f}",
        height=f"{box.height:.1f}",
        rx="4",
    )
    first = box.y - (len(box.lines) - 1) * LINE / 2 + 4
    for number, line in enumerate(box.lines):
        text = ElementTree.SubElement(
            group, "text", {"x": f"{box.x:.1f}", "y": f"{first + number * LINE:.1f}", "text-anchor": "middle"}
        )
        text.text = line


def _edge(parent: ElementTree.Element, start: Box, end: Box, kind: str, tip: str, whole: str) -> None:
    below = end.y > start.y
    x1, y1 = start.x, start.y + (start.height if below else -start.height) / 2
    x2, y2 = end.x, end.y - (end.height if below else -end.height) / 2
    middle = (y1 + y2) / 2
    drawn = {"d": f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"}
    drawn["marker-end"] = f"url(#{tip})"
    if kind in SIDEWAYS:
        drawn["class"] = "after"
    path = ElementTree.SubElement(parent, "path", drawn)
    ElementTree.SubElement(path, "title").text = whole


__all__ = ["as_svg"]
