"""Guards: the smallest condition on guard variables under which a candidate never failed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Literal, Values
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Cell:
    """Instances of a candidate with the same guard values: for each run (its index) triggers and failures."""

    values: Values
    triggers: Mapping[int, int]
    failures: Mapping[int, int]

    @property
    def pure(self) -> bool:
        return not any(self.failures.values())


def matches(guard: Iterable[Literal], names: Sequence[str], values: Values) -> bool:
    """The guard values satisfy all conditions."""
    given = dict(zip(names, values, strict=True))
    return all((given[one.variable] == one.value) == (one.op == "=") for one in guard)


def learn_guard(
    cells: Sequence[Cell],
    names: Sequence[str],
    least_runs: int,
    least_triggers: int = 1,
    options: Options = DEFAULTS,
) -> tuple[Literal, ...] | None:
    """The smallest guard that keeps no failure; None where none is supported.

    Where nothing failed, flags that had one value in all instances are kept at it: what was never seen otherwise says
    nothing of the other value. A guard must keep instances in `least_runs` runs (`least_triggers` in each), and each
    of its literals must keep out failures in as many runs, so that no literal rests on an accident of one run.
    """
    pure = all(cell.pure for cell in cells)
    if not options.runs("guards"):
        return () if pure else None
    if pure:
        return _constant_flags(cells, names)
    literals = list(_literals(cells, names, options.most_guard_values))
    for size in range(1, min(options.longest_guard, len(names)) + 1):
        found = [
            guard
            for guard in combinations(literals, size)
            if len({one.variable for one in guard}) == size
            and _separates(guard, cells, names, least_runs, least_triggers)
        ]
        if found:
            return min(found, key=lambda guard: _cost(guard, cells, names))
    return None


def _constant_flags(cells: Sequence[Cell], names: Sequence[str]) -> tuple[Literal, ...]:
    flags = []
    for place, name in enumerate(names):
        values = {cell.values[place] for cell in cells if any(cell.triggers.values())}
        if len(values) == 1 and isinstance(value := values.pop(), bool):
            flags.append(Literal(name, "=", value))
    return tuple(flags)


def _literals(cells: Sequence[Cell], names: Sequence[str], most_values: int) -> Iterator[Literal]:
    for place, name in enumerate(names):
        values = sorted({cell.values[place] for cell in cells}, key=lambda value: (str(type(value)), value))
        if 2 <= len(values) <= most_values:
            yield from (Literal(name, "=", value) for value in values)
            if len(values) > 2:
                yield from (Literal(name, "!=", value) for value in values)


def _separates(
    guard: Sequence[Literal],
    cells: Sequence[Cell],
    names: Sequence[str],
    least_runs: int,
    least_triggers: int,
) -> bool:
    kept = [cell for cell in cells if matches(guard, names, cell.values)]
    if not kept or not all(cell.pure for cell in kept):
        return False
    if len(runs_with(kept, least_triggers)) < least_runs:
        return False
    return all(_earns_its_place(one, guard, cells, names, least_runs) for one in guard)


def _earns_its_place(
    one: Literal, guard: Sequence[Literal], cells: Sequence[Cell], names: Sequence[str], least_runs: int
) -> bool:
    """Without this literal the guard would let failures in, in enough runs."""
    others = [other for other in guard if other != one]
    let_in = [
        cell
        for cell in cells
        if matches(others, names, cell.values) and not matches([one], names, cell.values) and not cell.pure
    ]
    failing = {run for cell in let_in for run, number in cell.failures.items() if number}
    return len(failing) >= least_runs


def runs_with(cells: Iterable[Cell], least_triggers: int) -> set[int]:
    """The runs in which the cells have enough instances together."""
    total: dict[int, int] = {}
    for cell in cells:
        for run, number in cell.triggers.items():
            total[run] = total.get(run, 0) + number
    return {run for run, number in total.items() if number >= least_triggers}


def _cost(guard: Sequence[Literal], cells: Sequence[Cell], names: Sequence[str]) -> tuple[object, ...]:
    """Description length: flags and words before numbers, equality before inequality, then the wider guard."""
    numbers = sum(not isinstance(one.value, bool | str) for one in guard)
    unequal = sum(one.op == "!=" and not isinstance(one.value, bool) for one in guard)
    kept = sum(sum(c.triggers.values()) for c in cells if matches(guard, names, c.values))
    return numbers, -kept, unequal, [(names.index(g.variable), g.op, str(g.value)) for g in guard]
