"""Short ways to a program, facts and a model."""

from __future__ import annotations

import os
from collections.abc import Iterable

from hypothesis import HealthCheck, settings
from tcrules.engine import ir, naive
from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.grammar.render import render


def examples(count: int) -> settings:
    """So many random examples; ten times as many in the nightly profile (`TCRULES_PROFILE=nightly`)."""
    factor = 10 if os.environ.get("TCRULES_PROFILE") == "nightly" else 1
    return settings(max_examples=count * factor, deadline=None, suppress_health_check=list(HealthCheck))


def program_of(text: str) -> ir.Program:
    """The analysed program; fails with the diagnostics."""
    loaded = load_text(text)
    analysis = analyse(loaded.programs)
    sound = analysis.program is not None and not loaded.failed
    assert sound, render([*loaded.diagnostics, *analysis.diagnostics], loaded.sources)
    return analysis.program


def facts_of(**relations: Iterable[tuple[ir.Value, ...]]) -> MemoryFacts:
    """Facts with ids counted from 1."""
    stored: dict[str, tuple[Stored, ...]] = {}
    count = 0
    for name, rows in relations.items():
        listed = []
        for row in rows:
            count += 1
            listed.append(Stored(count, row))
        stored[name] = tuple(listed)
    return MemoryFacts(stored, Coverage(frozenset(relations)))


def model_of(text: str, **relations: Iterable[tuple[ir.Value, ...]]) -> naive.Model:
    """The model of a program over facts."""
    return naive.evaluate(program_of(text), facts_of(**relations))
