"""The causal graph of a violation: its evidence, the calls that the evidence comes from, the objects that it names.

Edges point from what is explained to what explains it: `violation -> fact` (because), `fact -> premise` (derived
from), `fact -> call` (during), `call -> call` (inside, after), `fact -> object` (about), `object -> object` (part of),
`fact -> fact` (reads, with: see `origins.py`). A missing fact hangs on what expected it (expected; a condition: unmet),
and on it hang the facts that came before it (found), those that come near (near), what the record lacks (note), and its
place among the calls (`placing.py`: should follow, should precede, instead). Each edge names the observed facts that
show it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import networkx as nx

from tcrules.engine.ir import Any_
from tcrules.engine.provenance import prove
from tcrules.report.fold import shown
from tcrules.report.model import Location
from tcrules.report.roots import OBJECT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.engine.facts import DerivedSource, Stored
    from tcrules.engine.ir import Atom, Fact, Predicate, Program, Term, Value
    from tcrules.engine.proof import Proof
    from tcrules.report.placing import Window

Graph: TypeAlias = "nx.DiGraph[str]"

#: Columns that are left out of a fact's label: positions and bit patterns say nothing to a reader.
_UNSHOWN = frozenset({"time", "fingerprint", "call", "rank"})
#: Columns that are always part of a fact's label: they say whom it is about.
_NAMES = frozenset({"param", "optimizer", "module", "buffer", "loader", "scheduler", "scaler", "api"})
_FILE, _LINE, _FUNCTION = 2, 3, 4
#: Columns with a call that the fact did not happen in: the one that wrote what was read.
_OTHER_CALLS = frozenset({"checkpoint", "parent"})
#: Facts that an edge names at most: a derived fact may rest on thousands.
MOST_EVIDENCE = 20


class Evidence(NamedTuple):
    """An observed fact by its relation and its id, which is unique in the run."""

    relation: str
    fact: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph.

    `kind` is violation, missing, near, note, fact, derived, condition, call or object. `rank` and `step` are None where
    the node has none; `fact` is the observed fact that a node of kind fact or call shows, `window` says when what is
    missing should have been.
    """

    id: str
    kind: str
    label: str
    step: int | None = None
    rank: int | None = None
    location: Location | None = None
    fact: Evidence | None = None
    window: Window | None = None


@dataclass(slots=True)
class GraphBuilder:
    """Collects nodes and edges; a fact, call or object that is met twice is one node."""

    program: Program
    source: DerivedSource
    graph: Graph = field(default_factory=nx.DiGraph)
    #: Observed facts that are nodes, by the key of the node, in the order in which they were met.
    observed: dict[str, tuple[Predicate, Stored]] = field(default_factory=dict)
    #: Rank, begin and end of the calls that are nodes.
    times: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def add(
        self, node: Node, parent: str | None = None, kind: str = "", facts: Iterable[Evidence] = ()
    ) -> str:
        """Add a node, and an edge of that kind from its parent, which these facts show."""
        if node.id not in self.graph:
            self.graph.add_node(node.id, node=node)
        if parent is not None:
            self.link(parent, node.id, kind, facts)
        return node.id

    def link(self, source: str, target: str, kind: str, facts: Iterable[Evidence]) -> None:
        """Add an edge between two nodes; of two between the same nodes the first is told."""
        if source != target and not self.graph.has_edge(source, target):
            told = tuple(itertools.islice(dict.fromkeys(facts), MOST_EVIDENCE))
            self.graph.add_edge(source, target, kind=kind, facts=told)

    def add_fact(
        self,
        atom: Atom,
        stored: Stored,
        parent: str,
        kind: str = "because",
        *,
        rests: tuple[Evidence, ...] | None = None,
        facts: Iterable[Evidence] | None = None,
    ) -> str:
        """Add a fact that an atom matched, with its call and its objects; returns its node.

        `rests`: the observed facts on which it rests, where they are known; `facts`: those that show the edge from the
        parent, where they are others.
        """
        predicate, values = atom.predicate, stored.values
        columns = {column.name: value for column, value in zip(predicate.columns, values, strict=True)}
        step, rank = columns.get("step"), columns.get("rank")
        rests = self.evidence(predicate, stored) if rests is None else rests
        key = self.add(
            Node(
                id=f"{predicate.name}({', '.join(map(shown, values))})",
                kind="fact" if predicate.observed else "derived",
                label=fact_label(predicate, values, atom),
                step=int(step) if step is not None else None,
                rank=int(rank) if rank is not None else None,
                fact=rests[0] if predicate.observed else None,
            ),
            parent,
            kind,
            rests if facts is None else facts,
        )
        if predicate.observed:
            self.observed.setdefault(key, (predicate, stored))
        for column, value in zip(predicate.columns, values, strict=True):
            if column.type.name in OBJECT_TYPES and value != "":
                self.add(Node(f"object {value}", "object", str(value)), key, "about", rests)
            elif column.type.name == "call" and value != 0 and column.name not in _OTHER_CALLS:
                self.add_call(int(value), key, "during", rests)
        return key

    def add_call(self, call: int, parent: str, kind: str, facts: Iterable[Evidence] = ()) -> None:
        """Add a call with its source line, and the calls around it; `facts` and the call's own show the edge."""
        key = f"call {call}"
        found = self._call(call)
        if found is None:
            return
        fact, evidence = found
        known = key in self.graph
        location, function = self._location(call)
        label = f"{fact['api']}()" + (f" in {function}" if function else "")
        node = Node(key, "call", label, int(fact["step"]), int(fact["rank"]), location, evidence)
        self.add(node, parent, kind, (*facts, evidence))
        if not known:
            self.times[key] = (int(fact["rank"]), int(fact["begin"]), int(fact["end"]))
            if fact["parent"]:
                self.add_call(int(fact["parent"]), key, "inside", (evidence,))

    def connect(self, links: Mapping[tuple[str, str], Evidence]) -> None:
        """Say which of the objects in the graph belong together, and in which order the calls ran."""
        for (left, right), evidence in links.items():
            if f"object {left}" in self.graph and f"object {right}" in self.graph:
                self.link(f"object {left}", f"object {right}", "part of", (evidence,))
        ordered = sorted(self.times, key=self.times.__getitem__)
        for earlier, later in itertools.pairwise(ordered):
            same = self.times[earlier][0] == self.times[later][0]
            if same and not self.graph.has_edge(later, earlier) and not self.graph.has_edge(earlier, later):
                shown_by = (node_of(self.graph, key).fact for key in (later, earlier))
                self.link(later, earlier, "after", [fact for fact in shown_by if fact is not None])

    def evidence(self, predicate: Predicate, stored: Stored) -> tuple[Evidence, ...]:
        """The observed facts on which a fact rests: itself, or what its shortest proof ends in."""
        if predicate.observed:
            return (Evidence(predicate.name, stored.id),)
        proof = prove(self.program, self.source, predicate, stored.values)
        return () if proof is None else leaves((proof,))

    def _call(self, call: int) -> tuple[dict[str, Value], Evidence] | None:
        predicate = self.program.predicates["call"]
        names = [column.name for column in predicate.columns]
        for fact in self.source.lookup(predicate, {names.index("call"): call}):
            return dict(zip(names, fact.values, strict=True)), Evidence("call", fact.id)
        return None

    def _location(self, call: int) -> tuple[Location | None, str]:
        for fact in self.source.lookup(self.program.predicates["location"], {1: call}):
            values = fact.values
            return Location(str(values[_FILE]), int(values[_LINE])), str(values[_FUNCTION])
        return None, ""


def leaves(proofs: Iterable[Proof]) -> tuple[Evidence, ...]:
    """The observed facts that proofs end in, each once, the first ones only."""
    found = (
        Evidence(node.predicate.name, node.fact.id)
        for proof in proofs
        for node in proof.nodes()
        if node.rule is None
    )
    return tuple(itertools.islice(dict.fromkeys(found), MOST_EVIDENCE))


def fact_label(predicate: Predicate, values: Fact, atom: Atom | None = None) -> str:
    """A fact without what says nothing to a reader; with an atom, only the columns that it speaks of
    and those that say whom the fact is about.

    >>> from tcrules.engine.ir import Column, Predicate, Type
    >>> columns = (Column("rank", Type("rank", "int")), Column("param", Type("param", "string")))
    >>> fact_label(Predicate("gradient", columns, True), (0, "fc.weight"))
    'gradient(param: fc.weight)'
    """
    terms = atom.arguments if atom is not None else (None,) * len(values)
    parts = _parts(predicate, values, terms) or _parts(predicate, values, (None,) * len(values))
    return f"{predicate.name}({', '.join(parts)})"


def _parts(predicate: Predicate, values: Fact, terms: Sequence[Term | None]) -> list[str]:
    return [
        shown(value) if column.name.startswith("$") else f"{column.name}: {shown(value)}"
        for column, value, term in zip(predicate.columns, values, terms, strict=True)
        if column.type.name not in _UNSHOWN
        and column.name != "step"
        and value != ""
        and (not isinstance(term, Any_) or column.type.name in _NAMES)
    ]


def node_of(graph: Graph, key: str) -> Node:
    """The node behind a key."""
    node: Node = graph.nodes[key]["node"]
    return node


def nodes_of(graph: Graph) -> list[Node]:
    """All nodes, in the order in which they were added."""
    return [node_of(graph, key) for key in graph]


def kind_of(graph: Graph, source: str, target: str) -> str:
    """The kind of an edge."""
    kind: str = graph.edges[source, target]["kind"]
    return kind


def evidence_of(graph: Graph, source: str, target: str) -> tuple[Evidence, ...]:
    """The observed facts that show an edge."""
    facts: tuple[Evidence, ...] = graph.edges[source, target]["facts"]
    return facts
