"""`run.json`: what a run folder says about itself."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from tcrules.instrument.errors import RunError
from tcrules.instrument.privacy import encodable, redact
from tcrules.instrument.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MANIFEST = "run.json"
FORMAT = "tcrules-run"
RECORD = "tcrules record -o {} -- python train.py"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `run.json`. Times are seconds since 1970, 0 = not yet; `pid` is the recorder's."""

    command: str
    schema: int = SCHEMA_VERSION
    started: float = 0.0
    ended: float = 0.0
    status: str = "running"
    exit_code: int = 0
    host: str = ""
    pid: int = 0
    python: str = ""
    torch: str = ""
    sealed: bool = False
    processes: tuple[dict[str, Any], ...] = field(default=())
    notes: tuple[str, ...] = ()

    def with_(self, **changes: Any) -> Manifest:
        """Return a changed copy."""
        return replace(self, **changes)


def new_manifest(command: Sequence[str]) -> Manifest:
    """Describe a run that starts now on this machine."""
    return Manifest(
        command=shlex.join(redact(command)), started=time.time(), host=platform.node(), pid=os.getpid(),
        python=platform.python_version(),
    )  # fmt: skip


def create_run(run: Path, command: Sequence[str], *, overwrite: bool = False) -> Manifest:
    """Create a run folder.

    Raises:
        RunError: it exists and is not empty (and no run, or `overwrite` was not given, or something still records
            into it), or cannot be created.
    """
    require_free(run, overwrite)
    if overwrite and run.exists():
        shutil.rmtree(run)
    manifest = new_manifest(command)
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / "segments").mkdir()  # of several that come at the same time, one makes it
        write_manifest(run, manifest)
    except FileExistsError as fault:
        raise RunError(f"another run begins in '{run}' right now", "choose another folder with -o") from fault
    except OSError as fault:
        message = f"the run folder '{run}' cannot be created: {fault.strerror}"
        raise RunError(message, "choose another folder with -o") from fault
    return manifest


def require_free(run: Path, overwrite: bool = False) -> None:
    """Make sure that a run may be written here: nothing, an empty folder, or a run that may be replaced.

    Raises:
        RunError: what is there must not be replaced.
    """
    if not run.exists():
        return
    if not run.is_dir():
        raise RunError(f"'{run}' is a file, but a run is a folder", "choose another folder with -o")
    if not any(run.iterdir()):
        return
    if not (run / MANIFEST).is_file():
        raise RunError(f"'{run}' is not empty and no run folder", "choose an empty or new folder with -o")
    if not overwrite:
        raise RunError(
            f"the run '{run}' exists", "choose another folder with -o, or replace it with --overwrite"
        )
    # never delete a folder that merely has a file of that name, nor what is being written
    _require_ended(run, read_manifest(run, any_version=True))


def _require_ended(run: Path, manifest: Manifest) -> None:
    from tcrules.instrument.seal import is_written

    if not is_written(run, manifest):
        return
    if manifest.host != platform.node():
        raise RunError(
            f"the run '{run}' may still go on: host {manifest.host} has not said that it ended",
            "choose another folder with -o, or remove this one if nothing writes into it any more",
        )
    raise RunError(f"the run '{run}' is still going on", "stop it first, or choose another folder with -o")


def write_manifest(run: Path, manifest: Manifest) -> None:
    """Write `run.json` atomically.

    Raises:
        OSError: the folder cannot be written.
    """
    temporary = run / f".{MANIFEST}.{os.getpid()}"
    temporary.write_text(
        json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1) + "\n", encoding="utf-8"
    )
    os.replace(temporary, run / MANIFEST)


def read_manifest(run: Path, *, any_version: bool = False) -> Manifest:
    """Read `run.json`; unknown entries are ignored.

    Raises:
        RunError: no run folder, a damaged one, or one of a newer schema version (unless `any_version`).
    """
    record = f"record one with: {RECORD.format(run)}"
    if not run.exists():
        raise RunError(f"there is no run '{run}'", record)
    if not run.is_dir():
        raise RunError(
            f"'{run}' is a file, but a run is a folder", "give the folder that `tcrules record -o` wrote"
        )
    if not (run / MANIFEST).exists():
        state = "no run folder: it has no run.json" if any(run.iterdir()) else "empty, not a run folder"
        raise RunError(f"'{run}' is {state}", record)
    try:
        content = json.loads((run / MANIFEST).read_bytes())
    except OSError as fault:
        raise RunError(f"'{run / MANIFEST}' cannot be read: {fault.strerror}") from fault
    except (ValueError, RecursionError) as fault:
        raise RunError(f"'{run / MANIFEST}' is damaged: it is no JSON", "record the run again") from fault
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"'{run}' is no run folder: its run.json is of another program", record)
    schema = content.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise RunError(
            f"'{run / MANIFEST}' is damaged: its schema version is {schema!r}", "record the run again"
        )
    if not any_version and schema > SCHEMA_VERSION:
        message = f"'{run}' has schema version {schema}; this tcrules reads versions up to {SCHEMA_VERSION}"
        raise RunError(
            message, "install the version of tcrules that recorded it, or a later one, or record it again"
        )
    return _checked(run, content)


def _checked(run: Path, content: dict[str, Any]) -> Manifest:
    """Build the manifest from untrusted JSON; an entry of a wrong type is a damaged file."""
    default = Manifest(command="")
    values: dict[str, Any] = {}
    for entry in fields(Manifest):
        if entry.name not in content:
            continue
        value, wanted = content[entry.name], getattr(default, entry.name)
        if isinstance(wanted, tuple) and isinstance(value, list):
            kind = dict if entry.name == "processes" else str
            items = (encodable(item) if isinstance(item, str) else item for item in value)
            values[entry.name] = tuple(item for item in items if isinstance(item, kind))
        elif isinstance(wanted, float) and isinstance(value, int | float):
            values[entry.name] = float(value)
        elif type(value) is str is type(wanted):
            values[entry.name] = encodable(value)
        elif type(value) is type(wanted):
            values[entry.name] = value
        else:
            raise RunError(f"'{run / MANIFEST}' is damaged: {entry.name} is no {type(wanted).__name__}",
                           "record the run again")  # fmt: skip
    return Manifest(**{"command": "", **values})
