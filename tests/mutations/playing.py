"""Recording many short trainings: torch is imported once, in a server from which each training is forked.

What happens in the forked process is what `tcrules record` does there: the session starts when torch is imported, the
script runs as `__main__`, the session is closed, the run is sealed.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

TIMEOUT_S = 120.0
#: Exit code of a program that did not end in time, as of `timeout`.
TOO_LONG = 124
#: Variables of the script that ran in this process: freeing a process group can wait for ever.
_kept: list[dict[str, object]] = []


def play(
    script: Path, flags: Sequence[str], *, processes: int = 1, output: Path, run: Path | None = None
) -> int:
    """Run a script as one process or as a group of several; return the first exit code that is not 0.

    Args:
        script: path of the program.
        flags: its arguments.
        processes: size of the group; each knows its rank from the environment, as under torchrun.
        output: file that gets what it prints.
        run: folder to record into; None: nothing is recorded.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    manifest = _create(run, script, flags, processes) if run is not None else None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "tcrules.instrument.session", "duckdb"])
    group = _group(processes)
    started = [
        context.Process(target=_train, args=(str(script), list(flags), str(output), run and str(run), one))
        for one in group
    ]
    for process in started:
        process.start()
    code = _wait(started)
    if run is not None and manifest is not None:
        _seal(run, manifest, code)
    return code


def _group(processes: int) -> list[dict[str, str]]:
    """The environment of each process of a group."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _train(script: str, flags: list[str], output: str, run: str | None, place: dict[str, str]) -> None:
    rank = place.get("RANK", "")
    descriptor = os.open(output + rank, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(place)
    sys.argv = [script, *flags]
    sys.path.insert(0, str(Path(script).parent))
    multiprocessing.set_start_method("fork", force=True)  # as in any program; here it would be the server
    from tcrules.instrument import session

    if run is not None:
        session.start(Path(run))
    try:
        _kept.append(runpy.run_path(script, run_name="__main__"))
    finally:
        session.stop()


def _wait(started: Sequence[BaseProcess]) -> int:
    """Wait for all; when one fails or all take too long, the others are ended. The exit code that says most."""
    end, running = time.monotonic() + TIMEOUT_S, {process.sentinel: process for process in started}
    code = 0
    while running and not code and time.monotonic() < end:
        for sentinel in wait(list(running), end - time.monotonic()):
            process = running.pop(sentinel)
            process.join()
            code = code or int(process.exitcode or 0)
    for process in running.values():
        process.kill()
        process.join()
    return code or (TOO_LONG if running else 0)


def _create(run: Path, script: Path, flags: Sequence[str], processes: int) -> object:
    from tcrules.instrument.manifest import create_run

    launcher = ["python"] if processes == 1 else ["torchrun", f"--nproc-per-node={processes}"]
    return create_run(run, [*launcher, shlex.quote(str(script)), *flags], overwrite=True)


def _seal(run: Path, manifest: object, code: int) -> None:
    from tcrules.instrument.manifest import Manifest, write_manifest
    from tcrules.instrument.seal import seal

    assert isinstance(manifest, Manifest)
    status = "failed" if code else "finished"
    write_manifest(run, manifest.with_(status=status, exit_code=code, ended=time.time()))
    seal(run)
