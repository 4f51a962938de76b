"""Programs are deterministic and healthy; faults are silent, change the run, and some are followed to their detection.

In the nightly profile all faults are played, else one of each program. How many are found is measured by
`benchmarks/quality.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest
from conftest import CIRCUMSTANCES, Record
from playing import play
from suite import Fault, Program, load
from tcrules.engine import ir
from tcrules.instrument.runs import open_run
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.infer import infer

import tcrules
from tcrules.checking import check_loaded
from tcrules.report.model import LOUD

NIGHTLY = os.environ.get("TCRULES_PROFILE") == "nightly"
PROGRAMS = load()
FAULTS = [
    pytest.param(program, fault, id=f"{program.name}/{fault.id}")
    for program in PROGRAMS
    for fault in (program.faults if NIGHTLY else program.faults[-1:])
]


def content(run: Path) -> dict[str, list[str]]:
    """What happened in a run: its facts, without order, moments and places."""
    found = {}
    for name, path in open_run(run).relations().items():
        if name in CIRCUMSTANCES or name not in BY_NAME:
            continue
        columns = [
            c.name for c in BY_NAME[name].columns if c.type not in ("time", "call") and c.name != "path"
        ]
        chosen = ", ".join(f'"{column}"' for column in columns)
        rows = duckdb.sql(f"SELECT {chosen}, count(*) FROM read_parquet('{path}') GROUP BY ALL").fetchall()
        found[name] = sorted(map(repr, rows))
    return found


def alarms(run: Path, rules: ir.Program) -> set[str]:
    with check_loaded(run, rules) as checked:
        report = checked.report
    assert report.evaluated
    return {found.rule for found in report.violations if found.severity in LOUD}


@pytest.fixture(scope="module")
def library() -> ir.Program:
    return tcrules.load_rules()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_healthy(program: Program, record: Record, library: ir.Program, tmp_path: Path):
    flags, again = program.check[0], tmp_path / "again.txt"
    run = record(program, flags)
    assert alarms(run, library) == set()
    assert play(program.script, flags, processes=program.processes, output=again) == 0
    rank = "0" if program.processes > 1 else ""
    printed = Path(f"{run.with_suffix('.txt')}{rank}").read_text()
    assert printed.count("step") + printed.count("batch") > 10
    assert Path(f"{again}{rank}").read_text() == printed, "runs are the same, recorded or not"


@pytest.mark.parametrize(("program", "fault"), FAULTS)
def test_fault_changes_the_run(program: Program, fault: Fault, record: Record):
    healthy, faulty = record(program, program.check[0]), record(program, program.check[0], fault)
    assert content(healthy) != content(faulty)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("regression", {"no-zero-grad", "step-twice", "zero-grad-before-step"}),
        ("by_hand", {"no-broadcast", "biases-not-reduced"}),
    ],
)
def test_detected(
    name: str, expected: set[str], programs: dict[str, Program], record: Record, tmp_path: Path
):
    """Rules of three healthy runs and the library find a fault, and say nothing of a fourth healthy run."""
    program, learned = programs[name], tmp_path / "learned.tcr"
    learned.write_text(infer([record(program, flags) for flags in program.learn]).text)
    rules, twin = tcrules.load_rules(learned), program.check[0]
    assert alarms(record(program, twin), rules) == set()
    faults = [fault for fault in program.faults if fault.id in expected]
    assert {fault.id for fault in faults if alarms(record(program, twin, fault), rules)} == expected
