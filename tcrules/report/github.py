"""A report as GitHub workflow commands, which become annotations beside the lines of a pull request.

GitHub shows ten of each severity for a step of a workflow, so root causes alone are told, the first ones.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tcrules.report.model import SEVERITIES
from tcrules.report.stories import stories
from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from tcrules.report.model import Report
    from tcrules.report.stories import Story

#: Annotations of one severity.
MOST = 10
_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def as_github(report: Report) -> str:
    """The report as lines for the log of a workflow."""
    lines: list[str] = []
    told = stories(report.violations)
    for severity in SEVERITIES:
        alike = [story for story in told if story.root.severity == severity]
        shown = alike if len(alike) <= MOST else alike[: MOST - 1]
        lines += [_annotation(story) for story in shown]
        if len(shown) < len(alike):
            more = f"{len(alike) - len(shown)} more root causes: tcrules check {report.run}"
            lines.append(f"::{_COMMANDS[severity]} title=tcrules::{_data(more)}")
    if report.exit_code == 2:
        lines.append("::error title=tcrules::no rule could be decided on this run")
    return "\n".join(lines)


def _annotation(story: Story) -> str:
    root = story.root
    properties = {"title": f"{root.rule} ({root.id})"}
    if root.location is not None:
        near = os.path.relpath(root.location.file)
        properties["file"] = root.location.file if near.startswith("..") else near
        properties["line"] = str(root.location.line)
    text = root.message
    if story.twins:
        text += f"\nand {len(story.subjects()) - len(root.subjects)} more"
    if story.consequences:
        text += f"\nexplains {story.explained()}"
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[root.severity]} {given}::{_data(text)}"


def _data(text: str) -> str:
    """Text without what ends or repaints a line of the log.

    >>> _data("50 % of\\nall")
    '50 %25 of%0Aall'
    """
    lines = (plain(line) for line in text.replace("%", "%25").split("\n"))
    return "%0A".join(lines)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


__all__ = ["as_github"]
