"""Every stage of every kind of rule; what a check costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tcrules.cli.main import cli

RULES = """
relation e(from: int, to: int)
path(X, Y) :- e(X, Y).
path(X, Z) :- path(X, Y), e(Y, Z).
invariant no-loop @error { forbid path(X, X) message "{X}" }
invariant from-one { each e(1, Y) expect path(Y, Z) message "{Y}" }
invariant from-two { each e(2, Y) expect path(Y, Z) message "{Y}" }
template some(?A: int) { each e(?A, Y) expect path(Y, Z) message "{Y}" }
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.tcr"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize(
    ("stage", "rule", "words", "absent"),
    [
        ("ast", "no-loop", "Invariant", "from-one"),
        ("ast", "path", "Rule", "Invariant"),
        ("ir", "path", ":- e(", "invariant"),
        ("ir", "from-one", "each e(from: 1", "no-loop"),
        ("ir", "some", "template", "no-loop"),
        ("plan", "no-loop", "violations of no-loop", "from-one"),
        ("plan", "some", "bindings of some", "no-loop"),
        ("sql", "path", "SELECT", "no-loop"),
        ("sql", "from-two", "SELECT", "from-one"),
    ],
)
def test_stages_of_one_rule(file: Path, stage: str, rule: str, words: str, absent: str):
    result = call("show", "--stage", stage, file, rule)
    assert result.exit_code == 0, result.output
    assert words in result.stdout
    assert absent not in result.stdout


@pytest.mark.parametrize("stage", ["ir", "plan", "sql"])
def test_families_are_one(file: Path, stage: str):
    text = call("show", "--stage", stage, "--families", file).stdout
    assert "family" in text
    assert "family" not in call("show", "--stage", stage, file).stdout


def test_unknown_rule(file: Path):
    for stage in ("ast", "ir"):
        refused = call("show", "--stage", stage, file, "no-lop")
        assert refused.exit_code == 2
        assert "did you mean 'no-loop'?" in refused.stderr


def test_profile_of_a_run(runs: Path):
    plain = json.loads(call("check", runs / "faulty", "--format", "json").stdout)
    data = json.loads(call("check", runs / "faulty", "--format", "json", "--profile").stdout)
    profile = data.pop("profile")
    assert data == plain
    named = [name for entry in profile if entry["kind"] == "invariants" for name in entry["names"]]
    assert sorted(named) == sorted(plain["verdicts"])
    table = call("check", runs / "faulty", "--profile").stdout
    assert "seconds" in table and profile[0]["text"].splitlines()[0][:40] in table
