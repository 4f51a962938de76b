"""Where a run parts from a reference run: calls aligned by step, call path and ordinal, then facts.

Calls come first: a program that makes other calls does something else, whatever its numbers. Where all calls agree,
the first fact that differs counts, fingerprints and other real numbers left out: another seed changes them all. These
count last, and only where both runs begin with the same data, parameters and random numbers.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeAlias

from tcrules.diffing import compare
from tcrules.instrument.runs import open_run
from tcrules.report.graph import Evidence
from tcrules.report.model import Location
from tcrules.report.parting import Parting, Side

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from tcrules.diffing import Difference
    from tcrules.instrument.runs import RunFolder

#: A call as it is recognised in another run: the calls around it from the outermost on, itself, and its number among
#: those of its step that have the same path.
Key: TypeAlias = "tuple[tuple[tuple[str, str], ...], int]"

#: What differs in the first step where another seed was given, or other data.
_SEEDED = frozenset({"seed", "rng", "worker_rng", "batch", "batch_sample", "param_state"})
#: What tensors are called depends on what else a program makes: a call on one is known by its place.
_TENSOR = "torch.Tensor."
_OBJECT = f"CASE WHEN starts_with(api, '{_TENSOR}') THEN '' ELSE object END"

#: Whether this run has a call that the reference run lacks, and the other way round -> what that is.
_WHAT = {
    (True, True): "this run makes another call",
    (True, False): "this run makes one call more",
    (False, True): "a call of the reference run is missing here",
    (False, False): "the same calls come in another order",
}


@dataclass(frozen=True, slots=True)
class _Event:
    key: Key
    side: Side


def parting(run: Path, reference: Path) -> Parting | None:
    """Where a run parts from a reference run; None where neither calls nor facts differ.

    About a second for a million calls.

    Raises:
        RunError: a run cannot be read.
    """
    import duckdb

    runs = open_run(run), open_run(reference)
    with closing(duckdb.connect()) as connection:
        place = _first_step(connection, runs)
        if place is not None:
            sides = [_events(connection, one, *place) for one in runs]
            return _of_calls(str(reference), *place, *sides)
    return _of_facts(run, reference)


# ------------------------------------------------------------------------------------------------ calls


def _first_step(connection: DuckDBPyConnection, runs: Sequence[RunFolder]) -> tuple[int, int] | None:
    """The first step, and its first rank, that both runs have calls of, but not the same ones in the same order."""
    side = (
        f"SELECT rank, step, hash(list((api, {_OBJECT}, parent = 0) ORDER BY begin, call)) AS calls"
        " FROM read_parquet(?) GROUP BY rank, step"
    )
    found = connection.execute(
        f"SELECT step, rank FROM ({side}) AS a JOIN ({side}) AS b USING (rank, step)"
        " WHERE a.calls != b.calls ORDER BY step, rank LIMIT 1",
        [str(run.facts / "call.parquet") for run in runs],
    ).fetchone()
    return None if found is None else (int(found[0]), int(found[1]))


def _events(connection: DuckDBPyConnection, run: RunFolder, step: int, rank: int) -> list[_Event]:
    """The calls of a step in their order."""
    rows = connection.execute(
        "SELECT c.fact, c.call, c.parent, c.api, c.object, l.file, l.line, l.function FROM read_parquet(?) AS c"
        " LEFT JOIN read_parquet(?) AS l USING (rank, call) WHERE c.step = ? AND c.rank = ? ORDER BY c.begin, c.call",
        [str(run.facts / "call.parquet"), str(run.facts / "location.parquet"), step, rank],
    ).fetchall()
    paths: dict[int, tuple[tuple[str, str], ...]] = {}
    seen: Counter[tuple[tuple[str, str], ...]] = Counter()
    events = []
    for fact, call, parent, api, name, file, line, function in rows:
        path = paths[call] = (*paths.get(parent, ()), (api, "" if api.startswith(_TENSOR) else name))
        label = f"{api}()" + (f" of {name}" if name else "") + (f" in {function}" if function else "")
        location = Location(str(file), int(line)) if file else None
        side = Side(label, location, step, rank, int(call), Evidence("call", int(fact)))
        events.append(_Event((path, seen[path]), side))
        seen[path] += 1
    return events


def _of_calls(
    reference: str, step: int, rank: int, here: Sequence[_Event], there: Sequence[_Event]
) -> Parting | None:
    last = ""
    for mine, other in zip_longest(here, there):
        if mine is not None and other is not None and mine.key == other.key:
            last = mine.side.label
            continue
        more = mine is not None and mine.key not in {event.key for event in there}
        lacks = other is not None and other.key not in {event.key for event in here}
        return Parting(
            reference,
            step,
            rank,
            _WHAT[more, lacks],
            last,
            mine.side if mine else None,
            other.side if other else None,
        )
    return None


# ------------------------------------------------------------------------------------------------ facts


def _of_facts(run: Path, reference: Path) -> Parting | None:
    found = compare(run, reference, measured=False)
    # what was different before training began acts on all steps; settings of the command line may be anything
    built = (one for one in found.differences if one.first_step is None and one.relation != "config")
    first = next(built, None) or found.divergence
    what = "the same calls, but other facts"
    if first is None:
        first, what = _of_values(run, reference), "the same calls, but other values"
    return None if first is None else _between(str(reference), first, what)


def _of_values(run: Path, reference: Path) -> Difference | None:
    """The first difference in values of two runs that begin alike; None where they do not, or nothing differs."""
    found = compare(run, reference)
    begin = [one.relation for one in found.differences if one.first_step == 0]
    return None if _SEEDED.intersection(begin) else found.divergence


def _between(reference: str, first: Difference, what: str) -> Parting:
    example = first.examples[0]
    about = dict(example.about)
    step, rank = first.first_step, int(about.get("rank", 0))
    named = ", ".join(f"{name}: {value}" for name, value in example.about if name not in ("rank", "step"))
    sides: list[Side | None] = []
    both = zip((example.left, example.right), example.places, example.facts, strict=True)
    for values, place, fact in both:
        if values is None:
            sides.append(None)
            continue
        told = ", ".join(f"{name}: {value}" for name, value in values)
        label = f"{first.relation}({', '.join(part for part in (named, told) if part)})"
        sides.append(Side(label, place, step, rank, fact=Evidence(first.relation, fact) if fact else None))
    return Parting(reference, step, rank, what, "", sides[0], sides[1])
