"""The facts of one healthy run, in a folder of their own, where relations can be replaced by mutated ones."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcrules.engine.check import check
from tcrules.engine.facts import Coverage
from tcrules.engine.recorded import RecordedFacts
from tcrules.engine.vector import VectorStore
from tcrules.engine.vector.words import Texts
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.infer.mutation.operators import Mutant, Span, mutants

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb
    from tcrules.engine.ir import Invariant, Predicate, Program
    from tcrules.engine.vector.relation import Observed

#: Steps that a slice needs at least: some before a fault and some after it.
LEAST_STEPS = 4
_KNOWN = Coverage(frozenset(BY_NAME))


@dataclass(frozen=True, slots=True)
class Laboratory:
    """The first steps of a run. Make one with `laboratory`.

    `healthy` is the folder of its facts, `changed` that of the one relation which is mutated at a time.
    """

    program: Program
    connection: duckdb.DuckDBPyConnection
    healthy: Path
    changed: Path
    span: Span
    #: Healthy relations in memory, with the table of texts that they share with those that have faults.
    kept: dict[str, Observed | None] = field(default_factory=dict)
    texts: Texts = field(default_factory=Texts)

    def known(self, relations: Collection[str]) -> set[str]:
        """The relations of the schema of which there are facts."""
        files = {name: self.healthy / f"{name}.parquet" for name in relations if name in BY_NAME}
        return {
            name
            for name, path in files.items()
            if path.exists() and self.connection.read_parquet(str(path)).limit(1).fetchall()
        }

    def mutants(self, relations: Collection[str]) -> list[Mutant]:
        """All faults that can be injected into relations of which there are facts."""
        return [
            one
            for name in sorted(self.known(relations))
            for one in mutants(BY_NAME[name], self.span, self._when(name))
        ]

    def _when(self, relation: str) -> Mapping[str, str]:
        """Which facts of a relation a fault concerns, in words and in SQL.

        A fault of every other step begins and ends wherever a rule looks at neighbouring steps.
        """
        if "step" not in BY_NAME[relation].column_names():
            return {"": "true"}
        query = f"SELECT DISTINCT step FROM read_parquet('{self.healthy}/{relation}.parquet') ORDER BY step"
        steps = [int(step) for (step,) in self.connection.execute(query).fetchall()]
        onsets = {f" from step {step}": f"step >= {step}" for step in (steps[0], steps[len(steps) // 2])}
        return onsets | {" in every other step": "step % 2 = 1"}

    def statuses(self, invariants: Sequence[Invariant], mutant: Mutant | None = None) -> dict[str, str]:
        """Verdicts on the healthy facts, or on those with a fault, by id of the rule."""
        if mutant is not None:
            healthy, changed = (
                folder / f"{mutant.relation}.parquet" for folder in (self.healthy, self.changed)
            )
            self.connection.execute(
                f"CREATE OR REPLACE VIEW facts AS SELECT * FROM read_parquet('{healthy}')"
            )
            self.connection.execute(f"COPY ({mutant.query}) TO '{changed}' (FORMAT parquet)")
        facts = _Mutated(self, mutant.relation if mutant else "")
        with VectorStore(self.program, recorded=facts, texts=self.texts) as store:
            result = check(self.program, store, _KNOWN, invariants, most_violations=1)
        return {verdict.rule: verdict.status for verdict in result.verdicts}


class _Mutated:
    """Recorded facts of which one relation is changed."""

    #: Unknown, since a fault changes them.
    sizes = None

    def __init__(self, laboratory: Laboratory, relation: str) -> None:
        self._relation = relation
        self._kept = laboratory.kept
        self._healthy = RecordedFacts(laboratory.healthy, laboratory.connection)
        self._changed = RecordedFacts(laboratory.changed, laboratory.connection)

    def read(self, predicate: Predicate, store: VectorStore) -> Observed | None:
        if predicate.name == self._relation:
            return self._changed.read(predicate, store)
        if predicate.name not in self._kept:
            self._kept[predicate.name] = self._healthy.read(predicate, store)
        return self._kept[predicate.name]

    def close(self) -> None:
        """The connection belongs to the laboratory."""


@contextmanager
def laboratory(
    facts: Path, program: Program, relations: Collection[str], most_facts: int
) -> Iterator[Laboratory | None]:
    """The first steps of a run with about `most_facts` facts of some relations; None where these are too few steps."""
    import tempfile
    from pathlib import Path

    import duckdb

    with duckdb.connect() as connection, tempfile.TemporaryDirectory(prefix="tcrules-") as folder:
        files = {name: facts / f"{name}.parquet" for name in sorted({*relations, "optimizer_step"})}
        known = {name: str(path).replace("'", "''") for name, path in files.items() if path.exists()}
        steps = _steps(connection, known, most_facts)
        if steps < LEAST_STEPS:
            yield None
            return
        healthy, changed = Path(folder, "healthy"), Path(folder, "changed")
        healthy.mkdir()
        changed.mkdir()
        first = _first_step(connection, known)
        for name, path in known.items():
            stepped = name in BY_NAME and "step" in BY_NAME[name].column_names()
            where = f"WHERE step < {first + steps}" if stepped else ""
            connection.execute(
                f"COPY (SELECT * FROM read_parquet('{path}') {where}) TO '{healthy}/{name}.parquet' (FORMAT parquet)"
            )
        yield Laboratory(program, connection, healthy, changed, _span(connection, known))


def _steps(connection: duckdb.DuckDBPyConnection, known: dict[str, str], most_facts: int) -> int:
    """Steps of the slice: all of a small run."""
    if "optimizer_step" not in known:
        return 0
    query = f"SELECT count(DISTINCT step) FROM read_parquet('{known['optimizer_step']}')"
    (steps,) = connection.execute(query).fetchall()[0]
    total = 0
    for path in known.values():
        (number,) = connection.execute(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()[0]
        total += number
    return int(min(steps, steps * most_facts // max(total, 1)))


def _first_step(connection: duckdb.DuckDBPyConnection, known: dict[str, str]) -> int:
    query = f"SELECT min(step) FROM read_parquet('{known['optimizer_step']}')"
    return int(connection.execute(query).fetchall()[0][0])


def _span(connection: duckdb.DuckDBPyConnection, known: dict[str, str]) -> Span:
    """Times count events of a process, so a step takes about as many as there are between two."""
    path = known["optimizer_step"]
    query = f"SELECT max(rank), max(begin) - min(begin), count(DISTINCT step) FROM read_parquet('{path}')"
    ranks, time, number = connection.execute(query).fetchall()[0]
    return Span(max(1, int(time) // max(1, int(number) - 1) // 2), int(ranks))
