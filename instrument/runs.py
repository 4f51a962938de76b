"""Opening a run: what a reader gets, whatever state the run is in."""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import Manifest, read_manifest
from tcrules.instrument.processes import is_alive
from tcrules.instrument.schema import BY_NAME, RELATIONS, SAMPLED, SCHEMA_VERSION, SPARSE, Column, Relation
from tcrules.instrument.userfacts import is_name

#: Relations that come from the run folder itself.
ALWAYS = frozenset({"run", "process", "config", "instrument_gap"})

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run that can be read.

    Attributes:
        path: the run folder.
        facts: folder with one Parquet file per relation; a temporary one for a run that is still going on.
        manifest: what `run.json` says.
        notes: what a reader should know, one sentence each: killed, ranks that are missing, …
        lacking: relations that the version that recorded it did not have as they are now, with the reason.
    """

    path: Path
    facts: Path
    manifest: Manifest = field(hash=False)
    notes: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict, hash=False)

    def relations(self) -> dict[str, Path]:
        """Return relation -> Parquet file, schema relations and user relations."""
        return {path.stem: path for path in sorted(self.facts.glob("*.parquet"))}

    def user_relations(self) -> dict[str, Relation]:
        """Return the relations that are not of the schema, as their files describe them.

        Columns `rank`, `step` and `call` of whole numbers are taken for what their names say.
        """
        import duckdb

        found = {}
        with duckdb.connect() as connection:
            for name, path in self.relations().items():
                if name in BY_NAME or not is_name(name):
                    continue
                try:
                    rows = connection.execute(
                        "DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]
                    ).fetchall()
                except duckdb.Error:
                    continue  # whoever reads its facts will be told
                columns = tuple(_column(row[0], row[1]) for row in rows if row[0] != "fact")
                if all(is_name(column.name) and column.type for column in columns):
                    found[name] = Relation(name, "user", 12, "", columns)
        return found

    def describe(self) -> str:
        """Return e.g. `2 processes, 30 steps, 1,204 facts`."""
        import duckdb

        with _readable(self), duckdb.connect() as connection:

            def one(query: str, path: Path | str) -> int:
                row = connection.execute(query, [str(path)]).fetchone()
                return int(row[0]) if row and row[0] is not None else 0

            facts = one("SELECT sum(num_rows) FROM parquet_file_metadata(?)", self.facts / "*.parquet")
            steps = one("SELECT count(DISTINCT step) FROM read_parquet(?)", self.facts / "step.parquet")
        processes = len(self.manifest.processes)
        size = sum(path.stat().st_size for path in self.facts.glob("*.parquet"))
        counts = _count(processes, "process", "es"), _count(steps, "step"), _count(facts, "fact")
        return ", ".join([*counts, f"{size / 1e6:.1f} MB", *self._cost()])

    def _cost(self) -> list[str]:
        """What recording cost the process that paid most."""
        told = [cost for process in self.manifest.processes if isinstance(cost := process.get("cost"), dict)]
        measured = [cost for cost in told if cost.get("training", 0) > 0]
        if not measured:
            return []
        most = max(measured, key=lambda cost: cost["recording"] / cost["training"])
        share = most["recording"] / most["training"]
        return [f"{share:.1%} of the training's time ({_count(int(most['recorded_steps']), 'step')} in full)"]


class Gap(NamedTuple):
    """Facts of a relation that were not recorded; `last_step` -1 = until the end, relation "*" = all.

    `recorded`: stretches of steps (first, last) within that were recorded after all.
    """

    rank: int
    relation: str
    first_step: int
    last_step: int
    why: str
    recorded: tuple[tuple[int, int], ...] = ()


#: Why facts of the last step are missing where a run did not come to its end.
CUT_OFF = "the run was cut off in this step"
#: The relation of a gap in all of them.
ALL_RELATIONS = "*"


class Coverage(NamedTuple):
    """What a run can and cannot say. `complete`: all processes ended by themselves, with success."""

    recorded: frozenset[str]
    gaps: tuple[Gap, ...]
    complete: bool


def open_run(path: Path | str) -> RunFolder:
    """Return a run that can be read, converting its segments first where that has not been done.

    A run that is still going on, or whose folder cannot be written, is left untouched: what is there is
    converted into a temporary folder, removed when this process ends.

    Raises:
        RunError: missing, empty, foreign or damaged folder, or a newer schema version.
    """
    from tcrules.instrument.seal import seal

    run = Path(path)
    manifest = read_manifest(run)
    segments = run / "segments"
    pending = not manifest.sealed and segments.is_dir()
    running = manifest.status == "running" and is_alive(manifest.pid, manifest.host)
    if pending and (running or not os.access(run, os.W_OK)):
        return _open_aside(run, manifest, running)
    if pending:
        try:
            manifest = seal(run)
        except OSError:
            return _open_aside(run, manifest, running)
    return _checked(RunFolder(run, run / "facts", manifest, _notes(manifest, running)))


def read_run(path: Path | str) -> RunFolder:
    """Return a sealed run.

    Raises:
        RunError: as `open_run`, and for a run that was not sealed yet.
    """
    run = Path(path)
    manifest = read_manifest(run)
    return _checked(RunFolder(run, run / "facts", manifest, _notes(manifest, running=False)))


def coverage(run: RunFolder) -> Coverage:
    """Return which relations a run recorded, where facts are missing, and whether it came to its end.

    `recorded` holds a relation only if every trainer covered it: the absence of its facts then means
    something.
    """
    import duckdb

    with _readable(run), duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT rank, relation, first_step, last_step, why FROM read_parquet(?) ORDER BY fact",
            [str(run.facts / "instrument_gap.parquet")],
        ).fetchall()
        unfinished = connection.execute(
            "SELECT rank, coalesce(max(step) + 1, 0) FROM (SELECT DISTINCT rank FROM read_parquet($process))"
            " LEFT JOIN (SELECT rank, step FROM read_parquet($step)) USING (rank) GROUP BY rank ORDER BY rank",
            {name: str(run.facts / f"{name}.parquet") for name in ("process", "step")},
        ).fetchall()
        path = run.facts / "recorded_steps.parquet"
        # a stretch that goes on is told anew with each step
        query = (
            "SELECT rank, relation, first_step, max(last_step) FROM read_parquet(?) GROUP BY ALL ORDER BY ALL"
        )
        stretches = connection.execute(query, [str(path)]).fetchall() if path.exists() else []
    processes = run.manifest.processes
    trainers = [process for process in processes if process.get("role") == "trainer"]
    sampled = _stretches(stretches, trainers)
    covered = [frozenset(_texts(process, "covers")) for process in trainers]
    recorded = frozenset.intersection(*covered) if covered else frozenset()
    recorded = recorded.union(ALWAYS, *(_texts(process, "user") for process in processes))
    missing = any(note.endswith(" is missing") for note in run.manifest.notes)
    ended = bool(trainers) and not missing and all(process.get("ended") for process in trainers)
    complete = run.manifest.status == "finished" and ended
    gaps = [Gap(*row) for row in rows]
    gaps = [
        gap._replace(recorded=sampled.get((gap.rank, sampled_as(gap.relation, gap.why)), ())) for gap in gaps
    ]
    if not complete:  # what the last, unfinished step lacks may only not have happened yet
        gaps += [Gap(rank, ALL_RELATIONS, step, -1, CUT_OFF) for rank, step in unfinished]
    gaps += [Gap(-1, name, 0, -1, why) for name, why in run.lacking.items()]
    if run.manifest.schema == 1:
        gaps += [gap for rank, step in unfinished for gap in _silent(rank, step)]
    return Coverage(recorded.difference(run.lacking), tuple(gaps), complete)


def _silent(rank: int, steps: int) -> Iterator[Gap]:
    """The gaps that version 1 did not write, in a rank of so many steps."""
    from tcrules.instrument.versions import SILENT

    looked = tuple((step, step) for step in range(16, steps, 16))
    return (Gap(rank, name, 3, -1, SPARSE, looked) for name in SILENT)


def sampled_as(relation: str, why: str) -> str:
    """The relation by which `recorded_steps` tells where a gap has facts after all; "" = it has none."""
    return {SAMPLED: ALL_RELATIONS, SPARSE: relation}.get(why, "")


def _stretches(
    rows: Sequence[tuple[int, str, int, int]], trainers: Sequence[Mapping[str, object]]
) -> dict[tuple[int, str], tuple[tuple[int, int], ...]]:
    """Recorded stretches of steps by rank and relation; none where processes share a rank: each chose its own."""
    ranks = Counter(process.get("rank") for process in trainers)
    found: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for rank, relation, first, last in rows:
        if ranks[rank] <= 1:
            found.setdefault((rank, relation), []).append((first, last))
    return {whose: tuple(stretches) for whose, stretches in found.items()}


@contextmanager
def _readable(run: RunFolder) -> Iterator[None]:
    """Turn a fault of reading the facts into the message that they are damaged."""
    import duckdb

    try:
        yield
    except duckdb.Error as fault:
        why = str(fault).partition("\n")[0]
        raise RunError(f"'{run.path}' is damaged: {why}", "record the run again") from fault


def _open_aside(run: Path, manifest: Manifest, running: bool) -> RunFolder:
    from tcrules.instrument.seal import write_facts

    home = Path(tempfile.mkdtemp(prefix="tcrules-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    manifest = write_facts(run, home / "facts", manifest)
    return RunFolder(run, home / "facts", manifest, _notes(manifest, running))


def _notes(manifest: Manifest, running: bool) -> tuple[str, ...]:
    state = []
    if running and manifest.host != platform.node():
        state.append(f"the run has not ended, or was killed, on host {manifest.host}")
    elif running:
        state.append("the run is still going on")
    elif manifest.status in ("killed", "running"):
        state.append("the run was killed")
    elif manifest.status == "failed":
        state.append(f"the command failed with exit code {manifest.exit_code}")
    if not manifest.processes:
        state.append("no process that trains was traced")
    unfinished = [
        p.get("rank") for p in manifest.processes if p.get("role") == "trainer" and not p.get("ended")
    ]
    if not running and manifest.status in ("finished", "failed"):
        state += [f"rank {rank} was killed" for rank in unfinished]
    return (*state, *manifest.notes)


def _checked(run: RunFolder) -> RunFolder:
    """Refuse facts that are incomplete or no Parquet, before a query fails on them half-way; bring old ones up."""
    from tcrules.instrument.versions import upgraded

    old = run.manifest.schema < SCHEMA_VERSION
    again = "record the run again"
    if not run.facts.is_dir():
        raise RunError(f"'{run.path}' has no facts: neither facts/ nor segments/", again)
    for relation in RELATIONS:
        path = run.facts / f"{relation.name}.parquet"
        try:
            with path.open("rb") as file:
                start = file.read(4)
                file.seek(-4, os.SEEK_END)
                whole = start == file.read(4) == b"PAR1"
        except FileNotFoundError:
            if old:
                continue
            raise RunError(f"'{run.path}' is incomplete: facts/{path.name} is missing", again) from None
        except OSError:
            whole = False
        if not whole:
            raise RunError(f"'{run.path}' is damaged: facts/{path.name} is no Parquet file", again)
    if not old:
        return run
    with _readable(run):
        facts, lacking = upgraded(run.path, run.facts)
    version = f"the run was recorded by an older version of tcrules (schema version {run.manifest.schema})"
    return replace(run, facts=facts, notes=(*run.notes, version), lacking=lacking)


def _column(name: str, stored: str) -> Column:
    from tcrules.instrument.tables import SQL_TYPES

    kind = next((base for base, sql in SQL_TYPES.items() if sql == stored), "")
    return Column(name, name if kind == "int" and name in ("rank", "step", "call") else kind)


def _texts(process: Mapping[str, object], key: str) -> list[str]:
    values = process.get(key)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"
