"""A causal graph as a tree on the terminal."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from tcrules.report.dot import label
from tcrules.report.graph import Graph, kind_of, node_of
from tcrules.report.terminal import plain

#: Edges that are branches, in the order in which they are told; order of calls and objects is no branch.
_BRANCHES = (
    "parts",
    "here",
    "there",
    "expected",
    "unmet",
    "forbidden",
    "found",
    "note",
    "should follow",
    "should precede",
    "instead",
    "near",
    "not derived by",
    "because",
    "derived from",
    "during",
    "inside",
    "reads",
    "with",
)
_STYLES = {
    "violation": "bold",
    "missing": "bold yellow",
    "parting": "bold yellow",
    "reference": "green",
    "call": "cyan",
    "condition": "dim",
    "derived": "italic",
}
_WORDS = {
    "expected": "missing: ",
    "unmet": "does not hold: ",
    "found": "found: ",
    "note": "note: ",
    "parts": "parts from the reference run: ",
    "here": "this run: ",
    "there": "reference run: ",
    "should follow": "should be after ",
    "should precede": "should be before ",
    "instead": "there instead: ",
    "near": "there is: ",
    "not derived by": "by rule: ",
    "during": "in ",
    "inside": "inside ",
    "derived from": "from ",
    "reads": "reads ",
    "with": "with ",
}


def as_tree(graph: Graph, root: str) -> Tree:
    """The part of the graph below a node. What was told before is not told again, only named."""
    tree = Tree(_line(graph, root, ""), guide_style="dim")
    _grow(graph, root, tree, {root})
    return tree


def _grow(graph: Graph, key: str, tree: Tree, told: set[str]) -> None:
    below = [(kind_of(graph, key, target), target) for target in graph.successors(key)]
    below = [(kind, target) for kind, target in below if kind in _BRANCHES]
    for kind, target in sorted(below, key=lambda edge: _BRANCHES.index(edge[0])):
        branch = tree.add(_line(graph, target, kind))
        if target not in told:
            told.add(target)
            _grow(graph, target, branch, told)


def _line(graph: Graph, key: str, kind: str) -> Text:
    node = node_of(graph, key)
    text = Text(_WORDS.get(kind, ""), style="dim")
    text.append(plain(label(node)), style=_STYLES.get(node.kind, ""))
    return text
