"""Whether a run that rules are to be learned from is healthy: what the shipped library says of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tcrules import __version__
from tcrules.engine.check import check
from tcrules.engine.recorded import open_store
from tcrules.grammar.records import replace
from tcrules.rules.catalogue import library_paths
from tcrules.rules.coverage import known_facts
from tcrules.rules.infer.reading import MOST_IN_MEMORY
from tcrules.selection import Selection, load_selection
from tcrules.suppressing import sort_out

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.engine.duckdb_store import Settings
    from tcrules.engine.ir import Program
    from tcrules.instrument.runs import RunFolder

_LOUD = ("error", "warning")


@dataclass(frozen=True)
class LibraryHealth:
    """The shipped rules of severity error and warning, as `tcrules check` decides them.

    `files` are rule files of the project: what they suppress counts, their own rules do not.
    """

    files: tuple[Path, ...] = ()

    @cached_property
    def key(self) -> str:
        """Changes with the rules and with what is suppressed; comments in scripts are looked at each time."""
        texts = [__version__, *(path.read_text(encoding="utf-8") for path in (*library_paths(), *self.files))]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]

    @cached_property
    def program(self) -> Program:
        """The rules that count, analysed once for all runs."""
        program = load_selection(Selection(self.files))
        shipped = set(map(str, library_paths()))
        loud = [rule for rule in program.invariants if rule.severity in _LOUD and rule.span.source in shipped]
        return replace(program, invariants=tuple(loud))

    def __call__(self, folder: RunFolder, settings: Settings) -> tuple[str, ...]:
        """The rules that the run violates.

        Raises:
            TcrError: a rule file has faults.
            StoreFault: the facts cannot be read.
        """
        known = known_facts(folder)
        with open_store(folder.facts, self.program, settings, MOST_IN_MEMORY) as store:
            result = check(self.program, store, known)
            if not result.violations:
                return ()
            breaches = sort_out(self.program, store, known, result, every_rule=False)
        return tuple(sorted(rule for rule, places in breaches.counted.items() if places))
