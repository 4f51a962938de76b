"""The causal graph and its three forms."""

from __future__ import annotations

from io import StringIO

import networkx as nx
from rich.console import Console
from tcrules.engine.facts import Stored
from tcrules.engine.ir import Any_, Atom, Column, Predicate, Type, Var
from tcrules.instrument.schema import BY_NAME, TYPES
from tcrules.rules.loading import load_rules

from tcrules.report.dot import as_data, as_dot
from tcrules.report.graph import Evidence, GraphBuilder, Node, evidence_of, kind_of, node_of
from tcrules.report.tree import as_tree


def predicate(name: str) -> Predicate:
    columns = tuple(Column(c.name, Type(c.type, TYPES[c.type])) for c in BY_NAME[name].columns)
    return Predicate(name, columns, True)


def fact(name: str, **values) -> tuple:
    neutral = {"int": 0, "float": 0.0, "bool": False, "string": ""}
    return tuple(values.get(c.name, neutral[TYPES[c.type]]) for c in BY_NAME[name].columns)


class Facts:
    def __init__(self, **relations: list[tuple]):
        self.relations = relations

    def lookup(self, predicate: Predicate, bound: dict):
        for number, row in enumerate(self.relations.get(predicate.name, []), 1):
            if all(row[place] == value for place, value in bound.items()):
                yield Stored(number, row)


def any_of(name: str, *mentioned: str) -> Atom:
    found = predicate(name)
    terms = tuple(Var(c.name.upper(), c.type) if c.name in mentioned else Any_() for c in found.columns)
    return Atom(found, terms)


def built() -> tuple[GraphBuilder, str]:
    facts = Facts(
        call=[
            fact("call", call=1, api="torch.amp.GradScaler.step", begin=1, end=9),
            fact("call", call=2, api="torch.optim.Optimizer.step", parent=1, begin=3, end=8),
            fact("call", call=3, api="torch.Tensor.backward", begin=0, end=0),
        ],
        location=[fact("location", call=2, file='we "quote".py', line=7, function="main")],
    )
    builder = GraphBuilder(load_rules(library=False).program, facts)
    root = builder.add(Node("V1", "violation", "wrong"))
    builder.add_fact(
        any_of("update", "class"),
        Stored(11, fact("update", call=2, optimizer="O", param="w", step=4, **{"class": "zero"})),
        root,
    )
    builder.add_fact(any_of("accumulate"), Stored(12, fact("accumulate", call=3, param="w", step=4)), root)
    builder.connect({("O", "w"): Evidence("member", 13), ("O", "elsewhere"): Evidence("member", 14)})
    return builder, root


def test_facts_bring_their_calls_and_objects():
    graph = built()[0].graph
    assert {node_of(graph, key).kind for key in graph} == {"violation", "fact", "call", "object"}
    assert kind_of(graph, "call 2", "call 1") == "inside"
    assert kind_of(graph, "call 1", "call 3") == "after"
    assert kind_of(graph, "object O", "object w") == "part of"
    assert "object elsewhere" not in graph
    assert nx.is_directed_acyclic_graph(graph)


def test_edges_name_the_facts_that_show_them():
    graph, root = built()[0].graph, "V1"
    assert evidence_of(graph, "object O", "object w") == (Evidence("member", 13),)
    (update,) = (key for key in graph.successors(root) if key.startswith("update"))
    assert evidence_of(graph, root, update) == (Evidence("update", 11),)
    assert evidence_of(graph, update, "call 2") == (Evidence("update", 11), Evidence("call", 2))
    assert evidence_of(graph, "call 2", "call 1") == (Evidence("call", 2), Evidence("call", 1))


def test_label_has_names_and_what_the_rule_speaks_of():
    graph = built()[0].graph
    labels = {node_of(graph, key).label for key in graph}
    assert "update(optimizer: O, param: w, class: zero)" in labels


def test_tree_tells_calls_with_lines_and_nothing_twice():
    builder, root = built()
    out = StringIO()
    Console(file=out, width=200).print(as_tree(builder.graph, root))
    text = out.getvalue()
    assert 'torch.optim.Optimizer.step() in main  we "quote".py:7' in text
    assert text.count("GradScaler.step") == 1


def test_dot_quotes_what_a_program_may_contain():
    builder, _ = built()
    text = as_dot(builder.graph, 'a "run"')
    assert text.startswith('digraph "a \\"run\\"" {')
    assert 'we \\"quote\\".py:7' in text
    assert text.count("{") == text.count("}") == 1
    assert 'edgetooltip="during: update #11, call #2"' in text


def test_data_is_closed():
    data = as_data(built()[0].graph)
    ids = {node["id"] for node in data["nodes"]}
    assert all(edge["from"] in ids and edge["to"] in ids for edge in data["edges"])
