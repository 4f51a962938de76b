"""What the page says about a run, gathered from a check; all of it bounded."""

from __future__ import annotations

import datetime
import linecache
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx
from rich.console import Console

from tcrules.report.dot import label
from tcrules.report.graph import kind_of, node_of
from tcrules.report.layout import SIDEWAYS, layout
from tcrules.report.page.charts import plot, timeline
from tcrules.report.page.series import read_series
from tcrules.report.stories import Story, stories
from tcrules.report.svg import as_svg
from tcrules.report.terminal import plain, reasons, steps_of
from tcrules.report.tree import as_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tcrules.instrument.runs import RunFolder
    from tcrules.report.graph import Graph, Node
    from tcrules.report.json_report import Json
    from tcrules.report.model import Location, Report, RuleText, Violation

Explain: TypeAlias = "Callable[[Violation], tuple[Graph, str]]"

#: Causes that are listed, those of them with a graph, the nodes of a graph, and what else of one cause is named.
MOST_STORIES, MOST_GRAPHS, MOST_NODES, MOST_NAMES = 200, 20, 300, 50
#: Characters of a text.
MOST_TEXT = 2_000
#: Plots.
MOST_PLOTS = 8


@dataclass(frozen=True, slots=True)
class Told:
    """A cause as the page tells it; `graph` is for the script, `picture` and `proof` for readers without one."""

    story: Story
    extent: str
    reasons: tuple[str, ...]
    names: tuple[str, ...]
    more: int
    source: str
    rule: RuleText | None
    proof: str = ""
    picture: str = ""
    graph: Json = None


@dataclass(frozen=True, slots=True)
class Content:
    """Everything on the page."""

    report: Report
    told: tuple[Told, ...]
    untold: int
    timeline: str
    plots: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


def gather(
    report: Report, folder: RunFolder, reads: Mapping[str, frozenset[str]], explain: Explain
) -> Content:
    """The content of the page.

    Args:
        reads: for each rule the relations that it speaks of.
        explain: gives the causal graph of a violation, and the key of its node.
    """
    found = stories(report.violations)
    shown = found[:MOST_STORIES]
    last = max((one.last_step or 0 for one in report.violations), default=0)
    return Content(
        report,
        tuple(
            _told(report, story, explain if number < MOST_GRAPHS else None)
            for number, story in enumerate(shown)
        ),
        len(found) - len(shown),
        timeline(shown, max(last, report.steps - 1), ranked=report.processes > 1),
        tuple(plot(one) for one in islice(read_series(folder.facts, _wanted(shown, reads)), MOST_PLOTS)),
        tuple(_environment(folder)),
    )


def _told(report: Report, story: Story, explain: Explain | None) -> Told:
    names = story.subjects()
    told = Told(
        story,
        steps_of(story.root),
        tuple(reasons(story)),
        names[:MOST_NAMES],
        max(0, len(names) - MOST_NAMES),
        _source(story.root.location),
        report.rules.get(story.root.rule),
    )
    if explain is None:
        return told
    graph, root = explain(story.root)
    graph = _near(graph, root)
    return replace(
        told,
        proof=_as_text(graph, root),
        picture=as_svg(graph, f"{story.root.id} {story.root.rule}", alone=False),
        graph=_elements(graph, root),
    )


def _near(graph: Graph, root: str) -> Graph:
    """The part of a graph around its root that can be looked at."""
    if len(graph) <= MOST_NODES:
        return graph
    around = nx.single_source_shortest_path_length(graph, root)
    kept = sorted(around, key=lambda key: around[key])[:MOST_NODES]
    smaller: Graph = graph.subgraph(kept).copy()
    return smaller


def _as_text(graph: Graph, root: str) -> str:
    out = StringIO()
    Console(file=out, width=110, color_system=None, highlight=False).print(as_tree(graph, root))
    return out.getvalue()


def _elements(graph: Graph, root: str) -> Json:
    """Nodes with their places and distance from the root, and edges, for the script."""
    labels = {key: plain(label(node_of(graph, key)))[:MOST_TEXT] for key in graph}
    placed = layout(
        graph, {key: plain(label(_named_by_file(node_of(graph, key))))[:MOST_TEXT] for key in graph}
    )
    depth = nx.single_source_shortest_path_length(graph, root)
    numbers = {key: f"n{number}" for number, key in enumerate(graph)}
    nodes: list[Json] = [
        {
            "id": numbers[key],
            "kind": node_of(graph, key).kind,
            "label": "\n".join(box.lines),
            "whole": labels[key],
            "depth": depth.get(key, 0),
            "x": round(box.x, 1),
            "y": round(box.y, 1),
            "width": round(box.width, 1),
            "height": round(box.height, 1),
        }
        for key, box in placed.boxes.items()
    ]
    edges: list[Json] = [
        {
            "source": numbers[source],
            "target": numbers[target],
            "kind": kind_of(graph, source, target),
            "sideways": kind_of(graph, source, target) in SIDEWAYS,
        }
        for source, target in graph.edges
    ]
    return {"nodes": nodes, "edges": edges, "width": round(placed.width), "height": round(placed.height)}


def _named_by_file(node: Node) -> Node:
    """A node whose place is told without folders, which would fill its box; the page tells them on request."""
    place = node.location
    return node if place is None else replace(node, location=replace(place, file=PurePath(place.file).name))


def _source(location: Location | None) -> str:
    """The line of the user's program, "" where it cannot be read any more."""
    return "" if location is None else linecache.getline(location.file, location.line).strip()[:MOST_TEXT]


def _wanted(shown: Sequence[Story], reads: Mapping[str, frozenset[str]]) -> list[tuple[str, set[int]]]:
    """Relations that violated rules speak of, with the steps to mark, those of the first causes first."""
    wanted: dict[str, set[int]] = {}
    for story in shown:
        for relation in sorted(reads.get(story.root.rule, ())):
            steps = wanted.setdefault(relation, set())
            if story.root.first_step is not None:
                steps.add(story.root.first_step)
    return list(wanted.items())


def _environment(folder: RunFolder) -> Iterator[tuple[str, str]]:
    manifest = folder.manifest
    yield "command", manifest.command
    yield "status", f"{manifest.status}, exit code {manifest.exit_code}"
    if manifest.started:
        when = datetime.datetime.fromtimestamp(manifest.started).astimezone()
        yield "started", when.isoformat(" ", "seconds")
    if manifest.ended > manifest.started:
        yield "took", f"{manifest.ended - manifest.started:.1f} s"
    yield "host", manifest.host
    yield "python", manifest.python
    yield "torch", manifest.torch
    for process in manifest.processes[:32]:
        yield (
            f"process, rank {process.get('rank', '?')}",
            ", ".join(
                f"{name} {process[name]}"
                for name in ("role", "world_size", "recorded_steps")
                if name in process
            ),
        )
