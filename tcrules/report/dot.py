"""A causal graph as DOT, for Graphviz, and as plain data."""

from __future__ import annotations

from tcrules.report.graph import Evidence, Graph, Node, evidence_of, kind_of, node_of
from tcrules.report.json_report import REPORT_VERSION, Json

_SHAPES = {
    "violation": "octagon",
    "missing": "box",
    "near": "note",
    "note": "note",
    "parting": "diamond",
    "here": "component",
    "reference": "component",
    "fact": "box",
    "derived": "box",
    "condition": "plaintext",
    "call": "component",
    "object": "ellipse",
}
_COLOURS = {
    "violation": "#c0392b",
    "missing": "#e67e22",
    "call": "#2471a3",
    "object": "#1e8449",
    "parting": "#d9822b",
    "reference": "#1e8449",
}

#: Kinds of nodes whose label tells the step.
_DATED = frozenset({"fact", "derived", "call", "here", "reference"})
_DOTTED = frozenset({"after", "should follow", "should precede"})


def as_dot(graph: Graph, title: str) -> str:
    """The graph as DOT text; `dot -Tsvg` draws it."""
    lines = [f"digraph {_quoted(title)} {{", '  rankdir="TB"; node [fontname="Helvetica", fontsize=10];']
    numbers = {key: f"n{number}" for number, key in enumerate(graph.nodes, 1)}
    for key, number in numbers.items():
        node = node_of(graph, key)
        style = ', style="dashed"' if node.kind == "missing" else ""
        colour = _COLOURS.get(node.kind, "#424949")
        lines.append(
            f'  {number} [label={_quoted(label(node))}, shape="{_SHAPES[node.kind]}", color="{colour}"{style}];'
        )
    for source, target in graph.edges:
        kind = kind_of(graph, source, target)
        style = ', style="dotted"' if kind in _DOTTED else ""
        tip = _quoted(shown_by(graph, source, target))
        lines.append(f'  {numbers[source]} -> {numbers[target]} [label="{kind}", edgetooltip={tip}{style}];')
    return "\n".join([*lines, "}"])


def as_data(graph: Graph) -> dict[str, Json]:
    """Nodes and edges as plain data."""
    return {
        "schema_version": REPORT_VERSION,
        "nodes": [_node(node_of(graph, key)) for key in graph.nodes],
        "edges": [
            {
                "from": source,
                "to": target,
                "kind": kind_of(graph, source, target),
                "facts": [_evidence(fact) for fact in evidence_of(graph, source, target)],
            }
            for source, target in graph.edges
        ],
    }


def shown_by(graph: Graph, source: str, target: str) -> str:
    """The kind of an edge and the facts that show it, by relation and id.

    The ids are those of the column `fact` in the run's files.
    """
    facts = ", ".join(f"{relation} #{fact}" for relation, fact in evidence_of(graph, source, target))
    kind = kind_of(graph, source, target)
    return f"{kind}: {facts}" if facts else kind


def label(node: Node) -> str:
    """What stands on a node: when, what, and where in the user's program."""
    when = f"step {node.step}: " if node.step is not None and node.kind in _DATED else ""
    rank = f" (rank {node.rank})" if node.rank else ""
    where = f"  {node.location}" if node.location else ""
    return f"{when}{node.label}{rank}{where}"


def _node(node: Node) -> dict[str, Json]:
    location, window = node.location, node.window
    return {
        "id": node.id,
        "kind": node.kind,
        "label": node.label,
        "step": node.step,
        "rank": node.rank,
        "location": {"file": location.file, "line": location.line} if location else None,
        "fact": _evidence(node.fact) if node.fact else None,
        "window": {"rank": window.rank, "after": window.after, "before": window.before, "step": window.step}
        if window
        else None,
    }


def _evidence(fact: Evidence) -> dict[str, Json]:
    return {"relation": fact.relation, "id": fact.fact}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
