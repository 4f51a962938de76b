"""The suite's modules by name, programs recorded once for all tests of a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from playing import play
from suite import Fault, Program, load

#: Relations that tell who ran where and when: they differ between runs that do the same.
CIRCUMSTANCES = {"run", "process", "config", "location", "rng", "call"}
Record = Callable[..., Path]


@pytest.fixture(scope="session")
def programs() -> dict[str, Program]:
    return {program.name: program for program in load()}


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """`record(program, flags, fault=None)`: the run; what was recorded before is not played again.

    What the program printed is beside the run, in the file of the same name that ends in `.txt`.
    """
    base, done = tmp_path_factory.mktemp("mutations"), {}

    def recorded(program: Program, flags: tuple[str, ...], fault: Fault | None = None) -> Path:
        key = (program, flags, fault)
        if key not in done:
            run = base / f"run{len(done)}"
            script = program.faulty(fault, base / "programs") if fault else program.script
            output = base / f"run{len(done)}.txt"
            code = play(script, flags, processes=program.processes, output=output, run=run)
            assert code == 0, (
                output.read_text() if output.exists() else (base / f"{output.name}0").read_text()
            )
            done[key] = run
        return done[key]

    return recorded
