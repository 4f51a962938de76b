"""From statistics to rules without generalisation: bindings with support, guards, small sets of values."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tcrules.rules.infer.guards import Cell, learn_guards, matches, runs_with
from tcrules.rules.infer.model import Choice, Counts, Dropped, Evidence, Filling, Learned, Shape, Values
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Table:
    """The statistics of one template in all units (runs, or projects of several runs), indexed by binding."""

    def __init__(self, shape: Shape, units: Sequence[Counts], options: Options = DEFAULTS) -> None:
        self.shape = shape
        self.units = len(units)
        self.least_units = min(options.least_runs, len(units))
        self.least_triggers = 1 if shape.once else options.least_triggers
        self.guards = tuple(name for name, _ in shape.guard)
        self._triggers: dict[Values, dict[Values, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
        self._held: dict[tuple[Values, Values], dict[Values, dict[int, int]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for unit, counts in enumerate(units):
            for (bound, guard), number in counts.triggers.items():
                self._triggers[bound][guard][unit] = number
            for (bound, guard, free), number in counts.held.items():
                self._held[bound, free][guard][unit] = number
        self._frees: dict[Values, set[Values]] = defaultdict(set)
        for bound, free in self._held:
            self._frees[bound].add(free)

    def bindings(self) -> Iterator[Values]:
        """Bound metavalues that occur, in a fixed order."""
        yield from sorted(self._triggers, key=order)

    def supported(self, bound: Values) -> bool:
        """Enough instances in enough units, or some in every one of three or more."""
        cells = self.cells(bound, ())
        enough = len(runs_with(cells, self.least_triggers)) >= self.least_units
        return enough or len(runs_with(cells, 1)) == self.units > self.least_units

    def frees(self, bound: Values) -> list[Values]:
        """Values of the free metavariables for which the expectation held at least once (or the empty one)."""
        found = sorted(self._frees[bound], key=order)
        return found if self.shape.free else [()]

    def cells(self, bound: Values, frees: Iterable[Values]) -> list[Cell]:
        """Triggers and failures by guard values; held instances of several free values add up."""
        chosen = list(frees)
        cells = []
        for guard, triggers in sorted(self._triggers[bound].items(), key=lambda item: order(item[0])):
            held = [
                self._held[bound, free].get(guard, {}) if (bound, free) in self._held else {}
                for free in chosen
            ]
            failures = {unit: n - sum(one.get(unit, 0) for one in held) for unit, n in triggers.items()}
            cells.append(Cell(guard, triggers, failures))
        return cells


def order(values: Iterable[object]) -> tuple[tuple[str, str], ...]:
    """A key that sorts tuples of values of mixed types, the same for every order of the runs."""
    return tuple(
        (type(value).__name__, f"{value:020d}" if type(value) is int else str(value)) for value in values
    )


def candidates(table: Table, options: Options = DEFAULTS) -> tuple[list[Learned], list[Dropped]]:
    """The rules of one template that hold in all units, each for one binding."""
    found: list[Learned] = []
    dropped: list[Dropped] = []
    fallible = _fallible(table)
    for bound in table.bindings():
        if not table.supported(bound):
            dropped.append(Dropped(_label(table, bound), "too few instances in too few runs"))
            continue
        rules = list(_rules(table, bound, options))
        kept = [rule for rule in rules if table.shape.default or rule.guard or fallible(rule)]
        if len(kept) < len(rules):
            dropped.append(
                Dropped(_label(table, bound), "its expectation could not fail: nothing like it ever failed")
            )
        if not rules:
            dropped.append(Dropped(_label(table, bound), "it fails, and no guard with support explains when"))
        found += kept
    return found, dropped


def _rules(table: Table, bound: Values, options: Options) -> Iterator[Learned]:
    shape = table.shape
    holding = False
    for free in table.frees(bound):
        cells = table.cells(bound, [free])
        for guard in learn_guards(cells, shape.guard, table.least_units, table.least_triggers, options):
            holding = True
            kept = [cell for cell in cells if matches(guard, table.guards, cell.values)]
            yield Learned(shape.id, _filled(shape, bound, free), guard, evidence(kept))
    if not holding and "set" in shape.tags:
        yield from _choice(table, bound, options.largest_choice)


def _choice(table: Table, bound: Values, largest: int) -> Iterator[Learned]:
    """Values of the one free metavariable of which each instance has one, all seen in enough units."""
    frees = table.frees(bound)
    cells = table.cells(bound, frees)
    seen = [len(runs_with(_holding(table, bound, free), 1)) for free in frees]
    if not 2 <= len(frees) <= largest or min(seen) < table.least_units:
        return
    if any(failures for cell in cells for failures in cell.failures.values()):
        return
    choice = Choice(tuple(free[0] for free in frees))
    filling = (*_filled(table.shape, bound, ())[: len(bound)], (table.shape.free[0][0], choice))
    yield Learned(table.shape.id, filling, (), evidence(cells))


def _holding(table: Table, bound: Values, free: Values) -> list[Cell]:
    """Cells that count the instances which hold as triggers."""
    return [
        Cell(cell.values, {unit: n - cell.failures[unit] for unit, n in cell.triggers.items()}, {})
        for cell in table.cells(bound, [free])
    ]


def evidence(cells: Iterable[Cell]) -> Evidence:
    """Units and instances of some cells."""
    triggers: dict[int, int] = defaultdict(int)
    for cell in cells:
        for unit, number in cell.triggers.items():
            triggers[unit] += number
    return Evidence(sum(n > 0 for n in triggers.values()), sum(triggers.values()))


def _filled(shape: Shape, bound: Values, free: Values) -> tuple[tuple[str, Filling], ...]:
    names = [name for name, _ in (*shape.bound, *shape.free)]
    return tuple(zip(names, (*bound, *free), strict=False))


class _fallible:
    """Whether something that shares a metavalue with a rule (or anything, where it has none) ever failed."""

    def __init__(self, table: Table) -> None:
        self.failed: set[tuple[int, str]] = set()
        self.any = False
        everything = sorted({free for bound in table.bindings() for free in table.frees(bound)}, key=order)
        for bound in table.bindings():
            for free in everything:
                if not all(cell.pure for cell in table.cells(bound, [free])):
                    self.any = True
                    self.failed |= {(place, repr(value)) for place, value in enumerate((*bound, *free))}

    def __call__(self, rule: Learned) -> bool:
        values = [filling for _, filling in rule.filling]
        if not values:
            return self.any
        return any((place, repr(value)) in self.failed for place, value in enumerate(values))


def _label(table: Table, bound: Values) -> str:
    names = (name for name, _ in table.shape.bound)
    inside = ", ".join(f"{name}: {value}" for name, value in zip(names, bound, strict=True))
    return f"{table.shape.id}({inside})"


def merged(parts: Sequence[Counts]) -> Counts:
    """Statistics add up."""
    triggers: dict[tuple[Values, Values], int] = defaultdict(int)
    held: dict[tuple[Values, Values, Values], int] = defaultdict(int)
    for part in parts:
        for trigger, number in part.triggers.items():
            triggers[trigger] += number
        for holding, number in part.held.items():
            held[holding] += number
    return Counts(dict(triggers), dict(held))


def by_template(runs: Sequence[Mapping[str, Counts]], template: str) -> list[Counts]:
    """The statistics of one template in each run."""
    return [run.get(template, Counts()) for run in runs]
