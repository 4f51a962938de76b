"""A report as JSON: the stable interface for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.engine.profile import Entry
    from tcrules.report.model import Cause, Location, Report, Suppressed, Violation

#: Raised when a field changes its meaning or goes away; new fields do not raise it.
REPORT_VERSION = 1

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def as_json(report: Report, profile: Sequence[Entry] | None = None) -> str:
    """The report as indented JSON text; a profile is added as `profile`."""
    data = as_data(report)
    if profile is not None:
        from tcrules.report import profile as profiles

        data["profile"] = profiles.as_data(profile)
    return json.dumps(data, indent=2, ensure_ascii=False)


def as_data(report: Report) -> dict[str, Json]:
    """The report as plain data, keys in a fixed order."""
    return {
        "schema_version": REPORT_VERSION,
        "run": report.run,
        "summary": dict(report.summary()),
        "violations": [_violation(violation) for violation in report.violations],
        "verdicts": {
            rule: {
                "status": report.status(rule),
                "violated": verdict.violated,
                "held": verdict.held,
                "unknown": verdict.unknown,
                "reasons": list(verdict.reasons),
            }
            for rule, verdict in report.verdicts.items()
        },
        "suppressed": [_suppressed(item) for item in report.suppressed],
        "warnings": [
            {"code": caution.code, "message": caution.message, **_place(caution.place)}
            for caution in report.cautions
        ],
        "notes": list(report.notes),
        "coverage": [
            {"relation": gap.relation, "ranks": gap.ranks, "steps": gap.steps, "why": gap.why}
            for gap in report.gaps
        ],
    }


def _place(location: Location) -> dict[str, Json]:
    return {"file": location.file, "line": location.line}


def _suppressed(item: Suppressed) -> dict[str, Json]:
    """A violation without its part in causes and consequences, with the reason and where that stands."""
    told = {
        key: value
        for key, value in _violation(item.violation).items()
        if key not in ("root", "cluster", "cause")
    }
    return {**told, "reason": item.excuse.reason, "because": _place(item.excuse.place)}


def _violation(violation: Violation) -> dict[str, Json]:
    location = violation.location
    return {
        "id": violation.id,
        "rule": violation.rule,
        "severity": violation.severity,
        "first_step": violation.first_step,
        "last_step": violation.last_step,
        "count": violation.count,
        "ranks": list(violation.ranks),
        "subjects": list(violation.subjects),
        "message": violation.message,
        "location": _place(location) if location else None,
        "root": violation.root,
        "cluster": violation.cluster,
        "cause": _cause(violation.cause) if violation.cause else None,
    }


def _cause(cause: Cause) -> dict[str, Json]:
    return {
        "confidence": cause.confidence,
        "explains": cause.explains,
        "way": list(cause.way),
        "rivals": list(cause.rivals),
    }
