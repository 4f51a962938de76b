"""`tcrules lint`: what it prints, its exit codes, which files it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tcrules.cli.main import cli

DEAD = "relation p(a: int)\np(X) :- step(begin: X), X < X.\n"


def lint(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["lint", *map(str, arguments)])


def test_findings_are_printed(tmp_path: Path) -> None:
    file = tmp_path / "a.tcr"
    file.write_text(DEAD)
    result = lint(file)
    assert result.exit_code == 1
    assert "warning[TCR501]: this rule of `p` can never fire" in result.stdout
    assert f"{file}:2:25" in result.stdout
    assert "^^^^^" in result.stdout
    assert "1 files, 1 findings" in result.stderr


def test_json(tmp_path: Path) -> None:
    (tmp_path / "a.tcr").write_text(DEAD)
    (tmp_path / "b.tcr").write_text("q(X) :- step(begin: X, end: Y).\n")
    result = lint(tmp_path, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [f["code"] for f in found] == ["TCR501", "TCR505", "TCR304"]
    assert found[0]["labels"][0]["line"] == 2


def test_nothing_found(tmp_path: Path) -> None:
    (tmp_path / "a.tcr").write_text("relation p(a: int)\np(X) :- step(begin: X).\n")
    result = lint(tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert lint(tmp_path, "--json").stdout == "[]\n"


def test_only_named_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.tcr").write_text(DEAD)
    (tmp_path / "b.tcr").write_text('import "a.tcr"\nrelation q(a: int)\nq(X) :- p(X).\n')
    result = lint(tmp_path / "b.tcr", "--json")
    places = [(f["code"], Path(f["labels"][0]["file"]).name) for f in json.loads(result.stdout)]
    assert places == [("TCR501", "b.tcr")]  # `p` never has a fact


@pytest.mark.parametrize("text", ["p(X :- q.", "p(X) :- unknown(X)."])
def test_files_with_errors(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.tcr").write_text(text)
    result = lint(tmp_path / "a.tcr")
    assert result.exit_code == 2
    assert "error[TCR" in result.stdout
    assert json.loads(lint(tmp_path / "a.tcr", "--json").stdout)[0]["severity"] == "error"


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert lint(tmp_path / "a.tcr").exit_code == 2
    assert lint(tmp_path).exit_code == 2


def test_rules_about_data(tmp_path: Path) -> None:
    """A relation of runs may be declared otherwise."""
    (tmp_path / "a.tcr").write_text("relation step(a: int, b: int)\np(X) :- step(X, Y), Y != Y.\n")
    assert lint(tmp_path).exit_code == 2
    result = lint(tmp_path, "--data")
    assert result.exit_code == 1
    assert "TCR501" in result.stdout


def test_files_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TCRULES_RULES", raising=False)
    (tmp_path / "a.tcr").write_text(DEAD)
    result = lint()
    assert result.exit_code == 2
    assert "give rule files or folders" in result.output
    (tmp_path / "tcrules.toml").write_text('rules = ["a.tcr"]\n')
    result = lint()
    assert result.exit_code == 1
    assert "TCR501" in result.stdout


def test_a_rule_of_the_library(tmp_path: Path) -> None:
    from tcrules.rules.catalogue import catalogue

    rule = next(entry for entry in catalogue() if entry.id == "loss-is-finite")
    (tmp_path / "a.tcr").write_text(rule.text.replace("loss-is-finite", "my-loss"))
    result = lint(tmp_path)
    assert result.exit_code == 1
    assert "`my-loss` says the same as `loss-is-finite` of the shipped library" in result.stdout
