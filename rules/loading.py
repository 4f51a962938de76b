"""From rule files to an analysed program."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tcrules.engine.analyse import analyse, find_files, load
from tcrules.grammar.ast import Constant, Suppression
from tcrules.grammar.diagnostics import Diagnostic, TcrError
from tcrules.grammar.molds import parts_of
from tcrules.grammar.records import collector_paused
from tcrules.rules.catalogue import catalogue, library_paths, shipped_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tcrules.engine.analyse import SourceProgram
    from tcrules.engine.ir import Program, Value


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Analysed rules with the texts that they came from and the warnings about them."""

    program: Program
    warnings: tuple[Diagnostic, ...]
    sources: Mapping[str, str]


@collector_paused()
def load_rules(
    paths: Iterable[str | Path] = (),
    *,
    library: bool = True,
    parameters: Mapping[str, Value | Constant] | None = None,
    texts: Mapping[str, str] | None = None,
) -> RuleSet:
    """Read, parse and analyse rule files and the shipped library.

    Files may import each other relative to themselves, and shipped files by their bare name. Raises `TcrError` with
    the faults of all files at once; `texts` are what the constants in `parameters` were read from, to show them.
    """
    shipped = [str(path) for path in library_paths()] if library else []
    loaded = load([*shipped, *map(str, paths)], find_files(shipped_file))
    analysis = analyse(loaded.programs, parameters, () if library else shipped_ids(loaded.programs))
    faults = (*loaded.diagnostics, *analysis.diagnostics)
    if loaded.failed or analysis.program is None:
        raise TcrError(faults, {**loaded.sources, **(texts or {})})
    return RuleSet(analysis.program, faults, loaded.sources)


def shipped_ids(programs: Iterable[SourceProgram]) -> frozenset[str]:
    """Ids of the shipped rules, if one of the programs has suppressions, which may name rules that are not loaded."""
    parts = (part for source in programs for part in parts_of(source.program.statements))
    if not any(isinstance(part, Suppression) for part in parts):
        return frozenset()
    return _shipped_ids()


@cache
def _shipped_ids() -> frozenset[str]:
    return frozenset(entry.id for entry in catalogue())
