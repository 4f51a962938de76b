"""Runs to statistics: each template is one grouped query per run, and the answer is kept beside the run."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Coverage, Gap
from tcrules.engine.ir import Atom, Template
from tcrules.engine.plan.build import compile_body
from tcrules.engine.statistics import TooManyCandidates, statistics
from tcrules.instrument.runs import RunFolder, coverage, open_run
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.infer.model import Counts, Dropped, Run, Values

if TYPE_CHECKING:
    from tcrules.rules.infer.templates import TemplateSet

#: File in a run folder that keeps statistics, so that a run is read once for each template.
CACHE = "statistics.json"
#: Called with the number of runs that are done and the number of all.
Progress = Callable[[int, int], None]

_EVERYTHING = "*"


def collect(
    paths: Sequence[Path], templates: TemplateSet, progress: Progress | None = None
) -> tuple[list[Run], list[Dropped]]:
    """The statistics of runs, in the order of their content and not of `paths`; and templates that were too wide.

    Raises:
        RunError: a run cannot be read.
        StoreFault: the facts of a run do not fit the schema.
    """
    folders = [open_run(path) for path in paths]
    found: list[tuple[Run, list[Dropped]]] = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for read in pool.map(lambda folder: _read(folder, templates), folders):
            found.append(read)
            if progress is not None:
                progress(len(found), len(folders))
    runs = sorted((run for run, _ in found), key=lambda run: (run.project, run.name))
    dropped = {one for _, several in found for one in several}
    return runs, sorted(dropped, key=lambda one: (one.rule, one.reason))


def _read(folder: RunFolder, templates: TemplateSet) -> tuple[Run, list[Dropped]]:
    kept = _read_cache(folder)
    missing = [one for one in templates.program.templates if templates.keys[one.invariant.id] not in kept]
    dropped: list[Dropped] = []
    if missing:
        kept |= _count(folder, templates, missing, dropped)
        _write_cache(folder, kept)
    counts = {name: kept[key] for name, key in templates.keys.items() if key in kept}
    run = Run(
        name=folder.path.resolve().name,
        project=_project(folder),
        counts=counts,
        command=folder.manifest.command,
        torch=folder.manifest.torch,
        complete=folder.manifest.status == "finished",
        trains="optimizer_step" not in _empty(folder),
    )
    return run, dropped


def _count(
    folder: RunFolder, templates: TemplateSet, missing: Iterable[Template], dropped: list[Dropped]
) -> dict[str, Counts]:
    """Statistics by key of the template. What the run cannot say of a template is left out: no instance."""
    known = _coverage(folder)
    empty = _empty(folder)
    found: dict[str, Counts] = {}
    with DuckDBStore.open(folder.facts, templates.program, Settings(threads=1)) as store:
        for template in missing:
            name = template.invariant.id
            try:
                sure = not _uncertain(template, known) and not _reads(template) & empty
                found[templates.keys[name]] = count(template, store) if sure else Counts()
            except TooManyCandidates as fault:
                dropped.append(Dropped(name, str(fault)))
                found[templates.keys[name]] = Counts()
    return found


def count(template: Template, store: DuckDBStore) -> Counts:
    """The statistics of one template in one run."""
    rows = statistics(template, store)
    if not template.free:
        return Counts(
            {(row.bound, row.guard): row.triggers for row in rows},
            {(row.bound, row.guard, ()): row.held for row in rows if row.held},
        )
    return Counts(
        _triggers(template, store), {(row.bound, row.guard, row.free): row.held for row in rows if row.held}
    )


def _triggers(template: Template, store: DuckDBStore) -> dict[tuple[Values, Values], int]:
    """All instances: those of candidates that never held in this run count against them."""
    each = template.invariant.each
    if not template.bound and not template.guard:
        number = len(store.select(compile_body(each), template.invariant.variables))
        return {((), ()): number} if number else {}
    alone = replace(template, free=(), invariant=replace(template.invariant, expect=()))
    return {(row.bound, row.guard): row.triggers for row in statistics(alone, store)}


def _coverage(folder: RunFolder) -> Coverage:
    found = coverage(folder)
    names = sorted(found.recorded | set(BY_NAME))
    gaps = [
        Gap(name, gap.rank, gap.first_step, gap.last_step, gap.why, gap.recorded)
        for gap in found.gaps
        for name in (names if gap.relation == _EVERYTHING else [gap.relation])
    ]
    return Coverage(found.recorded, tuple(gaps), found.complete)


def _uncertain(template: Template, known: Coverage) -> bool:
    """Missing facts could make instances hold (or fail) that would not."""
    invariant = template.invariant
    if not known.recorded.issuperset(invariant.needs | invariant.watched):
        return True
    return not invariant.monotone and any(gap.relation in invariant.watched for gap in known.gaps)


def _reads(template: Template) -> frozenset[str]:
    """Recorded relations that must have facts for the template to have instances."""
    each = template.invariant.each
    return frozenset(one.predicate.name for one in each if isinstance(one, Atom) and one.predicate.observed)


def _empty(folder: RunFolder) -> frozenset[str]:
    """Relations without facts."""
    import duckdb

    query = "SELECT file_name FROM parquet_file_metadata(?) GROUP BY ALL HAVING sum(num_rows) = 0"
    with duckdb.connect() as connection:
        rows = connection.execute(query, [str(folder.facts / "*.parquet")]).fetchall()
    return frozenset(Path(name).stem for (name,) in rows)


def _project(folder: RunFolder) -> str:
    """The program of a run: the user's file that steps the optimizer, with its folder; else the command's script."""
    import duckdb

    query = """
        SELECT file FROM read_parquet(?) WHERE call IN (SELECT call FROM read_parquet(?))
        GROUP BY file ORDER BY count(*) DESC, file LIMIT 1
    """
    files = [str(folder.facts / name) for name in ("location.parquet", "optimizer_step.parquet")]
    with duckdb.connect() as connection:
        row = connection.execute(query, files).fetchone()
    return "/".join(Path(row[0]).parts[-2:]) if row else script_of(folder.manifest.command)


def script_of(command: str) -> str:
    """The script or module that a command runs, without flags and their values.

    >>> script_of("torchrun --nproc_per_node=2 jobs/train.py --seed 3"), script_of("python -m jobs.train --seed 3")
    ('jobs/train.py', 'jobs.train')
    """
    words = shlex.split(command) if command else []
    for place, word in enumerate(words):
        if word.endswith(".py") and not word.startswith("-"):
            return word
        if word == "-m" and place + 1 < len(words) and "torch.distributed" not in words[place + 1]:
            return words[place + 1]
    return words[0] if words else ""


# ------------------------------------------------------------------------------------------------ cache


def _read_cache(folder: RunFolder) -> dict[str, Counts]:
    """What was kept; nothing where the file is missing, damaged or of an earlier recording."""
    try:
        kept: dict[str, Any] = json.loads((folder.path / CACHE).read_text(encoding="utf-8"))
        if kept["run"] != _recording(folder):
            return {}
        return {key: _unpacked(rows) for key, rows in kept["templates"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_cache(folder: RunFolder, counts: Mapping[str, Counts]) -> None:
    if folder.facts != folder.path / "facts":
        return  # still going on, or not writable, or of an older version: read from a copy
    content = {
        "run": _recording(folder),
        "templates": {key: _packed(one) for key, one in sorted(counts.items())},
    }
    temporary = folder.path / f".{CACHE}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        os.replace(temporary, folder.path / CACHE)
    except OSError:
        temporary.unlink(missing_ok=True)


def _recording(folder: RunFolder) -> list[object]:
    return [folder.manifest.started, folder.manifest.command, folder.manifest.host]


def _packed(counts: Counts) -> dict[str, Any]:
    return {
        "triggers": [[*key, number] for key, number in counts.triggers.items()],
        "held": [[*key, number] for key, number in counts.held.items()],
    }


def _unpacked(rows: Mapping[str, Any]) -> Counts:
    return Counts(
        {(_values(bound), _values(guard)): int(n) for bound, guard, n in rows["triggers"]},
        {(_values(bound), _values(guard), _values(free)): int(n) for bound, guard, free, n in rows["held"]},
    )


def _values(found: Sequence[Any]) -> Values:
    return tuple(found)
