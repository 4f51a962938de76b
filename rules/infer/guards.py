"""Guards: the smallest conditions on guard variables under which a candidate never failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tcrules.rules.infer.model import Literal, Values
from tcrules.rules.infer.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tcrules.engine.ir import Value

#: Literals that hold together.
Conjunction: TypeAlias = tuple[Literal, ...]
#: What one value of a guard variable says of a run, by type of the variable: classes come before names and these
#: before numbers. A type that is not here is a name of something (a parameter, an optimizer).
_LENGTHS = {"bool": 0, "string": 0, "api": 0, "int": 2, "float": 2}
_NAME = 1


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


def learn_guards(
    cells: Sequence[Cell],
    variables: Sequence[tuple[str, str]],
    least_runs: int,
    least_triggers: int = 1,
    options: Options = DEFAULTS,
) -> list[Conjunction]:
    """Conjunctions that keep no failure, each of them enough for a rule; none where none is supported.

    Where nothing failed, that is the empty one, with flags that had one value in all instances: what was never seen
    otherwise says nothing of the other value. Else the shortest description comes first, and each further conjunction
    adds instances that those before it leave out. All need instances in `least_runs` runs (`least_triggers` in each),
    and each literal must keep out failures in as many runs, so that none rests on an accident of one run.

    Args:
        cells: instances and failures by guard values.
        variables: guard variables with their types, in the order of the values.
        least_runs: runs in which a guard needs instances and its literals failures.
        least_triggers: instances that count in one run.
        options: longest conjunction, most conjunctions, most values of a variable.
    """
    pure = all(cell.pure for cell in cells)
    if not options.runs("guards"):
        return [()] if pure else []
    if pure:
        return [_constant_flags(cells, variables)]
    search = _Search(cells, variables, least_runs, least_triggers, options)
    return list(search.cover())


def _constant_flags(cells: Sequence[Cell], variables: Sequence[tuple[str, str]]) -> Conjunction:
    flags = []
    for place, (name, _) in enumerate(variables):
        values = {cell.values[place] for cell in cells if any(cell.triggers.values())}
        if len(values) == 1 and isinstance(value := values.pop(), bool):
            flags.append(Literal(name, "=", value))
    return tuple(flags)


def literals(
    cells: Sequence[Cell], variables: Sequence[tuple[str, str]], most_values: int
) -> Iterator[Literal]:
    """Conditions that a guard may have: classes and names as they are, numbers only as zero or not zero.

    A count or a size is a coincidence of similar runs; zero tells the first from the others and none from some.
    """
    for place, (name, kind) in enumerate(variables):
        values = sorted({cell.values[place] for cell in cells}, key=lambda value: (str(type(value)), value))
        if len(values) < 2:
            continue
        if kind in ("int", "float"):
            zero: Value = 0 if kind == "int" else 0.0
            if zero in values:
                yield from (Literal(name, "=", zero), Literal(name, "!=", zero))
        elif len(values) <= most_values:
            yield from (Literal(name, "=", value) for value in values)
            if len(values) > 2:
                yield from (Literal(name, "!=", value) for value in values)


class _Search:
    """Conjunctions by size; sets of cells are the bits of a number."""

    def __init__(
        self,
        cells: Sequence[Cell],
        variables: Sequence[tuple[str, str]],
        least_runs: int,
        least_triggers: int,
        options: Options,
    ) -> None:
        self.cells, self.variables, self.options = cells, variables, options
        self.least_runs, self.least_triggers = least_runs, least_triggers
        names = [name for name, _ in variables]
        self.literals = list(literals(cells, variables, options.most_guard_values))
        self.masks = [
            sum(1 << place for place, cell in enumerate(cells) if matches([one], names, cell.values))
            for one in self.literals
        ]
        self.all = (1 << len(cells)) - 1
        self.failing = sum(1 << place for place, cell in enumerate(cells) if not cell.pure)

    def cover(self) -> Iterator[Conjunction]:
        """The cheapest conjunctions that together keep as many instances as possible."""
        found = sorted(self._pure(), key=lambda one: self._cost(*one))
        covered = 0
        for _ in range(self.options.most_disjuncts):
            chosen = next((one for one in found if self._supported(one[1] & ~covered)), None)
            if chosen is None:
                return
            covered |= chosen[1]
            yield tuple(self.literals[place] for place in chosen[0])

    def _pure(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Places of literals and their cells: supported conjunctions without failures whose literals all matter."""
        frontier: list[tuple[tuple[int, ...], int]] = [((), self.all)]
        for _ in range(self.options.longest_guard):
            grown = []
            for places, mask in frontier:
                used = {self.literals[place].variable for place in places}
                for place in range(places[-1] + 1 if places else 0, len(self.literals)):
                    kept = mask & self.masks[place]
                    if self.literals[place].variable in used or not self._supported(kept):
                        continue
                    longer = (*places, place)
                    if kept & self.failing:
                        grown.append((longer, kept))
                    elif all(self._earns_its_place(one, longer) for one in longer):
                        yield longer, kept
            frontier = grown

    def _earns_its_place(self, one: int, places: tuple[int, ...]) -> bool:
        """Without this literal the guard would let failures in, in enough runs."""
        let_in = self.all & ~self.masks[one] & self.failing
        for other in places:
            let_in &= self.masks[other] if other != one else self.all
        failing = {run for cell in self._chosen(let_in) for run, number in cell.failures.items() if number}
        return len(failing) >= self.least_runs

    def _supported(self, mask: int) -> bool:
        return len(runs_with(self._chosen(mask), self.least_triggers)) >= self.least_runs

    def _chosen(self, mask: int) -> Iterator[Cell]:
        return (cell for place, cell in enumerate(self.cells) if mask >> place & 1)

    def _cost(self, places: tuple[int, ...], mask: int) -> tuple[object, ...]:
        """Description length: fewer literals, classes before names before numbers, then what keeps more."""
        kinds = dict(self.variables)
        chosen = [self.literals[place] for place in places]
        lengths = sorted((_LENGTHS.get(kinds[one.variable], _NAME) for one in chosen), reverse=True)
        unequal = sum(one.op == "!=" and not isinstance(one.value, bool) for one in chosen)
        kept = sum(sum(cell.triggers.values()) for cell in self._chosen(mask))
        return len(places), lengths, -kept, unequal, places


def runs_with(cells: Iterable[Cell], least_triggers: int) -> set[int]:
    """The runs in which the cells have enough instances together."""
    total: dict[int, int] = {}
    for cell in cells:
        for run, number in cell.triggers.items():
            total[run] = total.get(run, 0) + number
    return {run for run, number in total.items() if number >= least_triggers}
