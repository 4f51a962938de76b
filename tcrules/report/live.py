"""What is told while a run goes on: a few lines for each rule that is violated, to stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from tcrules.report.terminal import STYLES, heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.report.model import Violation


def first(violation: Violation, count: int, step: int, command: str) -> Text:
    """A rule is violated for the first time; `command` tells more."""
    text = heading(violation, "tcrules:")
    text.append(f"\n   {_moment(violation, count, step)}", style="dim")
    text.append(f"\n   next: {command}", style="dim")
    return text


def again(violation: Violation, count: int, step: int) -> Text:
    """It is violated over and over."""
    return Text.assemble(
        "tcrules: ",
        (violation.severity, STYLES[violation.severity]),
        " ",
        (violation.rule, "bold"),
        f": {count:,} times up to step {step}" if step >= 0 else f": {count:,} times",
    )


def _moment(violation: Violation, count: int, step: int) -> str:
    """When, where and how often so far."""
    parts = [] if violation.first_step is None else [f"at step {violation.first_step}"]
    if violation.ranks not in ((), (0,)):
        parts.append(_ranks(violation.ranks))
    if count > 1:
        parts.append(f"{count:,} times up to step {step}" if step >= 0 else f"{count:,} times so far")
    return ", ".join(parts) or "in the run as a whole"


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'' if len(ranks) == 1 else 's'} {', '.join(map(str, ranks))}"
