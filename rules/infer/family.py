"""The statistics of one template in several units: runs of one program, or programs with several runs each."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcrules.engine.patterns import glob
from tcrules.rules.infer.guards import Cell, matches, runs_with
from tcrules.rules.infer.model import (
    Choice,
    Configured,
    Counts,
    Filling,
    Interval,
    Learned,
    Pattern,
    Run,
    Shape,
    Values,
)
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tcrules.engine.ir import Value


@dataclass(frozen=True, slots=True)
class Unit:
    """What counts as one witness: a run, or all runs of a program.

    `steps` is the number of its optimizer steps, 0 where it is not known; `settings` what a run was configured with
    (empty for several runs).
    """

    counts: Counts
    steps: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


def units_of(runs: Sequence[Run], template: str) -> list[Unit]:
    """Runs of one program are units; of several programs, the programs are."""
    found = [(run.project, Unit(run.counts.get(template, Counts()), run.steps, run.settings)) for run in runs]
    projects = sorted({project for project, _ in found})
    if len(projects) == 1:
        return [unit for _, unit in found]
    together = [[unit for project, unit in found if project == one] for one in projects]
    return [Unit(merged([u.counts for u in several]), sum(u.steps for u in several)) for several in together]


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


class Table:
    """The statistics of one template in all units, indexed by binding; `instances` counts all of them.

    `word` is what units are called.
    """

    def __init__(
        self, shape: Shape, units: Sequence[Unit], options: Options = DEFAULTS, *, across: bool = False
    ) -> None:
        self.shape, self.units = shape, tuple(units)
        self.word = "programs" if across else "runs"
        self.least_units = min(options.least_runs, len(units))
        self.least_triggers = 1 if shape.once else options.least_triggers
        self.guards = tuple(name for name, _ in shape.guard)
        self._triggers: dict[Values, dict[Values, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
        self._held: dict[tuple[Values, Values], dict[Values, dict[int, int]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self.instances = 0
        self._holding: Counter[Values] = Counter()
        for place, unit in enumerate(units):
            for (bound, guard), number in unit.counts.triggers.items():
                self._triggers[bound][guard][place] = number
                self.instances += number
            for (bound, guard, free), number in unit.counts.held.items():
                self._held[bound, free][guard][place] = number
                self._holding[free] += number
        self._frees: dict[Values, set[Values]] = defaultdict(set)
        for bound, free in self._held:
            self._frees[bound].add(free)

    def bindings(self) -> Iterator[Values]:
        """Bound metavalues that occur, in a fixed order."""
        yield from sorted(self._triggers, key=order)

    def supported(self, bound: Values) -> bool:
        """Enough instances in enough units, or some in every one of more units than are needed."""
        cells = self.cells(bound, ())
        enough = len(runs_with(cells, self.least_triggers)) >= self.least_units
        return enough or len(runs_with(cells, 1)) == len(self.units) > self.least_units

    def frees(self, bound: Values) -> list[Values]:
        """Values of the free metavariables for which the expectation held at least once (or the empty one)."""
        found = sorted(self._frees[bound], key=order)
        return found if self.shape.free else [()]

    def holding(self, free: Values) -> int:
        """Instances of all bindings that hold for this value of the free metavariables."""
        return self._holding[free]

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


# ------------------------------------------------------------------------------------------------ rules on units


def tally(rule: Learned, shape: Shape, unit: Unit) -> tuple[int, int]:
    """Instances and failures of a rule in one unit, from its statistics alone."""
    names = [name for name, _ in shape.guard]
    size = len(shape.bound)
    bound, free = [f for _, f in rule.filling[:size]], [f for _, f in rule.filling[size:]]

    def concerns(values: Values, guard: Values) -> bool:
        return all(map(fits, bound, values)) and matches(rule.guard, names, guard)

    triggers = sum(n for (values, guard), n in unit.counts.triggers.items() if concerns(values, guard))
    held = sum(
        n
        for (values, guard, frees), n in unit.counts.held.items()
        if concerns(values, guard)
        and all(fits(given, value, unit.settings) for given, value in zip(free, frees, strict=True))
    )
    return triggers, max(0, triggers - held)


def fits(filling: Filling, value: Value, settings: Mapping[str, str] | None = None) -> bool:
    """A value is what a metavariable was filled with, or matches it."""
    if isinstance(filling, Pattern):
        return glob(filling.glob, str(value))
    if isinstance(filling, Choice):
        return value in filling.values
    if isinstance(filling, Interval):
        return isinstance(value, int) and filling.low <= value <= filling.high
    if isinstance(filling, Configured):
        given = (settings or {}).get(filling.key)
        return given is not None and is_text_of(given, value)
    return filling == value and type(filling) is type(value)


def is_text_of(text: str, value: Value) -> bool:
    """A recorded setting is the text of a value.

    >>> is_text_of("4", 4), is_text_of("1e-3", 0.001), is_text_of("sgd", 4)
    (True, True, False)
    """
    if isinstance(value, bool | str):
        return text == str(value)
    try:
        return type(value)(text) == value
    except ValueError:
        return False
