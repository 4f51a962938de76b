"""Derived relations in live checking: by step or ordinal when first asked for, settled facts as a whole."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcrules.engine.limits import EvaluationLimit
from tcrules.engine.live.compile import Compiled, compile_rule
from tcrules.engine.live.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine import ir
    from tcrules.engine.analyse.horizon import Horizons
    from tcrules.engine.ir import Fact
    from tcrules.engine.live.ordinals import Ordinals
    from tcrules.engine.live.scopes import Source
    from tcrules.engine.live.tables import Facts

#: A stratum may derive so many facts for one step, or from settled facts.
MOST_DERIVED = 1_000_000


@dataclass(frozen=True, slots=True)
class _Layer:
    """A stratum whose rules are compiled; `settled`: it reads no events."""

    stratum: ir.Stratum
    rules: tuple[tuple[str, Compiled], ...]
    settled: bool


class Derived:
    """What the rules of one program derive from the facts that are held. With ordinals read them for steps."""

    def __init__(self, program: ir.Program, horizons: Horizons, facts: Facts | Ordinals) -> None:
        self.facts = facts
        self._layers: dict[str, _Layer] = {}
        self._tables: dict[tuple[str, int | None], Table] = {}
        self._given: dict[str, Table] = {}
        self._repeated: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)
        for stratum in program.strata:
            reaches = [horizons.reach(predicate) for predicate in stratum.predicates]
            if any(reach is None for reach in reaches):
                continue
            settled = all(reach is not None and reach.settled for reach in reaches)
            rules = tuple((r.head.predicate.name, _compiled(r, horizons)) for r in stratum.rules)
            layer = _Layer(stratum, rules, settled)
            self._layers.update({predicate.name: layer for predicate in stratum.predicates})

    def give(self, name: str, rows: Iterable[Fact]) -> None:
        """A relation that is given: the constants of a rule family."""
        self._given[name] = Table(list(rows))

    def index(self, source: Source, step: int) -> Any:
        """The index that an atom looks into when rules are evaluated for a step."""
        name, offset = source.predicate.name, source.offset
        if source.predicate.observed:
            table = self.facts.settled(name) if offset is None else self.facts.at(name, step + offset)
        elif name in self._given:
            table = self._given[name]
        else:
            table = self.table(name, None if offset is None else step + offset)
        return table.keys(source.columns) if source.exists else table.index(source.columns)

    def table(self, name: str, step: int | None) -> Table:
        """The facts of a derived relation at a step; None: of a settled one."""
        key = (name, step)
        if key not in self._tables:
            self._derive(self._layers[name], step)
        return self._tables[key]

    def forget(self, before: float) -> None:
        """Drop facts of earlier steps; if they are asked for again they are derived again."""
        for key in [key for key in self._tables if key[1] is not None and key[1] < before]:
            del self._tables[key]

    def settle_again(self) -> tuple[dict[str, list[Fact]], dict[str, str]]:
        """Derive everything settled anew.

        Returns the facts by which each relation differs from before, and why relations could not be derived; whoever
        reads one of these from now on is told so.
        """
        self.forget(math.inf)  # what is derived of a step may read them
        changed: dict[str, list[Fact]] = {}
        faults: dict[str, str] = {}
        before = {name: table for (name, step), table in self._tables.items() if step is None}
        for name in before:
            del self._tables[name, None]
        for name, table in before.items():
            try:
                difference = set(table.rows) ^ set(self.table(name, None).rows)
            except Exception as fault:  # a rule must not end the session
                faults[name] = f"{type(fault).__name__}: {fault}"
                continue
            if difference:
                changed[name] = list(difference)
        return changed, faults

    def _derive(self, layer: _Layer, step: int | None) -> None:
        try:
            self._fill(layer, step)
        except Exception:  # what was derived until then must not look like all that there is
            for predicate in layer.stratum.predicates:
                self._tables.pop((predicate.name, step), None)
            raise

    def _fill(self, layer: _Layer, step: int | None) -> None:
        found: dict[str, dict[Fact, bool]] = {predicate.name: {} for predicate in layer.stratum.predicates}
        self._publish(found, step)
        at = 0 if step is None else step
        while True:
            more = [
                (name, rule.evaluate(lambda source: self.index(source, at))) for name, rule in layer.rules
            ]
            size = sum(map(len, found.values()))
            for name, facts in more:
                found[name].update(facts)
            now = sum(map(len, found.values()))
            if now > MOST_DERIVED:
                names = ", ".join(found)
                raise EvaluationLimit(f"more than {MOST_DERIVED} facts while deriving {names}")
            self._publish(found, step)
            if now == size or not layer.stratum.recursive:
                return

    def _publish(self, found: Mapping[str, dict[Fact, bool]], step: int | None) -> None:
        for name, facts in found.items():
            self._tables[name, step] = Table(list(facts), self._repeated[name])


def _compiled(rule: ir.Rule, horizons: Horizons) -> Compiled:
    return compile_rule(rule, horizons, horizons.head(rule))
