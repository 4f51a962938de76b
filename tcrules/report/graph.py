"""The causal graph of a violation: its evidence, the calls that the evidence comes from, the objects that it names.

Edges point from what is explained to what explains it: `violation -> fact` (because), `fact -> premise` (derived
from), `fact -> call` (during), `call -> call` (inside, after), `fact -> object` (about), `object -> object` (part of).
A missing fact hangs on what expected it (expected), and on it hang the facts that
came before it (found) and those that come near (near).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx

from tcrules.engine.ir import Any_
from tcrules.report.fold import shown
from tcrules.report.model import Location
from tcrules.report.roots import OBJECT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine.facts import FactSource
    from tcrules.engine.ir import Atom, Fact, Predicate, Value

Graph: TypeAlias = "nx.DiGraph[str]"

#: Columns that are left out of a fact's label: positions and bit patterns say nothing to a reader.
_UNSHOWN = frozenset({"time", "fingerprint", "call", "rank"})
#: Columns that are always part of a fact's label: they say whom it is about.
_NAMES = frozenset({"param", "optimizer", "module", "buffer", "loader", "scheduler", "scaler", "api"})
_FILE, _LINE, _FUNCTION = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph.

    `kind` is violation, missing, near, fact, derived, condition, call or object. `rank` and `step` are None where
    the node has none.
    """

    id: str
    kind: str
    label: str
    step: int | None = None
    rank: int | None = None
    location: Location | None = None


@dataclass(slots=True)
class GraphBuilder:
    """Collects nodes and edges; a fact, call or object that is met twice is one node."""

    predicates: Mapping[str, Predicate]
    facts: FactSource
    graph: Graph = field(default_factory=nx.DiGraph)
    _times: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, node: Node, parent: str | None = None, kind: str = "") -> str:
        """Add a node, and an edge of that kind from its parent."""
        if node.id not in self.graph:
            self.graph.add_node(node.id, node=node)
        if parent is not None and parent != node.id and not self.graph.has_edge(parent, node.id):
            self.graph.add_edge(parent, node.id, kind=kind)
        return node.id

    def add_fact(self, atom: Atom, values: Fact, parent: str, kind: str = "because") -> str:
        """Add a fact that an atom matched, with its call and its objects; returns its node."""
        predicate = atom.predicate
        columns = {column.name: value for column, value in zip(predicate.columns, values, strict=True)}
        step = columns.get("step")
        rank = columns.get("rank")
        key = self.add(
            Node(
                id=f"{predicate.name}({', '.join(map(shown, values))})",
                kind="fact" if predicate.observed else "derived",
                label=fact_label(predicate, values, atom),
                step=int(step) if step is not None else None,
                rank=int(rank) if rank is not None else None,
            ),
            parent,
            kind,
        )
        for column, value in zip(predicate.columns, values, strict=True):
            if column.type.name in OBJECT_TYPES and value != "":
                self.add(Node(f"object {value}", "object", str(value)), key, "about")
            elif column.type.name == "call" and value != 0:
                self.add_call(int(value), key, "during")
        return key

    def add_call(self, call: int, parent: str, kind: str) -> None:
        """Add a call with its source line, and the calls around it."""
        key = f"call {call}"
        known = key in self.graph
        fact = self._call(call)
        if fact is None:
            return
        location, function = self._location(call)
        label = f"{fact['api']}()" + (f" in {function}" if function else "")
        self.add(Node(key, "call", label, int(fact["step"]), int(fact["rank"]), location), parent, kind)
        if not known:
            self._times[key] = (int(fact["rank"]), int(fact["begin"]))
            if fact["parent"]:
                self.add_call(int(fact["parent"]), key, "inside")

    def connect(self, links: Iterable[tuple[str, str]]) -> None:
        """Say which of the objects in the graph belong together, and in which order the calls ran."""
        for left, right in links:
            if f"object {left}" in self.graph and f"object {right}" in self.graph and left != right:
                self.graph.add_edge(f"object {left}", f"object {right}", kind="part of")
        ordered = sorted(self._times, key=self._times.__getitem__)
        for earlier, later in itertools.pairwise(ordered):
            same = self._times[earlier][0] == self._times[later][0]
            if same and not self.graph.has_edge(later, earlier) and not self.graph.has_edge(earlier, later):
                self.graph.add_edge(later, earlier, kind="after")

    def _call(self, call: int) -> dict[str, Value] | None:
        predicate = self.predicates["call"]
        names = [column.name for column in predicate.columns]
        for fact in self.facts.lookup(predicate, {names.index("call"): call}):
            return dict(zip(names, fact.values, strict=True))
        return None

    def _location(self, call: int) -> tuple[Location | None, str]:
        for fact in self.facts.lookup(self.predicates["location"], {1: call}):
            values = fact.values
            return Location(str(values[_FILE]), int(values[_LINE])), str(values[_FUNCTION])
        return None, ""


def fact_label(predicate: Predicate, values: Fact, atom: Atom | None = None) -> str:
    """A fact without what says nothing to a reader; with an atom, only the columns that it speaks of
    and those that say whom the fact is about.

    >>> from tcrules.engine.ir import Column, Predicate, Type
    >>> columns = (Column("rank", Type("rank", "int")), Column("param", Type("param", "string")))
    >>> fact_label(Predicate("gradient", columns, True), (0, "fc.weight"))
    'gradient(param: fc.weight)'
    """
    terms = atom.arguments if atom is not None else (None,) * len(values)
    parts = [
        shown(value) if column.name.startswith("$") else f"{column.name}: {shown(value)}"
        for column, value, term in zip(predicate.columns, values, terms, strict=True)
        if column.type.name not in _UNSHOWN
        and column.name != "step"
        and value != ""
        and (not isinstance(term, Any_) or column.type.name in _NAMES)
    ]
    return f"{predicate.name}({', '.join(parts)})"


def node_of(graph: Graph, key: str) -> Node:
    """The node behind a key."""
    node: Node = graph.nodes[key]["node"]
    return node


def kind_of(graph: Graph, source: str, target: str) -> str:
    """The kind of an edge."""
    kind: str = graph.edges[source, target]["kind"]
    return kind
