"""How two runs differ, without rules: relation by relation, facts are aligned and what comes first is told first.

Facts of two runs are the same event if they agree in what names it (rank, step, objects, ordinals; `KEYS`) and in their
number among those that agree. Ids of calls and event times are no part of it: they count, and say nothing across runs.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.instrument.runs import RunFolder, coverage, open_run
from tcrules.instrument.schema import RELATIONS, TYPES, Relation
from tcrules.report.flow import acts_upon
from tcrules.report.model import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from tcrules.instrument.runs import Coverage

#: Columns of whole numbers and texts that name what a fact is about, beside those of ranks, steps and objects.
KEYS = frozenset(
    {
        "nth", "group", "epoch", "index", "worker", "place", "source", "point", "kind", "key", "container", "function",
        "field", "first", "second", "name", "op", "role", "object", "part", "device", "depth", "relation",
    }
)  # fmt: skip
_NAMING = frozenset(TYPES) - {"int", "float", "bool", "string", "call", "time", "fingerprint"}
_POSITIONS = frozenset({"call", "time"})
_MEASURED = frozenset({"fingerprint", "float"})
#: What tells of the recording, not of the training; and what other relations tell better.
UNCOMPARED = frozenset({"run", "process", "instrument_gap", "recorded_steps", "location", "step", "alias"})
#: Facts that make no difference: the state of a generator from which nothing was drawn.
INERT = {"rng": "before = after"}
#: Examples of a difference.
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Example:
    """One event that differs: what it is about, and its values and id in each run; None where it is not there."""

    about: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...] | None
    right: tuple[tuple[str, str], ...] | None
    places: tuple[Location | None, Location | None] = (None, None)
    facts: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Difference:
    """How the facts of one relation differ. `first_step` is None where they have no step; `phase` orders relations."""

    relation: str
    phase: int
    first_step: int | None
    only_left: int
    only_right: int
    changed: int
    compared: int
    columns: tuple[str, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, first things first; relations that are equal; and those that could not be compared, with why."""

    left: str
    right: str
    differences: tuple[Difference, ...]
    equal: tuple[str, ...]
    uncompared: tuple[tuple[str, str], ...]

    @property
    def divergence(self) -> Difference | None:
        """Where the runs part: the first difference in a step from which another can have come."""
        stepped = [one for one in self.differences if one.first_step is not None]
        acting = (
            one
            for place, one in enumerate(stepped)
            if any(acts_upon([one.relation], [later.relation]) for later in stepped[place + 1 :])
        )
        return next(acting, stepped[0] if stepped else None)


def compare(left: Path, right: Path, *, measured: bool = True) -> Comparison:
    """Compare two runs; about a second for a million facts.

    Not `measured`, columns with fingerprints and real numbers are left out: those that another seed changes.

    Raises:
        RunError: a run cannot be read.
    """
    import duckdb

    runs = open_run(left), open_run(right)
    known = [coverage(run) for run in runs]
    found: list[Difference] = []
    equal: list[Difference] = []
    uncompared: list[tuple[str, str]] = []
    with closing(duckdb.connect()) as connection:
        for relation in RELATIONS:
            if relation.name in UNCOMPARED:
                continue
            why, partly = _comparable(relation.name, runs, known)
            if why is not None:
                uncompared += [(relation.name, why)] if why else []
                continue
            difference = _difference(connection, relation, runs, partly, measured)
            if difference is None:
                continue
            (found if difference.examples else equal).append(difference)
    found.sort(key=lambda one: (-1 if one.first_step is None else one.first_step, one.phase, one.relation))
    return Comparison(
        str(left), str(right), tuple(found), tuple(one.relation for one in equal), tuple(uncompared)
    )


def _comparable(
    relation: str, runs: Sequence[RunFolder], known: Sequence[Coverage]
) -> tuple[str | None, bool]:
    """Why a relation cannot be compared ("": neither run has it), and whether only what both recorded can be."""
    missing = [
        str(run.path) for run, found in zip(runs, known, strict=True) if relation not in found.recorded
    ]
    if missing:
        return "" if len(missing) == len(runs) else f"not recorded in {missing[0]}", False
    return None, any(gap.relation in (relation, "*") for found in known for gap in found.gaps)


def _difference(
    connection: DuckDBPyConnection,
    relation: Relation,
    runs: Sequence[RunFolder],
    partly: bool,
    measured: bool,
) -> Difference | None:
    """How a relation differs, without examples where it does not; None where neither run has facts of it."""
    columns = ("rank", *(column.name for column in relation.columns if column.name != "rank"))
    types = {"rank": "rank", **{column.name: column.type for column in relation.columns}}
    keys = [name for name in columns if types[name] in _NAMING or name in KEYS]
    values = [name for name in columns if name not in keys and types[name] not in _POSITIONS]
    if not measured:
        values = [name for name in values if types[name] not in _MEASURED]
    call = "call" in types
    files = [str(run.facts / f"{relation.name}.parquet") for run in runs]
    connection.execute(_joined(keys, values, call, partly, INERT.get(relation.name, "false")), files)
    changed = " OR ".join(f"a_{name} IS DISTINCT FROM b_{name}" for name in values) or "false"
    differs = f"(a_ordinal IS NULL OR b_ordinal IS NULL OR {changed})"
    step = "min(step)" if "step" in keys else "NULL"
    counts = connection.execute(
        f"SELECT {step}, count(*) FILTER (b_ordinal IS NULL), count(*) FILTER (a_ordinal IS NULL), count(*),"
        f" (SELECT count(*) FROM joined) FROM joined WHERE {differs}"
    ).fetchone()
    first, only_left, only_right, total, compared = counts or (None, 0, 0, 0, 0)
    if not compared:
        return None
    apart = [
        name
        for name in values
        if connection.execute(
            f"SELECT 1 FROM joined WHERE a_ordinal IS NOT NULL AND b_ordinal IS NOT NULL"
            f" AND a_{name} IS DISTINCT FROM b_{name} LIMIT 1"
        ).fetchone()
    ]
    examples = tuple(_examples(connection, keys, values, types, differs, runs if call else ()))
    return Difference(
        relation.name, relation.phase, first, only_left, only_right, total - only_left - only_right, compared,
        tuple(apart), examples,
    )  # fmt: skip


def _joined(keys: Sequence[str], values: Sequence[str], call: bool, partly: bool, inert: str) -> str:
    """All events of both runs as the table `joined`; names are those of the schema."""
    by = ", ".join(f'"{name}"' for name in keys)

    def side(letter: str) -> str:
        shown = ["fact", *values, *(["call"] if call else [])]
        renamed = "".join(f', "{name}" AS {letter}_{name}' for name in shown)
        ordinal = f"row_number() OVER (PARTITION BY {by} ORDER BY fact)"
        given = f"FROM read_parquet(?) WHERE NOT ({inert})"
        return f"SELECT {by}, {ordinal} AS ordinal, {ordinal} AS {letter}_ordinal{renamed} {given}"

    kind = "INNER" if partly else "FULL OUTER"
    return (
        f"CREATE OR REPLACE TEMP TABLE joined AS SELECT * FROM ({side('a')}) AS a "
        f"{kind} JOIN ({side('b')}) AS b USING ({by}, ordinal)"
    )


def _examples(
    connection: DuckDBPyConnection,
    keys: Sequence[str],
    values: Sequence[str],
    types: dict[str, str],
    differs: str,
    runs: Sequence[RunFolder],
) -> Iterator[Example]:
    order = ", ".join((["step"] if "step" in keys else []) + ["ordinal", *(f'"{name}"' for name in keys)])
    result = connection.execute(f"SELECT * FROM joined WHERE {differs} ORDER BY {order} LIMIT {EXAMPLES}")
    names = [column[0] for column in result.description or ()]
    for row in result.fetchall():
        found = dict(zip(names, row, strict=True))
        sides: list[tuple[tuple[str, str], ...] | None] = []
        for letter, other in ("ab", "ba"):
            if found[f"{letter}_ordinal"] is None:
                sides.append(None)
                continue
            alone = found[f"{other}_ordinal"] is None
            sides.append(
                tuple(
                    (name, _shown(found[f"{letter}_{name}"], types[name]))
                    for name in values
                    if not alone and found[f"a_{name}"] != found[f"b_{name}"]
                )
            )
        about = tuple((name, _shown(found[name], types[name])) for name in keys if found[name] != "")
        places = tuple(
            _place(connection, run, found.get(f"{letter}_call"))
            for run, letter in zip(runs, "ab", strict=False)
        )
        both = (places[0], places[1]) if len(places) == 2 else (None, None)
        yield Example(about, sides[0], sides[1], both, (found["a_fact"], found["b_fact"]))


def _place(connection: DuckDBPyConnection, run: RunFolder, call: int | None) -> Location | None:
    if not call:
        return None
    query = "SELECT file, line FROM read_parquet(?) WHERE call = ? LIMIT 1"
    row = connection.execute(query, [str(run.facts / "location.parquet"), call]).fetchone()
    return None if row is None else Location(str(row[0]), int(row[1]))


def _shown(value: object, kind: str) -> str:
    if kind == "fingerprint":
        return f"#{int(str(value)) & 0xFFFFFFFF:08x}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


__all__ = ["Comparison", "Difference", "Example", "compare"]
