"""From a run folder and rules to the page about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.aligning import parting
from tcrules.checking import causal_graph, check_run
from tcrules.report.page.build import render
from tcrules.report.page.content import gather

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.report.model import Report
    from tcrules.selection import Selection


def page_of(path: Path, selection: Selection, against: Path | None = None) -> tuple[str, Report]:
    """The page as HTML text, and the report that it tells; graphs mark where the run parts from a reference run.

    Raises:
        TcrError, SelectionError: the rules cannot be used.
        RunError, StoreFault: the run cannot be read.
    """
    parted = None if against is None else parting(path, against)
    with check_run(path, selection) as checked:
        reads = {one.id: one.needs | one.watched for one in checked.program.invariants}
        content = gather(
            checked.report, checked.folder, reads, lambda violation: causal_graph(checked, violation, parted)
        )
        return render(content), checked.report
