"""Whatever a user hands in: a message that says what, where and how to mend it, exit code 2, no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tcrules.cli.main import COMMANDS, cli


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "itself failed" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize("command", ["check", "query", "explain"])
@pytest.mark.parametrize("kind", ["missing", "empty", "foreign", "file"])
def test_no_run(tmp_path: Path, command: str, kind: str):
    run = tmp_path / "thing"
    if kind == "file":
        run.write_text("no folder")
    elif kind != "missing":
        run.mkdir()
    if kind == "foreign":
        (run / "photo.jpg").write_bytes(b"\xff\xd8")
    refused(call(command, run, *(["step(step: S)"] if command == "query" else [])), "thing")


def test_truncated_run(runs: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(runs / "faulty", copy)
    biggest = max((p for p in copy.rglob("*.parquet")), key=lambda p: p.stat().st_size)
    biggest.write_bytes(biggest.read_bytes()[:100])
    refused(call("check", copy), biggest.name)


def test_run_of_another_schema(runs: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(runs / "faulty", copy)
    shutil.copy(copy / "facts" / "step.parquet", copy / "facts" / "backward.parquet")
    refused(call("check", copy), "backward.parquet")


def test_all_faults_of_a_rule_file_are_shown_with_their_place(runs: Path, tmp_path: Path):
    rules = tmp_path / "bad.tcr"
    rules.write_text(
        'invariant one @error {\n    each    optimiser_step(step: S)\n    expect  step(step: S)\n    message "{S}"\n}\n'
        'invariant two @error {\n    each    step(stepp: S)\n    expect  false\n    message "{S}"\n}\n'
    )
    refused(call("check", runs / "faulty", "--rules", rules), "optimizer_step", "bad.tcr:2", "bad.tcr:7", "^")


def test_missing_rule_file(runs: Path):
    refused(call("check", runs / "faulty", "--rules", "nowhere.tcr"), "nowhere.tcr")


def test_binary_rule_file(runs: Path, tmp_path: Path):
    rules = tmp_path / "bad.tcr"
    rules.write_bytes(b"\xff\xfe\x00\x01" * 20)
    refused(call("check", runs / "faulty", "--rules", rules), "bad.tcr")


def test_no_rules_at_all(runs: Path):
    refused(call("check", runs / "faulty", "--no-library"), "no rule")


def test_unknown_rule_or_tag(runs: Path):
    refused(call("check", runs / "faulty", "--only", "gradients-start-emtpy"), "gradients-start-empty")


def test_rules_over_relations_that_the_run_lacks(runs: Path, tmp_path: Path):
    rules = tmp_path / "user.tcr"
    rules.write_text(
        "relation temperature(degrees: float)\n"
        'invariant cool @error {\n    each    temperature(degrees: D)\n    expect  D < 90.0\n    message "{D}"\n}\n'
    )
    result = call("check", runs / "faulty", "--rules", rules, "--no-library")
    refused(result, "no rule could be decided")


@pytest.mark.parametrize("given", ["warmup", "=3", "nonsense=1"])
def test_bad_parameters(runs: Path, given: str):
    refused(call("check", runs / "faulty", "--param", given), given.split("=")[0] or "NAME=VALUE")


def test_bad_query(runs: Path):
    refused(call("query", runs / "faulty", "optimiser_step(step: S)"), "optimizer_step", "^")
    refused(call("query", runs / "faulty", "step(step: S"), "^")


def test_unknown_violation(runs: Path):
    refused(call("explain", runs / "faulty", "V99"), "V99")
    refused(call("explain", runs / "faulty", "no-such-rule"), "no-such-rule")


def test_unknown_command_gets_a_suggestion():
    refused(call("chekc"), "check")


def test_infer_without_values(tmp_path: Path):
    refused(call("infer", "--runs", "-o", tmp_path / "x.tcr"))
    refused(call("infer", "--runs", tmp_path / "none", "-o", tmp_path / "x.tcr"), "none")


def test_fmt_of_missing_and_faulty_files(tmp_path: Path):
    refused(call("fmt", tmp_path / "none.tcr"), "none.tcr")
    bad = tmp_path / "bad.tcr"
    bad.write_text("invariant {")
    refused(call("fmt", bad), "bad.tcr:1")
    assert bad.read_text() == "invariant {"


def test_failing_tests_are_no_crash(tmp_path: Path):
    refused(call("test", tmp_path / "none.tcr-test"), "none.tcr-test")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str):
    result = call(name, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output
