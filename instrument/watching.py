"""Recording from inside a script: `with tcrules.watch(model, optimizer): …`, and facts of the user's own."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcrules.instrument import place
from tcrules.instrument import session as sessions
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import MANIFEST, create_run, read_manifest, write_manifest
from tcrules.instrument.privacy import redact
from tcrules.instrument.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch


@dataclass(frozen=True, slots=True)
class Watch:
    """A recording that goes on; `run` is its folder."""

    run: Path


@contextmanager
def watch(
    model: torch.nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    run: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Watch]:
    """Record what happens inside the block into a run folder.

    Does nothing but name `model` and `optimizer` where the process is recorded already. In a distributed run
    every rank gives the same `run`.

    Args:
        model: named at once, so that its parameters have their names from the first fact on.
        optimizer: likewise.
        run: folder to create; by default `runs/<script>-<date>-<time>`.
        options: settings of the recording. `overhead`: share of the training's time that it may take (default 0.02, in
            full mode 0.5; 0 = no limit); `warm_up`: steps that are recorded in any case (512); `relations`: those to
            record (all); `full`: calls of all public functions of torch, with their signatures; `apis`: patterns of the
            user's functions to record likewise; `limit_bytes`: disk space of a process;
            `fingerprint`: how tensors are fingerprinted, `xxh3` or `sums` (where the machine has an accelerator).

    Raises:
        RunError: the folder exists or cannot be created.
    """
    session = sessions.current()
    is_ours = session is None or session.closed
    folder = session.run if session is not None and not is_ours else _create(run)
    if is_ours:
        session = sessions.start(folder, options)
    assert session is not None
    if model is not None:
        session.names.adopt(model)
    if optimizer is not None:
        session.names.optimizer(optimizer)
    status = "failed"
    try:
        yield Watch(folder)
        status = "finished"
    finally:
        if is_ours:
            alone = not bool(_group_size() > 1)
            sessions.stop()
            _finish(folder, status, alone)


def emit(relation: str, **columns: object) -> None:
    """Report a fact of your own to the recording; does nothing in a process that is not recorded.

    Values are bool, int, float or str. A relation of the schema takes its columns (`step` is filled in); any
    other name makes a relation of its own. A fact that cannot be recorded becomes an `instrument_gap`.

    >>> emit("metric", name="accuracy", value=0.9)
    """
    session = sessions.current()
    if session is not None and not session.closed:
        session.emit(relation, columns)


def _create(run: Path | str | None) -> Path:
    words = redact(getattr(sys, "argv", ()))
    name = Path(words[0] if words else "").stem or "script"
    folder = Path(run if run is not None else f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    try:
        create_run(folder, getattr(sys, "orig_argv", words))
    except RunError:
        # another rank of the same job may have created it a moment ago, or be about to write what it is
        if not _group_size() > 1 or not _is_begun(folder):
            raise
    return folder


def _is_begun(folder: Path, patience_s: float = 10.0) -> bool:
    """Whether a run goes on there, and not one of a job that was killed: two must not be mixed.

    Raises:
        RunError: it is no run.
    """
    end = time.monotonic() + patience_s
    while not (folder / MANIFEST).exists() and time.monotonic() < end:
        time.sleep(0.01)  # the other process is about to write it
    manifest = read_manifest(folder)
    return manifest.status == "running" and is_alive(manifest.pid, manifest.host)


def _finish(folder: Path, status: str, alone: bool) -> None:
    """Note the end, and convert; of several ranks none does, as others may still write."""
    from tcrules.instrument.seal import seal

    try:
        manifest = read_manifest(folder)
        write_manifest(
            folder, manifest.with_(status=status, exit_code=int(status == "failed"), ended=time.time())
        )
        if alone:
            seal(folder)
    except Exception as fault:
        sys.stderr.write(f"tcrules: the recorded run could not be converted yet: {fault}\n")


def _group_size() -> int:
    return place.distributed()[1]
