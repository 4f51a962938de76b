"""Reports for programs: each format is valid, whatever names a run has."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcrules.instrument.schema import SPARSE

from tcrules.report import sarif
from tcrules.report.github import MOST, as_github
from tcrules.report.json_report import as_data as as_json_data
from tcrules.report.junit import as_junit
from tcrules.report.model import (
    Cause,
    Caution,
    Excuse,
    GapNote,
    Location,
    Report,
    RuleText,
    RuleVerdict,
    Suppressed,
    Violation,
)
from tcrules.report.sarif import MOST_RESULTS, as_sarif, fingerprint

OFFICIAL = json.loads((Path(__file__).parent / "data" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
HOSTILE = '</script><b>\x00\x1b[2J\u202e%0A::error::,"\n'
names = st.text(max_size=12) | st.sampled_from([HOSTILE, "fc.weight", "x" * 10_000])
rules = st.sampled_from(["rule-a", "rule-b", "rule-c"])
places = st.none() | st.builds(
    Location, names.filter(lambda n: "\0" not in n).map(lambda n: f"/x/{n}.py"), st.integers(0, 9)
)
steps = st.none() | st.integers(0, 9)


@st.composite
def reports(draw: Any) -> Report:
    found = []
    for number in range(draw(st.integers(0, 4))):
        first = draw(steps)
        found.append(
            Violation(
                f"V{number + 1}",
                draw(rules),
                draw(st.sampled_from(["error", "warning", "note"])),
                first,
                first,
                1,
                (0,),
                tuple(draw(st.lists(names, max_size=3))),
                draw(names),
                draw(places),
                0,
                "parameter",
                root=number < 2,
                cause=Cause("low", 1, ("a", "b"), ("c",)) if number < 2 else None,
                cluster=min(number, 1) + 1,
            )
        )
    meant = tuple(
        Suppressed(
            Violation("S1", "rule-a", "error", 1, 1, 1, (), ("w",), "m", None, 0),
            Excuse("rule-a", draw(names), Location(draw(st.sampled_from(["a.py", "b.tcr"])), 3)),
        )
        for _ in range(draw(st.integers(0, 1)))
    )
    verdicts = {
        name: _verdict(name, found, draw(st.integers(0, 2))) for name in ("rule-a", "rule-b", "rule-c")
    }
    texts = {"rule-a": RuleText("error", ("modes",), draw(names), {"why": draw(names)})}
    return Report(
        draw(names), tuple(found), verdicts, tuple(draw(st.lists(names, max_size=1))),
        (GapNote("update", "rank 0", "all", draw(names)),), 3, 1, meant,
        (Caution("TCR403", draw(names), Location("b.tcr", 2)),), texts,
    )  # fmt: skip


def _verdict(name: str, found: list[Violation], unknown: int) -> RuleVerdict:
    violated = sum(violation.rule == name for violation in found)
    status = "violated" if violated else "unknown" if unknown else "vacuous"
    return RuleVerdict(name, status, violated, 0, unknown, ("a gap",) if unknown else ())


@settings(deadline=None)
@given(reports())
def test_sarif_is_valid(report: Report):
    data = json.loads(as_sarif(report))
    jsonschema.Draft4Validator(OFFICIAL).validate(data)
    (run,) = data["runs"]
    told = [result for result in run["results"] if "suppressions" not in result]
    assert len(told) == sum(violation.root for violation in report.violations)
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == known


@settings(deadline=None)
@given(reports())
def test_junit_is_xml_and_counts(report: Report):
    (suite,) = ElementTree.fromstring(as_junit(report).encode())
    tests = suite.findall("testcase")
    assert len(tests) == int(suite.get("tests", "")) == 3
    assert len(suite.findall("testcase/failure")) == int(suite.get("failures", ""))
    assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped", ""))
    assert {test.get("name") for test in tests if test.find("failure") is not None} <= {
        violation.rule for violation in report.violations if violation.severity != "note"
    }


@settings(deadline=None)
@given(reports())
def test_annotations_are_one_line_each(report: Report):
    lines = as_github(report).splitlines()
    roots = [violation for violation in report.violations if violation.root]
    assert sum(line.startswith("::") for line in lines) == len(lines)
    assert len(lines) == len(roots) + (report.exit_code == 2)


@settings(deadline=None)
@given(reports())
def test_json_is_as_its_schema_says(report: Report):
    schema = json.loads((files("tcrules.report") / "schemas" / "report.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(closed(schema)).validate(json.loads(json.dumps(as_json_data(report))))


def closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **inner} if "properties" in schema else inner


def violation(number: int, **changes: Any) -> Violation:
    given = {
        "id": f"V{number}", "rule": "r", "severity": "error", "first_step": 3, "last_step": 9, "count": 7,
        "ranks": (0,),
        "subjects": (f"p{number}",), "message": f"step 3: p{number} is wrong", "location": Location("train.py", 4),
        "instance": 0, "root": True, "cluster": number,
    }  # fmt: skip
    return Violation(**(given | changes))


def test_what_follows_is_folded_into_its_cause():
    several = (
        violation(1, cluster=1),
        violation(2, cluster=1, root=False),
        violation(3, cluster=1, root=False, rule="other", location=Location("model.py", 8)),
    )
    report = Report("run", several, {})
    (result,) = sarif.as_data(report)["runs"][0]["results"]  # type: ignore[index, call-overload]
    assert result["message"]["text"].splitlines()[1:] == ["All it concerns: p1, p2.", "Explains other."]
    assert len(result["relatedLocations"]) == 2
    assert as_github(report) == (
        "::error title=r (V1),file=train.py,line=4::step 3: p1 is wrong%0Aand 1 more%0Aexplains other"
    )


def test_fingerprints_outlive_steps_and_lines():
    early, late = (
        violation(1),
        violation(1, first_step=90, message="step 90", location=Location("train.py", 70)),
    )
    found = [sarif.as_data(Report("run", (one,), {}))["runs"][0]["results"][0] for one in (early, late)]  # type: ignore[index, call-overload]
    assert found[0]["partialFingerprints"] == found[1]["partialFingerprints"]
    assert found[0]["partialFingerprints"] == {"tcrules/v1": fingerprint("r", ["p1"])}


@pytest.mark.parametrize("severity", ["error", "note"])
def test_limits_are_kept_and_told(severity: str):
    many = tuple(violation(n, severity=severity) for n in range(1, MOST_RESULTS + 12))
    report = Report("run", many, {})
    run: Any = sarif.as_data(report)["runs"][0]  # type: ignore[index, call-overload]
    assert len(run["results"]) == MOST_RESULTS
    assert "11 further results" in str(run["invocations"])
    lines = as_github(report).splitlines()
    assert len([line for line in lines if "no rule" not in line]) == MOST
    assert f"{len(many) - MOST + 1} more root causes" in lines[MOST - 1]


def test_places_below_the_current_folder_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    near, far = (
        violation(n, location=Location(file, 3))
        for n, file in ((1, str(tmp_path / "a b.py")), (2, "/z/c.py"))
    )
    results: Any = sarif.as_data(Report("run", (near, far), {}))["runs"][0]["results"]  # type: ignore[index, call-overload]
    found = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
    assert found == [{"uri": "a%20b.py", "uriBaseId": "%SRCROOT%"}, {"uri": "file:///z/c.py"}]


def test_what_every_run_leaves_out_is_no_news():
    gaps = (
        GapNote("rng", "rank 0", "from step 3 on", SPARSE),
        GapNote("update", "rank 0", "all", "disk full"),
    )
    run: Any = sarif.as_data(Report("run", (), {}, gaps=gaps))["runs"][0]  # type: ignore[index, call-overload]
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert "disk full" in told["message"]["text"]
