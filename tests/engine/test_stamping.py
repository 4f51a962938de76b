"""Analysis with molds gives what analysing each statement gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from tcrules.engine.analyse import SourceProgram, analyse
from tcrules.engine.analyse.imports import Loaded
from tcrules.engine.analyse.lint import lint
from tcrules.engine.analyse.stamping import stamped
from tcrules.grammar import parse

# With --import-mode=importlib a test folder is not importable by name.
_spec = importlib.util.spec_from_file_location(
    "grammar_molds", Path(__file__).parent.parent / "grammar" / "molds.py"
)
assert _spec and _spec.loader
molds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(molds)
assert_same, files = molds.assert_same, molds.files

GOLDEN = sorted(Path(__file__).parent.parent.glob("*/golden/*.tcr"))
RULE = """invariant a{0} {{
    each    call(call: C, api: "f{0}", step: S), S > {0}{1}
    expect  call(parent: C, api: "g{0}")
    message "step {{S}} of {0}: {{C}}"
}}
"""


def compare(text: str, **parameters: int) -> None:
    programs = []
    for molds in (True, False):
        program = parse(text, "x.tcr", molds=molds).program
        if program is None:
            return
        programs.append(SourceProgram("x.tcr", program))
    fast, plain = (analyse([program], parameters) for program in programs)
    assert_same(fast.diagnostics, plain.diagnostics)
    if fast.program is None or plain.program is None:
        assert fast.program is plain.program
        return
    assert_same(fast.program.invariants, plain.program.invariants)
    assert_same(fast.program.strata, plain.program.strata)
    assert_same(fast.program.suppressions, plain.program.suppressions)
    assert fast.program == plain.program
    one, other = (
        lint(Loaded((program,), (), {}), analysis.program)
        for program, analysis in zip(programs, (fast, plain), strict=True)
    )
    assert_same(one, other)


@settings(max_examples=200, deadline=None)
@given(files(faulty=False))
def test_sound_files(text: str) -> None:
    compare(text)


@settings(max_examples=100, deadline=None)
@given(files(faulty=True))
def test_faulty_files(text: str) -> None:
    compare(text)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_golden_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    compare(f"{text}\n{text}\n{text}")


def test_passes_see_one_statement_of_each_mold() -> None:
    program = parse("".join(RULE.format(n, "") for n in range(50)), "x.tcr").program
    assert program is not None
    found = stamped([SourceProgram("x.tcr", program)], {}, frozenset())
    assert [len(source.program.statements) for source in found.programs] == [2]
    assert [len(stamps) for stamps in found.groups.values()] == [49]


def test_a_warning_shows_every_place() -> None:
    text = "".join(RULE.format(n, ", loss_call(step: S, low: Low)") for n in range(4))
    compare(text)
    program = parse(text, "x.tcr").program
    assert program is not None
    codes = [found.code for found in analyse([SourceProgram("x.tcr", program)]).diagnostics]
    assert codes == ["TCR304"] * 4


def test_ids_given_twice_are_reported() -> None:
    compare("".join(RULE.format(n // 2, "") for n in range(6)))


def test_a_parameter_may_have_any_value() -> None:
    text = "param p: int = 1\n" + "".join(RULE.format(n, ", S < $p") for n in range(4))
    for value in (1, 1_000_000_007_000_000_000, 1_000_000_007_000_131_072):
        compare(text, p=value)
