"""Violations that somebody says are meant: what counts, what is shown, and what is said about the sayings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tcrules.engine import check as engine_check
from tcrules.engine.duckdb_store import DuckDBStore

import tcrules
from tcrules import checking
from tcrules.cli.main import cli

#: What the faulty script violates.
RULE = "gradients-start-empty"
SINCE = "the script accumulates on purpose"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "project.tcr"


def report(result: Result) -> dict:
    return json.loads(result.stdout)


def violated(runs: Path) -> dict[str, dict]:
    found = report(call("check", runs / "faulty", "--format", "json"))["violations"]
    return {violation["rule"]: violation for violation in found}


def test_a_suppressed_violation_does_not_count(runs: Path, project: Path):
    before = violated(runs)
    assert RULE in before
    project.write_text("".join(f'suppress {rule} because "{SINCE}"\n' for rule in before))
    result = call("check", runs / "faulty", "--rules", project)
    assert result.exit_code == 0, result.output
    assert "CLEAN" in result.output
    assert f"suppressed ({len(before)} reason" in result.output
    assert SINCE not in result.output
    assert SINCE in call("check", runs / "faulty", "--rules", project, "-v").output
    found = report(call("check", runs / "faulty", "--rules", project, "--format", "json"))
    assert found["violations"] == []
    assert found["warnings"] == []
    assert {s["rule"] for s in found["suppressed"]} == set(before)
    assert found["suppressed"][0]["reason"] == SINCE
    assert found["suppressed"][0]["because"] == {"file": str(project), "line": 1}
    assert found["verdicts"][RULE]["status"] == "suppressed"
    assert found["summary"]["suppressed"] == len(before)
    assert found["summary"]["violated"] == 0


def test_values_choose_among_the_violations(runs: Path, project: Path):
    subject = violated(runs)[RULE]
    project.write_text(f'suppress {RULE} (S: 3) because "{SINCE}"\n')
    found = report(call("check", runs / "faulty", "--rules", project, "--format", "json"))
    (rest,) = [v for v in found["violations"] if v["rule"] == RULE]
    (meant,) = [v for v in found["suppressed"] if v["rule"] == RULE]
    assert (meant["first_step"], meant["last_step"]) == (3, 3)
    assert rest["count"] + meant["count"] == subject["count"]
    assert found["verdicts"][RULE]["status"] == "violated"


def test_what_nothing_needs_and_what_has_expired_is_reported(runs: Path, project: Path):
    project.write_text(
        f'suppress {RULE} (S: 99) because "{SINCE}"\n\nsuppress {RULE} because "{SINCE}" until "2020-01-01"\n'
    )
    result = call("check", runs / "faulty", "--rules", project)
    assert result.exit_code == 1
    assert f"{project}:1: no violation of {RULE} needs this suppression" in result.output
    assert f"{project}:3: the suppression of {RULE} counted until 2020-01-01" in result.output
    codes = [
        w["code"]
        for w in report(call("check", runs / "faulty", "--rules", project, "--format", "json"))["warnings"]
    ]
    assert codes == ["TCR403", "TCR404"]


def test_a_rule_that_was_not_decided_or_not_asked_for_says_nothing(runs: Path, project: Path):
    verdicts = report(call("check", runs / "faulty", "--format", "json"))["verdicts"]
    vacuous = next(rule for rule, verdict in verdicts.items() if verdict["status"] == "vacuous")
    held = next(rule for rule, verdict in verdicts.items() if verdict["status"] == "held")
    project.write_text(f'suppress {vacuous} because "{SINCE}"\nsuppress {held} because "{SINCE}"\n')
    found = report(call("check", runs / "faulty", "--rules", project, "--format", "json"))
    assert [w["line"] for w in found["warnings"]] == [2]
    found = report(call("check", runs / "faulty", "--rules", project, "--only", RULE, "--format", "json"))
    assert found["warnings"] == []


def test_explain_shows_suppressed_violations_when_asked(runs: Path, project: Path):
    rules = violated(runs)
    project.write_text("".join(f'suppress {rule} because "{SINCE}"\n' for rule in rules))
    assert "nothing to explain" in call("explain", runs / "faulty", "--rules", project).output
    for name in ("S1", RULE):
        result = call("explain", runs / "faulty", "--rules", project, name)
        assert result.exit_code == 0, result.output
        assert f"suppressed, because: {SINCE} ({project}:" in result.stderr


def test_a_shipped_rule_that_is_not_loaded_may_be_suppressed(runs: Path, project: Path):
    project.write_text(
        f'suppress {RULE} because "{SINCE}"\n'
        'invariant steps-happen { each step(step: S) expect S >= 0 message "{S}" }\n'
    )
    result = call("check", runs / "faulty", "--rules", project, "--no-library")
    assert result.exit_code == 0, result.output
    assert call("show", project).exit_code == 0


def test_python_interface(runs: Path, project: Path):
    project.write_text(f'suppress {RULE} because "{SINCE}"\n')
    found = tcrules.check(runs / "faulty", project)
    assert RULE not in {violation.rule for violation in found.violations}
    assert {(item.violation.rule, item.excuse.reason) for item in found.suppressed} == {(RULE, SINCE)}


def test_all_breaches_are_compared_where_only_some_are_kept(
    runs: Path, project: Path, monkeypatch: pytest.MonkeyPatch
):
    """Values of the last breach still count where the limit has cut it off."""
    monkeypatch.setitem(engine_check.check.__kwdefaults__, "most_violations", 1)
    project.write_text(f'suppress {RULE} (S: 4) because "{SINCE}"\n')
    found = report(call("check", runs / "faulty", "--rules", project, "--format", "json"))
    assert [s["first_step"] for s in found["suppressed"] if s["rule"] == RULE] == [4]
    assert found["warnings"] == []


# ------------------------------------------------------------------------------------------------ in the script


@pytest.fixture
def script(runs: Path) -> Path:
    """The script of the recorded runs; its text is put back after the test."""
    path = runs / "train.py"
    kept = path.with_suffix(".kept")
    shutil.copy(path, kept)
    yield path
    shutil.move(kept, path)


def mark(script: Path, line: int, comment: str) -> None:
    lines = script.read_text().splitlines()
    lines[line - 1] += f"  # tcr: {comment}"
    script.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("store", ["memory", "duckdb"])
def test_a_comment_on_the_line_that_is_pointed_at(
    runs: Path, script: Path, store: str, monkeypatch: pytest.MonkeyPatch
):
    if store == "duckdb":
        monkeypatch.setattr(checking, "open_store", DuckDBStore.open)
    found = violated(runs)
    mark(script, found[RULE]["location"]["line"], f"ignore[{', '.join(found)}] {SINCE}")
    result = report(call("check", runs / "faulty", "--format", "json"))
    meant = {s["rule"]: s for s in result["suppressed"]}
    assert meant[RULE]["because"] == found[RULE]["location"]
    assert meant[RULE]["reason"] == SINCE
    assert meant[RULE]["count"] == found[RULE]["count"]
    assert RULE not in {v["rule"] for v in result["violations"]}


def test_a_comment_elsewhere_is_not_needed(runs: Path, script: Path):
    mark(script, 6, f"ignore[{RULE}] {SINCE}")
    result = report(call("check", runs / "faulty", "--format", "json"))
    assert RULE in {v["rule"] for v in result["violations"]}
    assert [(w["code"], w["line"]) for w in result["warnings"]] == [("TCR403", 6)]


def test_comments_that_cannot_suppress(runs: Path, script: Path):
    line = violated(runs)[RULE]["location"]["line"]
    mark(script, 2, "ignore")
    mark(script, 6, "ignore[gradients-start-emtpy] why")
    mark(script, line, f"ignore[{RULE}]")
    result = report(call("check", runs / "faulty", "--format", "json"))
    assert RULE in {v["rule"] for v in result["violations"]}
    assert [(w["code"], w["line"]) for w in result["warnings"]] == [
        ("TCR405", 2),
        ("TCR405", 6),
        ("TCR405", line),
    ]
    texts = [w["message"] for w in result["warnings"]]
    assert "names no rule" in texts[0]
    assert f"did you mean {RULE}?" in texts[1]
    assert "gives no reason" in texts[2]
    # With a selection, an id may be that of a rule that was left out.
    result = report(call("check", runs / "faulty", "--only", RULE, "--format", "json"))
    assert [w["line"] for w in result["warnings"]] == [2, line]


def test_a_script_that_is_gone(runs: Path, script: Path):
    script.unlink()
    result = call("check", runs / "faulty")
    assert result.exit_code == 1
