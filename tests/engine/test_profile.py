"""What strata and families cost: facts in and out, rounds; verdicts stay the same."""

from __future__ import annotations

import pytest
from tcrules.engine.check import check
from tcrules.engine.duckdb_store import DuckDBStore
from tcrules.engine.facts import Coverage
from tcrules.engine.profile import Profile
from tcrules.engine.vector import VectorStore

from .helping import facts_of, program_of

RULES = """
relation e(from: int, to: int)
path(X, Y) :- e(X, Y).
path(X, Z) :- path(X, Y), e(Y, Z).
invariant no-loop @error { forbid path(X, X) message "{X}" }
invariant from-one { each e(1, Y) expect path(Y, Z) message "{Y}" }
invariant from-two { each e(2, Y) expect path(Y, Z) message "{Y}" }
"""


@pytest.mark.parametrize("kind", [DuckDBStore, VectorStore])
def test_profile_counts_facts_and_rounds(kind: type[DuckDBStore] | type[VectorStore]):
    program = program_of(RULES)
    facts = facts_of(e=[(n, n + 1) for n in range(1, 6)])
    profile = Profile(program)
    coverage = Coverage(frozenset({"e"}))
    store = kind.from_memory(facts, program)
    measured = check(
        program, profile.watch(store), coverage, progress=profile.progress, grouping=profile.grouping
    )
    assert measured == check(program, kind.from_memory(facts, program), coverage)
    entries = {entry.names: entry for entry in profile.entries(measured)}
    path = entries[("path",)]
    assert (path.facts_in, path.facts_out, path.rounds) == (5, 15, 5)
    assert "path(" in path.text and len(path.text.splitlines()) == 2
    family = entries[("from-one", "from-two")]
    assert (family.facts_in, family.facts_out, family.rounds) == (20, 2, 0)
    assert entries[("no-loop",)].facts_out == 0
    assert all(entry.seconds > 0 for entry in entries.values())
    assert [entry.seconds for entry in profile.entries(measured)] == sorted(
        (entry.seconds for entry in entries.values()), reverse=True
    )
