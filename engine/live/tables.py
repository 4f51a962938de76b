"""Facts that live checking holds: events by step, settled facts as a whole, both with hash indexes on demand."""

from __future__ import annotations

import math
from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tcrules.engine.values import NAN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set

    from tcrules.engine.ir import Fact, Predicate, Value

#: Values of the key columns (one value, or a tuple of several) -> rows. Without columns: all rows.
Index = Any


class Table:
    """Rows of one relation, with indexes by columns that are made when first asked for.

    `repeated`: columns by which tables of the relation have had several rows of one key; they share the set.
    """

    __slots__ = ("_indexes", "_keys", "_repeated", "rows")

    def __init__(self, rows: Collection[Fact] = (), repeated: set[tuple[int, ...]] | None = None) -> None:
        self.rows = rows
        self._repeated = repeated if repeated is not None else set()
        self._indexes: dict[tuple[int, ...], Index] = {}
        self._keys: dict[tuple[int, ...], Index] = {}

    def index(self, columns: tuple[int, ...]) -> Index:
        """Rows by the values of the columns; rows themselves if there are no columns."""
        if not columns:
            return self.rows
        found = self._indexes.get(columns)
        if found is None:
            found = self._indexes[columns] = self._grouped(columns)
        return found

    def _grouped(self, columns: tuple[int, ...]) -> Index:
        """Keys mostly come once (calls), or mostly again: what was found of earlier steps is expected."""
        key = itemgetter(*columns)
        if columns not in self._repeated:
            single = dict(zip(map(key, self.rows), zip(self.rows, strict=True), strict=True))
            if len(single) == len(self.rows):
                return single
            self._repeated.add(columns)
        return _grouped(key, self.rows)

    def keys(self, columns: tuple[int, ...]) -> Index:
        """The values that the columns have; cheaper than an index."""
        if not columns:
            return self.rows
        found = self._indexes.get(columns) or self._keys.get(columns)
        if found is None:
            found = self._keys[columns] = set(map(itemgetter(*columns), self.rows))
        return found


def _grouped(key: Callable[[Fact], Any], rows: Iterable[Fact]) -> Index:
    found: dict[Any, list[Fact]] = {}
    for row in rows:
        value = key(row)
        if value in found:  # `setdefault` would make a list each time
            found[value].append(row)
        else:
            found[value] = [row]
    return found


EMPTY = Table()


class Facts:
    """Observed facts that rules may still need.

    Facts of event relations lie in one table for each step, those of settled relations in one each. Relations that were
    not announced by `watch` are not held, settled ones excepted: a rule that is added later may need them.
    """

    def __init__(self) -> None:
        self._steps: dict[str, dict[int, list[Fact]]] = {}
        self._tables: dict[tuple[str, int], Table] = {}
        self._settled: dict[str, dict[Fact, None]] = {}
        self._settled_tables: dict[str, Table] = {}
        self._new: dict[str, list[Fact]] = {}
        self._back: dict[str, int] = {}
        self._repeated: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)

    def watch(self, relation: str, back: int) -> None:
        """From now on hold the facts of an event relation for `back` steps after their own is closed."""
        self._back[relation] = max(back, self._back.get(relation, 0))
        self._steps.setdefault(relation, {})

    @property
    def back(self) -> Mapping[str, int]:
        """The event relations that are held, each with the number of closed steps."""
        return self._back

    # -------------------------------------------------------------------------------------------- writing

    def add_events(self, relation: str, step_column: int, rows: list[Fact], among: Set[Value]) -> None:
        """Add facts to their steps, which are `among` the given ones."""
        steps = self._steps.get(relation)
        if steps is None or not rows:
            return
        if len(among) == 1:  # the usual batch, without a loop in Python
            steps.setdefault(rows[0][step_column], []).extend(rows)  # type: ignore[arg-type]
            return
        for row in rows:
            steps.setdefault(row[step_column], []).append(row)  # type: ignore[arg-type]

    def add_settled(self, relation: str, rows: Iterable[Fact]) -> bool:
        """Add facts that belong to no step; whether one of them is new."""
        known = self._settled.setdefault(relation, {})
        new = [row for row in dict.fromkeys(rows) if row not in known]
        known.update(dict.fromkeys(new))
        if new:
            self._settled_tables.pop(relation, None)
            self._new.setdefault(relation, []).extend(new)
        return bool(new)

    def take_new(self) -> dict[str, list[Fact]]:
        """The settled facts that were added since the last call."""
        new, self._new = self._new, {}
        return new

    def forget(self, first_open: int) -> None:
        """Drop what no step from `first_open` on looks back to."""
        for relation, steps in self._steps.items():
            limit = first_open - self._back[relation]
            for step in [step for step in steps if step < limit]:
                del steps[step]
                self._tables.pop((relation, step), None)

    # -------------------------------------------------------------------------------------------- reading

    def at(self, relation: str, step: int) -> Table:
        """The facts of one step. The step is closed: nothing is added any more."""
        key = (relation, step)
        table = self._tables.get(key)
        if table is None:
            rows = self._steps.get(relation, {}).get(step)
            if rows is None:
                return EMPTY
            table = self._tables[key] = Table(rows, self._repeated[relation])
        return table

    def settled(self, relation: str) -> Table:
        """All facts of a settled relation."""
        table = self._settled_tables.get(relation)
        if table is None:
            rows = list(self._settled.get(relation, ()))
            table = self._settled_tables[relation] = Table(rows)
        return table

    def steps(self, after: float, until: float) -> set[int]:
        """Steps in (after, until] of which facts are held."""
        return {step for steps in self._steps.values() for step in steps if after < step <= until}

    def held(self) -> dict[str, int]:
        """How many facts are held of each relation."""
        found = {name: sum(map(len, steps.values())) for name, steps in self._steps.items()}
        return found | {name: len(rows) for name, rows in self._settled.items()}


def normaliser(predicate: Predicate) -> Callable[[Iterable[Sequence[Value]]], list[Fact]]:
    """Makes rows tuples in which equal values are identical (see `values.normalise`)."""
    floats = [at for at, column in enumerate(predicate.columns) if column.type.base == "float"]

    def normalised(given: Iterable[Sequence[Value]]) -> list[Fact]:
        rows = list(map(tuple, given))
        if all(_normal(list(map(itemgetter(at), rows))) for at in floats):
            return rows
        return [_normalised(row, floats) for row in rows]

    return normalised


def _normal(values: list[Any]) -> bool:
    """Whether nothing is to be done for a column of floats; some columns that are normal are not recognised."""
    if not values or set(map(type, values)) != {float}:
        return not values
    return not math.isnan(sum(values)) and (
        0.0 not in values or all(math.copysign(1.0, value) > 0 for value in values if value == 0.0)
    )


def _normalised(row: Fact, floats: list[int]) -> Fact:
    values = list(row)
    for at in floats:
        value = float(values[at])
        values[at] = NAN if math.isnan(value) else value + 0.0
    return tuple(values)
