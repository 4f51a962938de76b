"""What a fact tells came from: each line of the table makes an edge where all of it holds, and no edge else."""

from __future__ import annotations

import pytest
from tcrules.engine import naive
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.instrument.schema import BY_NAME, TYPES
from tcrules.rules.loading import load_rules

from tcrules.report.graph import GraphBuilder, Node, kind_of
from tcrules.report.origins import HOPS, MOST_FACTS, ORIGINS, Origin, add_origins

from .evidence import READS
from .test_graph import any_of

PROGRAM = load_rules(library=False).program
#: Values that no column has by itself.
GIVEN = {"int": 40, "float": 0.5, "bool": True, "string": "x"}


def columns_of(relation: str) -> dict[str, str]:
    """Columns with their base types."""
    return {column.name: TYPES[column.type] for column in BY_NAME[relation].columns}


def pair(origin: Origin) -> tuple[dict, dict]:
    """A reader and a writer for which all that an origin asks for holds."""
    reader = {name: GIVEN[base] for name, base in columns_of(origin.reader).items()}
    writer = {name: GIVEN[base] for name, base in columns_of(origin.writer).items()}
    reader |= {name: values[0] for name, values in origin.where}
    writer |= dict(origin.wrote)
    if origin.kind == "with":
        writer["rank"] = 41
    for mine, theirs, more in origin.equal:
        writer[theirs] = reader[mine] + more if more else reader[mine]
    if origin.before is not None:
        writer[origin.before[1]] = reader[origin.before[0]] - 1
    if origin.back:
        writer["step"] = reader["step"] - origin.back[0]
    return reader, writer


def edges(origin: Origin, reader: dict, *writers: dict) -> list[tuple[str, str]]:
    """The edges that add_origins makes from a reader to writers: kind, and what is at the other end."""
    rows = [(origin.reader, reader), *((origin.writer, one) for one in writers)]
    relations: dict[str, list[Stored]] = {}
    for number, (name, values) in enumerate(rows, 1):
        relations.setdefault(name, []).append(Stored(number, tuple(values.values())))
    facts = MemoryFacts(
        {name: tuple(found) for name, found in relations.items()}, Coverage(frozenset(BY_NAME))
    )
    builder = GraphBuilder(PROGRAM, naive.evaluate(PROGRAM, facts))
    root = builder.add(Node("V1", "violation", "wrong"))
    key = builder.add_fact(any_of(origin.reader), Stored(1, tuple(reader.values())), root)
    add_origins(builder)
    found = ((kind_of(builder.graph, key, target), target) for target in builder.graph.successors(key))
    return [(kind, target) for kind, target in found if kind in ("reads", "with")]


@pytest.mark.parametrize("origin", ORIGINS, ids=lambda one: f"{one.reader}-{one.writer}")
def test_an_origin_holds_where_all_of_it_does(origin: Origin):
    reader, writer = pair(origin)
    assert [kind for kind, _ in edges(origin, reader, writer)] == [origin.kind]
    if origin.kind == "reads":
        assert READS[origin.reader, origin.writer](reader, writer)
    other = {"int": 7, "float": 0.25, "bool": False, "string": "y"}
    types = columns_of(origin.writer)
    for name in {theirs for _, theirs, _ in origin.equal} | {name for name, _ in origin.wrote}:
        assert edges(origin, reader, {**writer, name: other[types[name]]}) == [], name
    if origin.before is not None:
        assert edges(origin, reader, {**writer, origin.before[1]: reader[origin.before[0]]}) == []
    for name, _ in origin.where:
        # an other value may be that of another line of the table, but of no line about this writer
        assert edges(origin, {**reader, name: "neither"}, writer) == [], name


def test_only_the_last_write_before_the_reading_counts():
    origin = next(one for one in ORIGINS if (one.reader, one.writer) == ("gradient", "clip"))
    reader, writer = pair(origin)
    early, late = {**writer, "at": 20, "limit": 1.0}, {**writer, "at": 30, "limit": 2.0}
    ((_, target),) = edges(origin, reader, late, early, {**writer, "at": 50})
    assert "2" in target and ", 30, " in target


def test_what_is_added_is_bounded():
    origin = next(one for one in ORIGINS if one.kind == "with")
    reader, writer = pair(origin)
    many = [{**writer, "rank": rank} for rank in range(100, 200)]
    assert 1 <= len(edges(origin, reader, *many)) <= MOST_FACTS


def test_writes_are_followed_a_few_times_back():
    origin = next(one for one in ORIGINS if (one.reader, one.writer) == ("update", "update"))
    reader, _ = pair(origin)
    chain = [{**reader, "nth": 40 - n, "before": 100 - n - 1, "after": 100 - n} for n in range(10)]
    chain[0]["before"], chain[0]["after"] = 99, 1
    relations = {"update": tuple(Stored(n, tuple(one.values())) for n, one in enumerate(chain, 1))}
    builder = GraphBuilder(
        PROGRAM, naive.evaluate(PROGRAM, MemoryFacts(relations, Coverage(frozenset(BY_NAME))))
    )
    root = builder.add(Node("V1", "violation", "wrong"))
    builder.add_fact(any_of("update"), relations["update"][0], root)
    add_origins(builder)
    assert len(builder.observed) == 1 + HOPS
