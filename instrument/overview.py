"""What is in a folder of runs, at a glance and without converting anything; and taking runs away."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from tcrules.instrument.compacting import disk_size
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import MANIFEST, Manifest, read_manifest
from tcrules.instrument.schema import SCHEMA_VERSION
from tcrules.instrument.seal import is_written
from tcrules.instrument.segments import read_segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: What a run folder consists of; other things in it are not ours to remove.
OURS = frozenset({MANIFEST, "facts", "segments", "statistics.json", "report.html"})
#: Levels of folders that are looked into: experiment/run.
DEPTH = 2
NO_RUN, DAMAGED, UNREADABLE = "no run", "damaged", "no permission"


class Overview(NamedTuple):
    """One folder.

    Attributes:
        status: running, finished, failed, killed; or `no run`, `damaged`, `no permission`.
        steps, ranks: of the longest rank, and how many; 0 where it is no run.
        facts: how many; -1 as long as the run is not sealed.
        size: bytes on disk.
        started: seconds since 1970, 0 = unknown.
        why: what is wrong; "" for a run that can be read.
    """

    path: Path
    status: str
    steps: int = 0
    ranks: int = 0
    facts: int = -1
    size: int = 0
    started: float = 0.0
    command: str = ""
    why: str = ""


def overviews(folders: Iterable[Path]) -> Iterator[Overview]:
    """Describe the runs in folders, by name: a folder that is a run itself, else what lies in it, two levels deep.

    Nothing that is found there ends the list; what cannot be read is listed as such.

    Raises:
        RunError: one of the folders does not exist.
    """
    for folder in folders:
        if not folder.exists():
            raise RunError(f"there is no folder '{folder}'", "record a run with: tcrules record -o RUN -- …")
        yield from _inside(folder, DEPTH)


def _inside(folder: Path, depth: int) -> Iterator[Overview]:
    """The folder itself if it is a run, or holds none; else the runs that it holds, and what is no run beside them."""
    try:
        is_run = not folder.is_dir() or (folder / MANIFEST).exists()
        inside = [] if is_run else sorted(p for p in folder.iterdir() if p.is_dir() and p.name[:1] != ".")
    except OSError as fault:
        yield Overview(folder, UNREADABLE, why=fault.strerror or "it cannot be read")
        return
    if is_run or depth == 0:
        yield overview(folder)
        return
    found = [one for path in inside for one in _inside(path, depth - 1)]
    if depth < DEPTH and all(one.status == NO_RUN for one in found):
        yield overview(folder)
    else:
        yield from found


def overview(path: Path) -> Overview:
    """Describe one folder; about 5 ms for a sealed run."""
    try:
        if not (path / MANIFEST).exists():
            return Overview(path, NO_RUN, size=0, why="it has no run.json")
        manifest = read_manifest(path, any_version=True)
        return _overview(path, manifest)
    except RunError as fault:
        unreadable = isinstance(fault.__cause__, OSError)
        return Overview(path, UNREADABLE if unreadable else DAMAGED, size=disk_size(path), why=fault.message)
    except OSError as fault:
        return Overview(path, UNREADABLE, why=fault.strerror or "it cannot be read")


def _overview(path: Path, manifest: Manifest) -> Overview:
    written = is_written(path, manifest)
    status = "running" if written else "killed" if manifest.status == "running" else manifest.status
    why = "" if manifest.schema <= SCHEMA_VERSION else f"schema version {manifest.schema}"
    facts = -1
    if manifest.sealed:
        try:
            facts, steps, ranks = _sealed(path / "facts")
        except _damage():
            status, steps, ranks, why = DAMAGED, 0, 0, "its facts cannot be read"
    else:
        lengths = [len(segment.rows("step")) for segment in read_segments(path)[0]]
        steps, ranks = max(lengths, default=0), len([length for length in lengths if length])
    return Overview(
        path, status, steps, ranks, facts, disk_size(path), manifest.started, manifest.command, why
    )


def _sealed(facts: Path) -> tuple[int, int, int]:
    """Number of facts, steps of the longest rank, and ranks."""
    import duckdb

    with duckdb.connect() as connection:
        files = sorted(map(str, facts.glob("*.parquet")))
        counted = connection.execute(
            "SELECT sum(num_rows) FROM parquet_file_metadata($1)", [files]
        ).fetchone()
        query = (
            "SELECT max(steps), count(*) FROM (SELECT rank, count(DISTINCT step) AS steps "
            "FROM read_parquet([$1]) AS process LEFT JOIN read_parquet([$2]) AS step USING (rank) GROUP BY rank)"
        )
        found = connection.execute(
            query, [str(facts / "process.parquet"), str(facts / "step.parquet")]
        ).fetchone()
    steps, ranks = found or (0, 0)
    return int(counted[0] or 0) if counted else 0, int(steps or 0), int(ranks or 0)


def _damage() -> type[Exception]:
    import duckdb

    error: type[Exception] = duckdb.Error
    return error


def require_removable(path: Path, *, force: bool = False) -> None:
    """Make sure that a folder is a run, and nothing but a run.

    Raises:
        RunError: it is none, it is a link, it is still being written, or it holds something else. `force` admits the
            last two.
    """
    if path.is_symlink():
        raise RunError(f"'{path}' is a link", f"remove what it points to: {os.path.realpath(path)}")
    manifest = read_manifest(path, any_version=True)
    if force:
        return
    if is_written(path, manifest):
        raise RunError(f"'{path}' is still being written", "stop the command first, or use --force")
    others = sorted(p.name for p in path.iterdir() if p.name not in OURS and p.name[:1] != ".")
    if others:
        listed = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise RunError(f"'{path}' holds more than a run: {listed}", "move it away, or use --force")


def remove(path: Path) -> int:
    """Remove a run folder and return the bytes that it had; it is gone for readers before its files are.

    Raises:
        OSError: it cannot be removed.
    """
    size = disk_size(path)
    place = path.resolve()
    gone = place.with_name(f".{place.name}.removed-{os.getpid()}")
    os.rename(place, gone)
    shutil.rmtree(gone)
    return size
