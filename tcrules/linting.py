"""Findings about rule files: what `tcrules lint` reports."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tcrules.engine.analyse import analyse, find_files, load
from tcrules.engine.analyse.lint import lint
from tcrules.instrument.schema import BY_NAME
from tcrules.rules.catalogue import shipped_file
from tcrules.rules.loading import load_rules, shipped_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tcrules.grammar.diagnostics import Diagnostic


def lint_files(
    paths: Sequence[Path], *, data: bool = False
) -> tuple[tuple[Diagnostic, ...], Mapping[str, str]]:
    """All warnings about rule files, those of analysis among them, by place; or their errors. And the texts.

    Files are analysed together; `data`: they are about facts in files, not about recorded runs.
    """
    loaded = load(map(str, paths), find_files(shipped_file))
    elsewhere = shipped_ids(loaded.programs)
    analysis = analyse(loaded.programs, None, elsewhere, {} if data else BY_NAME)
    if loaded.failed or analysis.program is None:
        return (*loaded.diagnostics, *analysis.diagnostics), loaded.sources
    named = {os.path.normpath(path) for path in paths}
    library = load_rules().program if analysis.program.invariants and not data else None
    found = [d for d in (*loaded.diagnostics, *analysis.diagnostics) if d.labels[0].span.source in named]
    found += lint(loaded, analysis.program, named, library)
    return tuple(sorted(found, key=_place)), loaded.sources


def _place(found: Diagnostic) -> tuple[str, int, str]:
    span = found.labels[0].span
    return span.source, span.start, found.code
