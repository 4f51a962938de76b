"""The engines that `engine.py` compares: whether they are installed, their own form of the facts, their commands.

Every engine gets the facts in the form that it reads best, made before the clock starts: `.facts` for tcrules, DuckDB
and egglog, `.lp` for clingo, compiled `.qlf` for SWI-Prolog.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from engine_inputs import Facts, Task

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"

#: Programs of clingo that need relations of their own, with the relations that count.
_HELPED = {"components": ("component/2", "representative/1"), "shortest": ("distance/2", "even/1")}
#: From a task, its facts and the folder of its `.facts` to a command.
Prepare: TypeAlias = Callable[[Task, Facts, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine; `suffix` is that of its programs."""

    name: str
    suffix: str
    installed: Callable[[], bool]
    prepare: Prepare

    def program(self, task: Task) -> Path:
        """Its program for a task; a missing file says that the engine cannot express it."""
        return PROGRAMS / f"{task.program}{self.suffix}"


def _tcrules(task: Task, _: Facts, folder: Path) -> list[str]:
    program = PROGRAMS / f"{task.program}.tcr"
    return [sys.executable, "-m", "tcrules", "query", "--facts", str(folder), str(program), "--count"]


def _clingo(task: Task, facts: Facts, folder: Path) -> list[str]:
    made = folder / "facts.lp"
    with made.open("w") as file:
        for relation, rows in facts.items():
            file.writelines(f"{relation}({','.join(map(str, row))}).\n" for row in rows.tolist())
    driver = HERE / "peers" / "run_clingo.py"
    return [
        sys.executable,
        str(driver),
        str(PROGRAMS / f"{task.program}.lp"),
        str(made),
        *_HELPED.get(task.name, ()),
    ]


def _duckdb(task: Task, _: Facts, folder: Path) -> list[str]:
    driver = HERE / "peers" / "run_duckdb.py"
    return [sys.executable, str(driver), str(PROGRAMS / f"{task.program}.sql"), str(folder)]


def _egglog(task: Task, _: Facts, folder: Path) -> list[str]:
    driver = HERE / "peers" / "run_egglog.py"
    return [sys.executable, str(driver), str(PROGRAMS / f"{task.program}.egg"), str(folder)]


def _swi(task: Task, facts: Facts, folder: Path) -> list[str]:
    made = folder / "facts.pl"
    with made.open("w") as file:
        for relation, rows in facts.items():
            file.writelines(f"{relation}({','.join(map(str, row))}).\n" for row in rows.tolist())
    subprocess.run(
        ["swipl", "-q", "-g", f"qcompile('{made}')", "-t", "halt"], check=True, capture_output=True
    )
    program = PROGRAMS / f"{task.program}.pl"
    loaded = f"load_files(['{folder / 'facts.qlf'}', '{program}'])"
    return ["swipl", "-q", "--stack-limit=4g", "-g", loaded, "-g", "main", "-t", "halt"]


def _python_package(name: str) -> Callable[[], bool]:
    return lambda: find_spec(name) is not None


ENGINES = (
    Engine("tcrules", ".tcr", lambda: True, _tcrules),
    Engine("clingo", ".lp", _python_package("clingo"), _clingo),
    Engine("duckdb", ".sql", _python_package("duckdb"), _duckdb),
    Engine("egglog", ".egg", _python_package("egglog"), _egglog),
    Engine("swi-prolog", ".pl", lambda: shutil.which("swipl") is not None, _swi),
)
