"""A report as SARIF 2.1.0, the format of code scanning: one result for each root cause, what follows folded into it.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/, with the limits of GitHub's code scanning: at most `MOST_RESULTS` of a
run are shown there, `MOST_PLACES` places of a result, `MOST_TAGS` tags of a rule. Fingerprints are made of rule and
subjects, never of steps or lines, so that a result is recognised in the next run.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules import __version__
from tcrules.instrument.schema import SPARSE
from tcrules.report.stories import Story, stories

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.report.json_report import Json
    from tcrules.report.model import Location, Report, RuleText, Suppressed, Violation

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MOST_RESULTS, MOST_PLACES, MOST_TAGS = 5_000, 100, 20
#: Subjects that a message spells out.
MOST_SUBJECTS = 20
#: Under this name the place of the program's sources is known to readers.
ROOT = "%SRCROOT%"


def as_sarif(report: Report) -> str:
    """The report as indented SARIF text."""
    return json.dumps(as_data(report), indent=2, ensure_ascii=False)


def as_data(report: Report) -> dict[str, Json]:
    """The report as plain data."""
    told = stories(report.violations)
    results = [_story(story) for story in told[:MOST_RESULTS]]
    results += [_suppressed(item) for item in report.suppressed[: MOST_RESULTS - len(results)]]
    rules = sorted({str(result["ruleId"]) for result in results})
    run: dict[str, Json] = {
        "tool": {
            "driver": {
                "name": "tcrules",
                "semanticVersion": __version__,
                "rules": [_rule(name, report.rules.get(name)) for name in rules],
            }
        },
        "invocations": [_invocation(report, len(told) + len(report.suppressed) - len(results))],
        "originalUriBaseIds": {ROOT: {"uri": _folder(Path.cwd())}},
        "results": list(results),
        "properties": {"run": report.run, "steps": report.steps, "processes": report.processes},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def fingerprint(rule: str, subjects: Iterable[str]) -> str:
    """What makes a result the same in another run.

    >>> fingerprint("r", ["a", "b"]) == fingerprint("r", ["b", "a"]) != fingerprint("r", ["a"])
    True
    """
    return hashlib.sha256("\0".join([rule, *sorted(subjects)]).encode()).hexdigest()[:32]


def _rule(name: str, text: RuleText | None) -> dict[str, Json]:
    if text is None:
        return {"id": name}
    sections = [f"{title}: {told}" for title, told in text.sections.items()]
    summary = text.summary or name
    return {
        "id": name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": " ".join([summary, *sections])},
        "help": {"text": "\n".join([summary, *sections])},
        "defaultConfiguration": {"level": text.severity},
        "properties": {"tags": list(text.tags[:MOST_TAGS])},
    }


def _story(story: Story) -> dict[str, Json]:
    root = story.root
    text = root.message
    subjects = story.subjects()
    if story.twins:
        more = f" and {len(subjects) - MOST_SUBJECTS} more" if len(subjects) > MOST_SUBJECTS else ""
        text += f"\nAll it concerns: {', '.join(subjects[:MOST_SUBJECTS])}{more}."
    if story.consequences:
        text += f"\nExplains {story.explained()}."
    result = _result(root, text, subjects)
    result["properties"] = {
        "id": root.id,
        "cluster": root.cluster,
        "firstStep": root.first_step,
        "lastStep": root.last_step,
        "count": root.count,
        "ranks": list(root.ranks),
    }
    others = _places(one.location for one in (*story.twins, *story.consequences))
    if others:
        result["relatedLocations"] = [{"id": number, **place} for number, place in enumerate(others, 1)]
    return result


def _suppressed(item: Suppressed) -> dict[str, Json]:
    violation, excuse = item.violation, item.excuse
    kind = "inSource" if excuse.place.file.endswith(".py") else "external"
    told: dict[str, Json] = {"kind": kind, "justification": excuse.reason}
    if kind == "inSource":
        told["location"] = _place(excuse.place)
    return {**_result(violation, violation.message, violation.subjects), "suppressions": [told]}


def _result(violation: Violation, text: str, subjects: Sequence[str]) -> dict[str, Json]:
    result: dict[str, Json] = {
        "ruleId": violation.rule,
        "level": violation.severity,
        "message": {"text": text},
        "partialFingerprints": {"tcrules/v1": fingerprint(violation.rule, subjects)},
    }
    place: dict[str, Json] = _place(violation.location) if violation.location else {}
    named: list[Json] = [
        {"fullyQualifiedName": name, "kind": violation.noun} for name in subjects[:MOST_SUBJECTS]
    ]
    if named:
        place["logicalLocations"] = named
    if place:
        result["locations"] = [place]
    return result


def _places(locations: Iterable[Location | None]) -> list[dict[str, Json]]:
    known = dict.fromkeys(location for location in locations if location is not None)
    return [_place(location) for location in list(known)[:MOST_PLACES]]


def _place(location: Location) -> dict[str, Json]:
    return {
        "physicalLocation": {
            "artifactLocation": dict(_artifact(location.file)),
            "region": {"startLine": max(location.line, 1)},
        }
    }


def _artifact(file: str) -> Mapping[str, Json]:
    """A file as an address: relative to the current folder where it lies below it, as code scanning wants it."""
    if not os.path.isabs(file):
        return {"uri": _quoted(file), "uriBaseId": ROOT}
    near = os.path.relpath(file)
    if near.startswith(".."):
        return {"uri": Path(file).as_uri()}
    return {"uri": _quoted(near), "uriBaseId": ROOT}


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path.replace(os.sep, "/"), errors="surrogatepass")


def _folder(path: Path) -> str:
    return path.as_uri().rstrip("/") + "/"


def _invocation(report: Report, left_out: int) -> dict[str, Json]:
    told = [("warning", f"{caution.place}: {caution.message}") for caution in report.cautions]
    told += [("warning", note) for note in report.notes]
    told += [
        ("note", f"{gap.relation}: {gap.why} ({gap.steps}, {gap.ranks})")
        for gap in report.gaps
        if gap.why != SPARSE  # as every run is recorded
    ]
    if left_out:
        told.append(
            ("warning", f"{left_out} further results are left out; tcrules check --format json has all")
        )
    return {
        "executionSuccessful": report.exit_code != 2,
        "exitCode": report.exit_code,
        "toolExecutionNotifications": [{"level": level, "message": {"text": text}} for level, text in told],
    }


__all__ = ["MOST_RESULTS", "as_data", "as_sarif", "fingerprint"]
