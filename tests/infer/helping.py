"""Short ways to facts in memory, a few templates and the program of a learned file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.engine.ir import Program
from tcrules.instrument.schema import BY_NAME, RELATIONS, TYPES

Facts: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]

#: Values of columns that a fact leaves out, by base type.
NEUTRAL: dict[str, Any] = {"int": 0, "float": 0.0, "bool": False, "string": ""}
ALL = Coverage(frozenset(BY_NAME))
#: Templates about parameters, one of each kind.
SMALL = Path(__file__).with_name("small.tcr")


def memory_facts(facts: Facts) -> MemoryFacts:
    """Facts of the schema's relations, each once."""
    stored: dict[str, tuple[Stored, ...]] = {}
    for relation in RELATIONS:
        neutral = [NEUTRAL[TYPES[column.type]] for column in relation.columns]
        names = relation.column_names()
        rows = dict.fromkeys(tuple(map(given.get, names, neutral)) for given in facts.get(relation.name, ()))
        stored[relation.name] = tuple(Stored(place, row) for place, row in enumerate(rows, start=1))
    return MemoryFacts(stored, ALL)


def program_of(text: str) -> Program:
    """The analysed program of a learned file."""
    loaded = load_text(text, "learned.tcr")
    analysis = analyse(loaded.programs)
    assert analysis.program is not None, [one.message for one in (*loaded.diagnostics, *analysis.diagnostics)]
    return analysis.program
