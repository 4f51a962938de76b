"""A report as JUnit XML, which continuous integration shows: each rule is a test.

A violated rule of severity error or warning is a failure; a rule that could not be decided, or had nothing to decide,
is skipped, with the reason; a note passes, and says what it noted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tcrules.report.model import LOUD

if TYPE_CHECKING:
    from tcrules.report.model import Report, Violation

#: Violations of one rule that are spelled out.
MOST_TOLD = 100
#: What XML 1.0 cannot say, not even escaped.
_UNSPEAKABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """The report as XML text with one test suite."""
    suite = ElementTree.Element("testsuite", name="tcrules")
    found: dict[str, list[Violation]] = {rule: [] for rule in report.verdicts}
    for violation in report.violations:
        found.setdefault(violation.rule, []).append(violation)
    counts = {"tests": 0, "failures": 0, "skipped": 0, "errors": 0}
    for rule, violations in found.items():
        counts["tests"] += 1
        outcome = _test(suite, report, rule, violations)
        if outcome:
            counts[outcome] += 1
    properties = ElementTree.Element("properties")
    for name, value in (("run", report.run), ("steps", report.steps), ("processes", report.processes)):
        ElementTree.SubElement(properties, "property", name=name, value=_clean(str(value)))
    suite.insert(0, properties)
    for name, number in counts.items():
        suite.set(name, str(number))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)


def _test(suite: ElementTree.Element, report: Report, rule: str, violations: list[Violation]) -> str:
    """Add the test of one rule; returns what it counts as besides a test."""
    text = report.rules.get(rule)
    group = text.tags[0] if text is not None and text.tags else "rules"
    test = ElementTree.SubElement(suite, "testcase", classname=f"tcrules.{_clean(group)}", name=_clean(rule))
    told = "\n".join(_line(violation) for violation in violations[:MOST_TOLD])
    if len(violations) > MOST_TOLD:
        told += f"\nand {len(violations) - MOST_TOLD} more"
    if violations and violations[0].severity in LOUD:
        first = violations[0]
        failure = ElementTree.SubElement(test, "failure", message=_clean(first.message), type=first.severity)
        failure.text = _clean(told)
        return "failures"
    if violations:
        ElementTree.SubElement(test, "system-out").text = _clean(told)
        return ""
    status = report.status(rule)
    if status in ("unknown", "vacuous", "suppressed"):
        why = "; ".join(report.verdicts[rule].reasons)
        ElementTree.SubElement(test, "skipped", message=_clean(f"{status}: {why}" if why else status))
        return "skipped"
    return ""


def _line(violation: Violation) -> str:
    place = f"{violation.location}: " if violation.location else ""
    root = " (root cause)" if violation.root else ""
    return f"{violation.id} {place}{violation.message}{root}"


def _clean(text: str) -> str:
    return _UNSPEAKABLE.sub("?", text)


__all__ = ["as_junit"]
