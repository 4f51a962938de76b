"""From statistics to rules without generalisation: bindings with support, guards, small sets of values, settings."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tcrules.rules.infer.family import Table, is_text_of
from tcrules.rules.infer.guards import Cell, learn_guards, matches, runs_with
from tcrules.rules.infer.model import Choice, Configured, Dropped, Evidence, Filling, Learned, Shape, Values
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcrules.engine.ir import Value

#: Types of values that settings may be equal to; a flag is equal to too many of them.
_SETTABLE = frozenset({"int", "float", "string"})
#: Settings that make runs differ without meaning anything that a rule could be about.
_MEANINGLESS = ("seed", "path", "dir", "file", "port")


def candidates(table: Table, options: Options = DEFAULTS) -> tuple[list[Learned], list[Dropped]]:
    """The rules of one template that hold in all units, each for one binding."""
    found: list[Learned] = []
    dropped: list[Dropped] = []
    for bound in table.bindings():
        if not table.supported(bound):
            dropped.append(unsupported(table, bound))
            continue
        rules = list(_rules(table, bound, options))
        if not rules:
            dropped.append(_failing(table, bound))
        found += rules
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
    if not holding and len(shape.free) == 1:
        if options.runs("generalisation") and (key := _configured(table, bound)) is not None:
            yield _of(table, bound, key)
        elif "set" in shape.tags:
            yield from _choice(table, bound, options.largest_choice)


def _choice(table: Table, bound: Values, largest: int) -> Iterator[Learned]:
    """Values of the one free metavariable of which each instance has one, all seen in enough units."""
    frees = table.frees(bound)
    seen = [len(runs_with(_holding(table, bound, free), 1)) for free in frees]
    if not 2 <= len(frees) <= largest or min(seen) < table.least_units:
        return
    if all(cell.pure for cell in table.cells(bound, frees)):
        yield _of(table, bound, Choice(tuple(free[0] for free in frees)))


def _configured(table: Table, bound: Values) -> Configured | None:
    """What each unit was configured with and is the one value that holds there; it varies, and nothing else fits.

    A setting that never varied could be equal by accident: then the constant says the same.
    """
    if table.shape.free[0][1] not in _SETTABLE:
        return None
    held = [_constants(table, bound, place) for place in range(len(table.units))]
    triggered = [place for place, values in enumerate(held) if values is not None]
    if len(triggered) < table.least_units:
        return None
    keys = set.intersection(*(set(table.units[place].settings) for place in triggered))
    fitting = [
        key
        for key in keys
        if all(
            any(is_text_of(table.units[place].settings[key], value) for value in held[place] or ())
            for place in triggered
        )
        and len({table.units[place].settings[key] for place in triggered}) > 1
        and not any(word in key.lower() for word in _MEANINGLESS)
    ]
    return Configured(min(fitting, key=lambda key: (len(key), key))) if fitting else None


def _constants(table: Table, bound: Values, place: int) -> list[Value] | None:
    """Values of the one free metavariable that hold in all instances of a unit; None where it has no instance."""
    alone = table.cells(bound, ())
    if not any(cell.triggers.get(place) for cell in alone):
        return None
    return [
        free[0]
        for free in table.frees(bound)
        if not any(cell.failures.get(place) for cell in table.cells(bound, [free]))
    ]


def _of(table: Table, bound: Values, free: Filling) -> Learned:
    """A rule without guard about one free metavariable."""
    shape = table.shape
    filling = (*_filled(shape, bound, ()), (shape.free[0][0], free))
    return Learned(shape.id, filling, (), evidence(table.cells(bound, ())))


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


# ------------------------------------------------------------------------------------------------ what is left out


def unsupported(table: Table, bound: Values) -> Dropped:
    """A binding with too few instances in too few units."""
    found = evidence(table.cells(bound, ()))
    reason = (
        f"{found.triggers} instances in {found.runs} of {len(table.units)} {table.word}; "
        f"needed are {table.least_triggers} in each of {table.least_units}"
    )
    lower = "--least-triggers 1" if found.runs >= table.least_units else f"--least-runs {found.runs}"
    return Dropped(label(table.shape, bound), reason, "support", lower)


def _failing(table: Table, bound: Values) -> Dropped:
    """The value of the free metavariables that fails least says how far the candidate is from a rule."""

    def failures(free: Values) -> int:
        return sum(sum(cell.failures.values()) for cell in table.cells(bound, [free]))

    triggers = evidence(table.cells(bound, ())).triggers
    nearest = min(table.frees(bound), key=failures, default=None)
    if nearest is None:
        return Dropped(label(table.shape, bound), f"none of {triggers} instances holds", "failures")
    reason = f"{failures(nearest)} of {triggers} instances fail, and no guard with support explains when"
    return Dropped(label(table.shape, bound, nearest), reason, "failures")


def label(shape: Shape, bound: Values, free: Values = ()) -> str:
    """A candidate in a few words."""
    return f"{shape.id}({', '.join(f'{name}: {value}' for name, value in _filled(shape, bound, free))})"
