"""What commands print where, on healthy and faulty runs."""

from __future__ import annotations

import csv
import json
import resource
from importlib.resources import files
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from tcrules.cli.infer import repeated
from tcrules.cli.main import cli
from tests.report.evidence import faults_of, reader

from .conftest import tcrules


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_check_faulty(runs: Path):
    result = call("check", runs / "faulty")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAULTY")
    assert "gradients-start-empty" in result.stdout
    assert "train.py:" in result.stdout
    assert "tcrules explain" in result.stderr
    assert "tcrules explain" not in result.stdout


def test_check_fixed(runs: Path):
    result = call("check", runs / "fixed")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("CLEAN")


def test_check_json(runs: Path):
    result = call("check", runs / "faulty", "--format", "json")
    data = json.loads(result.stdout)
    (found,) = (v for v in data["violations"] if v["rule"] == "gradients-start-empty")
    assert (found["first_step"], found["root"], found["subjects"]) == (1, True, ["SGD#0"])
    assert found["location"]["file"].endswith("train.py")
    assert data["summary"]["held"] > 5
    assert data["verdicts"]["gradients-start-empty"]["status"] == "violated"
    assert [v["id"] for v in data["violations"]] == [f"V{n}" for n in range(1, len(data["violations"]) + 1)]


@pytest.mark.parametrize(
    ("form", "begin"), [("sarif", "{"), ("junit", "<?xml"), ("github", "::error title=gradients-start-empty")]
)
def test_formats_of_other_tools(runs: Path, form: str, begin: str):
    result = call("check", runs / "faulty", "--format", form)
    assert (result.exit_code, result.stdout.startswith(begin)) == (1, True)
    assert "gradients-start-empty" in result.stdout and "train.py" in result.stdout


@pytest.mark.parametrize(
    ("schema", "command"),
    [
        ("report", ("check", "--format", "json")),
        ("explanation", ("explain", "--json")),
        ("explanation", ("explain", "--json", "--why-not", "zero_grad(step: 1)")),
    ],
)
def test_shipped_schemas(runs: Path, schema: str, command: tuple[str, ...]):
    told = json.loads((files("tcrules.report") / "schemas" / f"{schema}.json").read_text("utf-8"))
    found = json.loads(call(command[0], runs / "faulty", *command[1:]).stdout)
    jsonschema.Draft202012Validator(told).validate(found)


def test_only_selects_by_id_and_by_tag(runs: Path):
    one = json.loads(
        call("check", runs / "faulty", "--only", "gradients-start-empty", "--format", "json").stdout
    )
    assert list(one["verdicts"]) == ["gradients-start-empty"]
    tag = json.loads(call("check", runs / "faulty", "--only", "gradients", "--format", "json").stdout)
    assert 1 < len(tag["verdicts"]) < 20


def test_own_rules_and_parameters(runs: Path, tmp_path: Path):
    rules = tmp_path / "own.tcr"
    rules.write_text(
        "param limit: float = 1.0\n"
        "invariant small-rate @warning {\n    each    param_group(optimizer: O, step: S, lr: L)\n"
        '    expect  L < $limit\n    about   O\n    message "step {S}: rate {L} of {O}"\n}\n'
    )
    own = ("check", runs / "fixed", "--no-library", "--rules", rules)
    assert call(*own).exit_code == 0
    result = call(*own, "--param", "limit=0.001")
    assert result.exit_code == 1
    assert "rate 0.01 of SGD#0" in result.stdout


def test_edges_of_a_recorded_run_are_what_its_facts_say(runs: Path):
    data = json.loads(call("explain", runs / "faulty", "V1", "--json").stdout)
    assert faults_of(data, reader(runs / "faulty")) == []
    kinds = {edge["kind"] for edge in data["edges"]}
    assert {"because", "during", "about", "part of", "after", "reads"} <= kinds


def test_explain_tree_dot_json(runs: Path):
    tree = call("explain", runs / "faulty", "V1")
    assert tree.exit_code == 0
    assert "gradients-start-empty" in tree.stdout
    assert "train.py:" in tree.stdout
    dot = call("explain", runs / "faulty", "gradients-start-empty", "--dot")
    assert dot.stdout.startswith("digraph")
    data = json.loads(call("explain", runs / "faulty", "V1", "--json").stdout)
    assert data["schema_version"] == 1
    keys = {node["id"] for node in data["nodes"]}
    assert data["edges"] and all({edge["from"], edge["to"]} <= keys for edge in data["edges"])
    assert call("explain", runs / "fixed").exit_code == 0


def test_why_not(runs: Path):
    result = call("explain", runs / "faulty", "--why-not", 'zero_grad(step: 1, object: "SGD#0")')
    assert result.exit_code == 0
    assert "zero_grad" in result.stdout


def test_query_formats(runs: Path):
    body = "optimizer_step(optimizer: O, step: S, skipped: false), S > 2"
    rows = json.loads(call("query", runs / "faulty", body, "--format", "json").stdout)
    assert rows == [{"O": "SGD#0", "S": 3}, {"O": "SGD#0", "S": 4}]
    table = list(csv.DictReader(StringIO(call("query", runs / "faulty", body, "--format", "csv").stdout)))
    assert table == [{"O": "SGD#0", "S": "3"}, {"O": "SGD#0", "S": "4"}]
    limited = json.loads(call("query", runs / "faulty", body, "--format", "json", "--limit", "1").stdout)
    assert len(limited) == 1
    assert "SGD#0" in call("query", runs / "faulty", body).stdout


def test_query_uses_derived_relations(runs: Path, tmp_path: Path):
    rules = tmp_path / "d.tcr"
    rules.write_text("late(step: S) :- step(step: S), S > 3.\n")
    result = call("query", runs / "faulty", "late(step: S)", "--rules", rules, "--format", "json")
    assert json.loads(result.stdout) == [{"S": 4}]


def test_rules_catalogue():
    listing = call("rules")
    assert listing.exit_code == 0
    assert "gradients-start-empty" in listing.stdout
    one = call("rules", "gradients-start-empty")
    assert "why:" in one.stdout and "invariant gradients-start-empty" in one.stdout
    assert call("rules", "gradient-start-empty").exit_code == 2


def test_fmt(tmp_path: Path):
    rules = tmp_path / "a.tcr"
    rules.write_text("late(step:S):-step(step:S),S>3.\n")
    assert call("fmt", "--check", rules).exit_code == 1
    assert call("fmt", rules).exit_code == 0
    assert rules.read_text() == "late(step: S) :- step(step: S), S > 3.\n"
    assert call("fmt", "--check", tmp_path).exit_code == 0


@pytest.mark.parametrize("stage", ["ast", "ir", "plan", "sql"])
def test_show(tmp_path: Path, stage: str):
    rules = tmp_path / "a.tcr"
    rules.write_text("late(step: S) :- step(step: S), S > 3.\n")
    result = call("show", "--stage", stage, rules)
    assert result.exit_code == 0, result.output
    assert "step" in result.stdout


def test_shipped_tests_pass():
    result = call("test")
    assert result.exit_code == 0, result.output


def test_failing_test_is_told(tmp_path: Path):
    (tmp_path / "a.tcr").write_text(
        'invariant none @error {\n    each    step(step: S)\n    expect  false\n    message "{S}"\n}\n'
    )
    (tmp_path / "a.tcr-test").write_text(
        'import "a.tcr"\ntest "wrong" {\n    facts { step(step: 1). }\n    expect { held none }\n}\n'
    )
    result = call("test", tmp_path / "a.tcr-test")
    assert result.exit_code == 1
    assert "wrong" in result.stdout


def test_infer_takes_several_values_and_its_rules_can_be_checked(runs: Path, tmp_path: Path):
    learned = tmp_path / "learned.tcr"
    result = call("infer", "--runs", runs / "fixed", runs / "fixed", runs / "fixed", "-o", learned)
    assert result.exit_code == 0, result.output
    assert learned.read_text().strip()
    assert call("check", runs / "fixed", "--rules", learned).exit_code == 0


def test_repeated_values():
    assert repeated(["--runs", "a", "b", "-o", "x"], "--runs") == ["--runs", "a", "--runs", "b", "-o", "x"]
    assert repeated(["-o", "x", "--runs", "a"], "--runs") == ["-o", "x", "--runs", "a"]
    assert repeated(["-o", "x", "--runs", "a", "--runs", "b"], "--runs")[2:] == ["--runs", "a", "--runs", "b"]


def test_results_are_plain_where_no_terminal_is(runs: Path, tmp_path: Path):
    done = tcrules("check", runs / "faulty", cwd=tmp_path, FORCE_COLOR="", NO_COLOR="1", TERM="dumb")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr


def test_help_starts_fast(tmp_path: Path):
    # Processor time, so that other work on the machine hardly counts; 60 ms where it is idle.
    assert min(_processor_seconds(tmp_path) for _ in range(5)) < 0.15 * 2


def _processor_seconds(folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert tcrules("--help", cwd=folder).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
