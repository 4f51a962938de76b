"""One run to statistics: each template is a few grouped queries; what was counted before is not counted again."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tcrules.engine.ir import Atom, Template
from tcrules.engine.statistics import Bounds, TooWide, statistics
from tcrules.engine.store import StoreFault
from tcrules.engine.verdict import Doubt, doubt
from tcrules.rules.coverage import known_facts
from tcrules.rules.infer.cache import About, Kept, read_kept, write_kept
from tcrules.rules.infer.model import Counts, Dropped, Run

if TYPE_CHECKING:
    from tcrules.engine.duckdb_store import Settings
    from tcrules.engine.facts import Coverage
    from tcrules.engine.store import Store
    from tcrules.instrument.runs import RunFolder
    from tcrules.rules.infer.templates import TemplateSet

#: Called when a part of the work is done.
Tick = Callable[[], None]

#: Seconds of counting after which what was counted is kept.
_KEEP_EVERY = 1.0
#: Instances of a template for each fact of a run above which it joins what has nothing to do with each other.
_MOST_PER_FACT = 4
_LEAST_INSTANCES = 1_000_000
#: Facts of a run up to which it is read in memory: from there on the database is as fast, and needs less.
MOST_IN_MEMORY = 400_000


class Health(Protocol):
    """A check of a run: the rules that it violates with severity error or warning."""

    @property
    def key(self) -> str:
        """Changes when the verdict on the same run may change."""
        ...

    def __call__(self, folder: RunFolder, settings: Settings) -> tuple[str, ...]:
        """The rules, by id; `settings` are those of a database."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """How runs are read.

    Attributes:
        bindings: how many a template may have in one run.
        threads: of the database, for one run.
        memory: bytes that the database may use for one run before it spills to disk; 0 = most of the machine.
        health: the check of reference runs; None = they are believed to be healthy.
        keep_unhealthy: learn from runs that the check finds unhealthy.
    """

    bindings: int = Bounds().bindings
    threads: int = 1
    memory: int = 0
    health: Health | None = None
    keep_unhealthy: bool = False

    def settings(self) -> Settings:
        """Of a database that reads one run."""
        from tcrules.engine.duckdb_store import Settings

        return Settings(self.threads, f"{self.memory}B" if self.memory else "")


@dataclass(frozen=True, slots=True)
class Reading:
    """A run, the templates that had too many bindings there, and the rules of the check that it violates."""

    run: Run
    dropped: tuple[Dropped, ...] = ()
    alarms: tuple[str, ...] = ()


def left_to_do(kept: Kept, templates: TemplateSet, means: Means) -> int:
    """How many parts of the work on a run are left: each makes one tick."""
    checked = means.health is None or means.health.key in kept.healthy
    return len(_missing(kept, templates, means)) + (not checked) + (kept.about is None)


def read_run(folder: RunFolder, templates: TemplateSet, means: Means, tick: Tick) -> Reading:
    """The statistics of a run. What is done when this is interrupted is kept.

    Raises:
        RunError, StoreFault: the facts cannot be read, or do not fit the schema.
    """
    kept = read_kept(folder)
    if not left_to_do(kept, templates, means):
        return _reading(folder, templates, kept, means)
    alarms: tuple[str, ...] = ()
    with _saving(folder, kept) as save:
        if kept.about is None:
            kept.about = _about(folder)
            tick()
        if means.health is not None and means.health.key not in kept.healthy:
            alarms = means.health(folder, means.settings())
            tick()
            if not alarms:
                kept.healthy.add(means.health.key)
        missing = _missing(kept, templates, means)
        if alarms and not means.keep_unhealthy:
            for _ in missing:
                tick()
        else:
            for _ in _count(folder, templates, missing, kept, means):
                save()
                tick()
    return _reading(folder, templates, kept, means, alarms)


@contextmanager
def _saving(folder: RunFolder, kept: Kept) -> Iterator[Tick]:
    """Yields what is called after each part; keeps what is known now and then and in the end, whatever ends it."""
    last = time.monotonic()

    def save() -> None:
        nonlocal last
        if time.monotonic() - last > _KEEP_EVERY:
            write_kept(folder, kept)
            last = time.monotonic()

    try:
        yield save
    finally:
        write_kept(folder, kept)


def _missing(kept: Kept, templates: TemplateSet, means: Means) -> list[Template]:
    return [
        template
        for template in templates.program.templates
        if (key := templates.keys[template.invariant.id]) not in kept.counts
        and means.bindings > kept.too_wide.get(key, -1)
    ]


def _reading(
    folder: RunFolder, templates: TemplateSet, kept: Kept, means: Means, alarms: tuple[str, ...] = ()
) -> Reading:
    assert kept.about is not None
    counts: dict[str, Counts] = {}
    dropped = []
    for name, key in templates.keys.items():
        found = kept.counts.get(key, Counts())
        if key in kept.too_wide or max(len(found.triggers), len(found.held)) > means.bindings:
            dropped.append(Dropped(name, too_wide(means.bindings)))
        else:
            counts[name] = found
    manifest = folder.manifest
    run = Run(
        name=folder.path.resolve().name,
        project=kept.about.project,
        counts=counts,
        command=manifest.command,
        torch=manifest.torch,
        complete=manifest.status == "finished",
        trains=kept.about.steps > 0,
        schema=manifest.schema,
        settings=kept.about.settings,
        steps=kept.about.steps,
        path=folder.path,
    )
    return Reading(run, tuple(dropped), alarms)


def too_wide(bindings: int) -> str:
    """What is said of a template with too many bindings."""
    return (
        f"more than {bindings:,} bindings in a run, or a join without end: "
        "bind its metavariables more tightly, or allow more with --most-bindings"
    )


# ------------------------------------------------------------------------------------------------ counting


def _count(
    folder: RunFolder, templates: TemplateSet, missing: Iterable[Template], kept: Kept, means: Means
) -> Iterator[Template]:
    """Count each missing template into `kept`, and yield it."""
    from tcrules.engine.recorded import open_store

    known, sizes = known_facts(folder), _sizes(folder)
    waiting = list(missing)
    facts = sum(sizes.values())
    bounds = Bounds(means.bindings, max(_LEAST_INSTANCES, _MOST_PER_FACT * facts))
    while waiting:
        # Anew after a template that was given up: it may have left a relation half made.
        with open_store(folder.facts, templates.program, means.settings(), MOST_IN_MEMORY) as store:
            given_up = False
            while waiting and not given_up:
                template = waiting.pop(0)
                key = templates.keys[template.invariant.id]
                try:
                    kept.counts[key] = _counted(template, store, known, sizes, bounds)
                    kept.too_wide.pop(key, None)
                except (TooWide, MemoryError):
                    given_up = True
                    kept.too_wide[key] = means.bindings
                except StoreFault as fault:
                    if not _of_memory(fault):
                        raise
                    given_up = True
                    kept.too_wide[key] = means.bindings
                yield template


def _counted(
    template: Template, store: Store, known: Coverage, sizes: dict[str, int], bounds: Bounds
) -> Counts:
    invariant = template.invariant
    if not known.recorded.issuperset(invariant.needs | invariant.watched):
        return Counts()
    if any(sizes.get(name) == 0 for name in _reads(template)):
        return Counts()
    return count(template, store, bounds, doubt(invariant, known))


def count(
    template: Template, store: Store, bounds: Bounds | None = None, unclear: Doubt | None = None
) -> Counts:
    """The statistics of one template in one run; what the run cannot decide is no instance.

    Raises:
        TooWide: it has more bindings or instances than allowed.
    """
    found = statistics(template, store, bounds or Bounds(), unclear or Doubt())
    return Counts(found.triggers, found.held)


def _of_memory(fault: StoreFault) -> bool:
    import duckdb

    return isinstance(fault.__cause__, duckdb.OutOfMemoryException)


def _reads(template: Template) -> frozenset[str]:
    """Recorded relations that must have facts for the template to have instances."""
    each = template.invariant.each
    return frozenset(one.predicate.name for one in each if isinstance(one, Atom) and one.predicate.observed)


def _sizes(folder: RunFolder) -> dict[str, int]:
    """The number of facts of each relation."""
    import duckdb

    query = "SELECT file_name, sum(num_rows) FROM parquet_file_metadata(?) GROUP BY ALL"
    with duckdb.connect() as connection:
        rows = connection.execute(query, [str(folder.facts / "*.parquet")]).fetchall()
    return {Path(name).stem: int(number) for name, number in rows}


# ------------------------------------------------------------------------------------------------ what the run is


def _about(folder: RunFolder) -> About:
    import duckdb

    files = {name: str(folder.facts / f"{name}.parquet") for name in _READ}
    with duckdb.connect() as connection:
        (steps,) = connection.execute(_STEPS, [files["optimizer_step"]]).fetchall()[0]
        place = connection.execute(_FILE, [files["location"], files["optimizer_step"]]).fetchall()
        settings = connection.execute(_SETTINGS, [files["config"]]).fetchall()
        settings += connection.execute(_SEEDS, [files["seed"]]).fetchall()
    program = "/".join(Path(place[0][0]).parts[-2:]) if place else script_of(folder.manifest.command)
    return About(program, int(steps), {str(name): str(value) for name, value in settings})


_READ = ("optimizer_step", "location", "config", "seed")
_STEPS = "SELECT count(*) FROM read_parquet(?)"
#: The user's file that steps the optimizer.
_FILE = """
    SELECT file FROM read_parquet(?) WHERE call IN (SELECT call FROM read_parquet(?))
    GROUP BY file ORDER BY count(*) DESC, file LIMIT 1
"""
#: Variables that are no options change while a run goes on, such as `step` and `i`.
_SETTINGS = """
    SELECT key, string_agg(DISTINCT value, ', ' ORDER BY value) FROM read_parquet(?)
    WHERE source = 'argv' OR container != '' GROUP BY key ORDER BY key
"""
_SEEDS = """
    SELECT 'seed of ' || api, string_agg(DISTINCT value::VARCHAR, ', ' ORDER BY value::VARCHAR)
    FROM read_parquet(?) GROUP BY api ORDER BY api
"""


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
