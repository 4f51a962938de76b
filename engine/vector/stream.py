"""Plans evaluated: a stream of batches from each node, so that a join never holds all of its pairs at once.

Joins, selections and projections pass batches on; a node that needs all of its input (grouping, the right side of a
join, a node that two parents hold) collects it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from tcrules.engine.ir import Const, Predicate, Term, Var
from tcrules.engine.limits import TOO_MANY, EvaluationLimit
from tcrules.engine.plan.build import expression_variables
from tcrules.engine.plan.plan import (
    AntiJoin,
    Difference,
    Extend,
    GroupBy,
    Join,
    Plan,
    Project,
    Scan,
    Select,
    SemiJoin,
    Union,
    Unit,
    Values,
    Version,
    children,
    columns,
)
from tcrules.engine.vector.batch import Batch, Seen, first_of_each, joined, numbered
from tcrules.engine.vector.expressions import evaluate, test
from tcrules.engine.vector.group import aggregates
from tcrules.engine.vector.index import Index, index_rows, pairs
from tcrules.engine.vector.words import Mask, Texts, Words, encode, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Set


class Source(Protocol):
    """Where scans read."""

    texts: Texts

    def scan(self, predicate: Predicate, version: Version) -> tuple[list[Words], int]:
        """Columns of the facts of a relation, and how many they are."""
        ...

    def index(self, scan: Scan, shared: tuple[Var, ...]) -> tuple[list[Index], tuple[Var, ...]]:
        """Indexes over what a scan yields, which together hold all of it, by the shared variables.

        The variables are those of the indexes' columns.
        """
        ...

    def tick(self, rows: int) -> None:
        """Called with the number of bindings that a node made; raises an error where a limit is exceeded."""
        ...


class Evaluation:
    """One evaluation of a plan; nodes with several parents are evaluated once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._texts = source.texts
        self._parents: dict[int, int] = {}
        self._collected: dict[int, Batch] = {}
        self._keep: list[Plan] = []

    def run(self, plan: Plan, wanted: Iterable[Var] | None = None) -> Iterator[Batch]:
        """The bindings of a plan, of the wanted variables; they may repeat unless the plan says otherwise."""
        self._keep.append(plan)
        self._count(plan)
        yield from self._stream(plan, set(columns(plan) if wanted is None else wanted))

    def collect(self, plan: Plan, wanted: Iterable[Var] | None = None, most: int | None = None) -> Batch:
        """All bindings at once.

        Raises:
            EvaluationLimit: they are more than `most`.
        """
        chosen = list(dict.fromkeys(columns(plan) if wanted is None else wanted))
        found, size = [], 0
        for batch in self.run(plan, chosen):
            size += batch.size
            if most is not None and size > most:
                raise EvaluationLimit(TOO_MANY.format(most=most))
            if batch.size:
                found.append(batch)
        return joined(found, chosen)

    def _count(self, plan: Plan) -> None:
        self._parents[id(plan)] = self._parents.get(id(plan), 0) + 1
        if self._parents[id(plan)] == 1:
            for child in children(plan):
                self._count(child)

    # -------------------------------------------------------------------------------------------- nodes

    def _stream(self, plan: Plan, wanted: Set[Var]) -> Iterator[Batch]:
        if self._parents.get(id(plan), 0) > 1 and not isinstance(plan, Unit | Scan | Values):
            yield self._all(plan).only([name for name in columns(plan) if name in wanted])
            return
        for batch in self._node(plan, wanted):
            if batch.size:
                self._source.tick(batch.size)
                yield batch

    def _all(self, plan: Plan) -> Batch:
        """Everything that a node yields, kept for its other parents."""
        if id(plan) not in self._collected:
            found = [batch for batch in self._node(plan, set(columns(plan))) if batch.size]
            self._collected[id(plan)] = joined(found, columns(plan))
        return self._collected[id(plan)]

    def _gathered(self, plan: Plan, wanted: Iterable[Var]) -> Batch:
        chosen = list(dict.fromkeys(wanted))
        return joined(list(self._stream(plan, set(chosen))), chosen)

    def _node(self, plan: Plan, wanted: Set[Var]) -> Iterator[Batch]:
        match plan:
            case Unit() | Scan() | Values():
                yield self._leaf(plan, wanted)
            case Join(left, right):
                yield from self._join(left, right, wanted)
            case SemiJoin(left, right):
                yield from self._semi(left, right, wanted, keep=True)
            case AntiJoin():
                yield from self._anti(plan, wanted)
            case Select() | Extend():
                yield from self._calculate(plan, wanted)
            case GroupBy():
                yield self._group(plan, wanted)
            case Project() | Union() | Difference():
                yield from self._distinct(plan, wanted)

    def _leaf(self, plan: Unit | Scan | Values, wanted: Set[Var]) -> Batch:
        match plan:
            case Unit():
                return Batch({}, 1)
            case Scan():
                return self._scan(plan, wanted)
            case Values(names, rows):
                return self._given(names, rows, wanted)

    def _scan(self, scan: Scan, wanted: Set[Var]) -> Batch:
        found, size = self._source.scan(scan.predicate, scan.version)
        names, chosen, size = matching(scan.terms, found, size, self._texts)
        return Batch({n: c for n, c in zip(names, chosen, strict=True) if n in wanted}, size)

    def _given(self, names: tuple[Var, ...], rows: tuple[tuple[object, ...], ...], wanted: Set[Var]) -> Batch:
        lists = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        encoded = {
            name: encode(list(values), name.type.base, self._texts)
            for name, values in zip(names, lists, strict=True)
            if name in wanted
        }
        return Batch(encoded, len(rows))

    def _calculate(self, plan: Select | Extend, wanted: Set[Var]) -> Iterator[Batch]:
        if isinstance(plan, Select):
            needed = wanted | expression_variables(plan.test.left) | expression_variables(plan.test.right)
            for batch in self._stream(plan.source, needed):
                kept = batch.where(test(plan.test, batch.columns, batch.size, self._texts))
                yield kept.only(wanted)
            return
        needed = (wanted - {plan.variable}) | expression_variables(plan.value)
        for batch in self._stream(plan.source, needed):
            value = evaluate(plan.value, batch.columns, batch.size, self._texts)
            extended = Batch({**batch.columns, plan.variable: value.words}, batch.size)
            yield (extended if value.defined is None else extended.where(value.defined)).only(wanted)

    # -------------------------------------------------------------------------------------------- sets

    def _distinct(self, plan: Project | Union | Difference, wanted: Set[Var]) -> Iterator[Batch]:
        """Bindings without repetition; those of the wanted variables alone may still repeat."""
        names = columns(plan)
        if isinstance(plan, Project) and not plan.distinct:
            yield from self._stream(plan.source, wanted)
            return
        seen = Seen(names)
        kept = [name for name in names if name in wanted]
        for batch in self._parts(plan, names):
            yield seen.new(batch).only(kept)

    def _parts(self, plan: Project | Union | Difference, names: tuple[Var, ...]) -> Iterator[Batch]:
        match plan:
            case Project(source):
                yield from self._stream(source, set(names))
            case Union(parts):
                for part in parts:
                    yield from self._stream(part, set(names))
            case Difference(left, right):
                gone = self._gathered(right, names)
                index = index_rows(gone.list(names), list(range(len(names))), gone.size)
                for batch in self._stream(left, set(names)):
                    yield batch.where(~index.contains(batch.list(names), batch.size)) if gone.size else batch

    # -------------------------------------------------------------------------------------------- joins

    def _indexes(
        self, right: Plan, shared: tuple[Var, ...], needed: Set[Var]
    ) -> tuple[list[Index], tuple[Var, ...]]:
        if isinstance(right, Scan) and right.version is not Version.DELTA:
            return self._source.index(right, shared)
        names = tuple(name for name in columns(right) if name in needed or name in shared)
        batch = self._gathered(right, names)
        return [index_rows(batch.list(names), [names.index(name) for name in shared], batch.size)], names

    def _join(self, left: Plan, right: Plan, wanted: Set[Var]) -> Iterator[Batch]:
        bound = columns(left)
        shared = tuple(name for name in columns(right) if name in set(bound))
        kept = [name for name in bound if name in wanted]
        indexes: list[Index] | None = None
        for batch in self._stream(left, {*kept, *shared}):
            if indexes is None:  # where nothing is on the left, the right need not be read
                indexes, names = self._indexes(right, shared, wanted)
                new = [(place, n) for place, n in enumerate(names) if n in wanted and n not in bound]
            keys = batch.list(shared)
            for index in indexes:
                first, counts = index.find(keys, batch.size)
                for rows, places in pairs(first, counts):
                    size = batch.size if isinstance(rows, slice) else len(rows)
                    found = dict(batch.only(kept).take(rows).columns)
                    found.update((name, index.columns[place].take(places)) for place, name in new)
                    yield Batch(found, size)

    def _semi(self, left: Plan, right: Plan, wanted: Set[Var], keep: bool) -> Iterator[Batch]:
        bound = set(columns(left))
        shared = tuple(name for name in columns(right) if name in bound)
        indexes: list[Index] | None = None
        for batch in self._stream(left, {*wanted, *shared}):
            if indexes is None:
                indexes, _ = self._indexes(right, shared, set())
            keys = batch.list(shared)
            found: Mask = np.zeros(batch.size, np.bool_)
            for index in indexes:
                found |= index.contains(keys, batch.size)
            yield batch.where(found if keep else ~found).only(wanted)

    def _anti(self, plan: AntiJoin, wanted: Set[Var]) -> Iterator[Batch]:
        if not plan.tests:
            yield from self._semi(plan.left, plan.right, wanted, keep=False)
            return
        bound = set(columns(plan.left))
        tested: set[Var] = set()
        for comparison in plan.tests:
            tested |= expression_variables(comparison.left) | expression_variables(comparison.right)
        shared = tuple(name for name in columns(plan.right) if name in bound)
        indexes, names = self._indexes(plan.right, shared, tested)
        new = [(place, name) for place, name in enumerate(names) if name in tested and name not in bound]
        for batch in self._stream(plan.left, {*wanted, *shared, *(tested & bound)}):
            found: Mask = np.zeros(batch.size, np.bool_)
            for index in indexes:
                first, counts = index.find(batch.list(shared), batch.size)
                for rows, places in pairs(first, counts):
                    pair = dict(batch.only(tested & bound).take(rows).columns)
                    pair.update((name, index.columns[place].take(places)) for place, name in new)
                    holds: Mask = np.ones(len(places), np.bool_)
                    for comparison in plan.tests:
                        holds &= test(comparison, pair, len(places), self._texts)
                    # Several partners of one binding: an assignment by mask, since the last of them would win.
                    found[np.flatnonzero(holds) if isinstance(rows, slice) else rows.compress(holds)] = True
            yield batch.where(~found).only(wanted)

    # -------------------------------------------------------------------------------------------- grouping

    def _group(self, plan: GroupBy, wanted: Set[Var]) -> Batch:
        outer = self._gathered(plan.keys, {*(wanted - {plan.result}), *plan.by})
        read = {*plan.by, *plan.over}
        for expression in (plan.value, plan.key):
            if expression is not None:
                read |= expression_variables(expression)
        inner = self._gathered(plan.inner, read)
        inner = inner.take(first_of_each(inner.list([*plan.by, *plan.over]), inner.size))
        both = [np.concatenate([outer.columns[n], inner.columns[n]]) for n in plan.by]
        numbers, count = numbered(both, outer.size + inner.size)
        value, key = (
            None if e is None else evaluate(e, inner.columns, inner.size, self._texts)
            for e in (plan.value, plan.key)
        )
        bases = tuple("int" if e is None else e.type.base for e in (plan.value, plan.key))
        found = aggregates(
            plan.kind, numbers[outer.size :], count, value, key, (bases[0], bases[1]), self._texts
        )
        own = numbers[: outer.size]
        result = Batch({**outer.columns, plan.result: found.words.take(own)}, outer.size)
        kept = result if found.defined is None else result.where(found.defined.take(own))
        return kept.only(wanted)


def matching(
    terms: tuple[Term, ...], found: list[Words], size: int, texts: Texts
) -> tuple[tuple[Var, ...], list[Words], int]:
    """The facts that match the terms of an atom, as columns of its variables."""
    names: dict[Var, Words] = {}
    mask: Mask | None = None
    for term, column in zip(terms, found, strict=True):
        equal: Mask | None = None
        if isinstance(term, Const):
            equal = column == word(term.value, term.type.base, texts)
        elif isinstance(term, Var):
            if term in names:
                equal = column == names[term]
            else:
                names[term] = column
        if equal is not None:
            mask = equal if mask is None else mask & equal
    if mask is None:
        return tuple(names), list(names.values()), size
    rows = np.flatnonzero(mask)
    return tuple(names), [column.take(rows) for column in names.values()], len(rows)
