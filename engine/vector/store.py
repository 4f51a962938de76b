"""Facts in memory as columns, and everything that rules derive from them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from tcrules.engine.analyse.stratify import reads
from tcrules.engine.facts import MemoryFacts, Stored
from tcrules.engine.ir import Any_, Atom, Body, Const, Fact, Predicate, Program, Value, Var
from tcrules.engine.limits import EvaluationLimit, current
from tcrules.engine.optimise.demand import demanded
from tcrules.engine.optimise.order import order
from tcrules.engine.plan.build import compile_body
from tcrules.engine.plan.plan import Plan, Scan, Version, columns
from tcrules.engine.reads import dependencies
from tcrules.engine.values import equal
from tcrules.engine.vector.batch import Batch, first_of_each, first_within, numbered
from tcrules.engine.vector.derive import derive
from tcrules.engine.vector.estimates import Estimates
from tcrules.engine.vector.history import replaced
from tcrules.engine.vector.index import Index, index_rows
from tcrules.engine.vector.indexes import Indexes, pattern
from tcrules.engine.vector.relation import Best, Derived, Growing, Observed, Relation
from tcrules.engine.vector.stream import Evaluation
from tcrules.engine.vector.words import Texts, Words, decode, encode, encode_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tcrules.grammar.limits import Limits

#: An array of values, or places in a list of texts together with that list.
Column: TypeAlias = npt.NDArray[Any] | tuple[npt.NDArray[Any], list[str]]


#: Facts derived where the limits in force say nothing; each takes 8 to 40 bytes.
MOST_FACTS = 200_000_000
#: Rounds of one stratum; each takes some 0.1 ms.
MOST_ROUNDS = 1_000_000


class Recorded(Protocol):
    """Observed facts that are read when they are needed."""

    @property
    def sizes(self) -> Mapping[str, int] | None:
        """How many facts each relation has; those that were not recorded are absent. None if that is unknown."""
        ...

    def read(self, predicate: Predicate, store: VectorStore) -> Observed | None:
        """The facts of a relation; None if it was not recorded."""
        ...

    def close(self) -> None:
        """Called with the store's `close`."""
        ...


@dataclass(slots=True)
class VectorStore:
    """One set of facts. Relations are derived when something first reads them."""

    program: Program
    limits: Limits = field(default_factory=current)
    texts: Texts = field(default_factory=Texts)
    #: Where relations come from that were not given.
    recorded: Recorded | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    #: Those of the stratum that is being derived.
    filling: dict[str, Growing] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _indexes: dict[tuple[Any, ...], Indexes] = field(default_factory=dict)
    _distinct: dict[tuple[str, int], float] = field(default_factory=dict)
    _lookups: dict[tuple[str, tuple[int, ...]], tuple[Relation, Index]] = field(default_factory=dict)
    _replaced: dict[str, dict[Fact, int]] = field(default_factory=dict)
    _deadline: float | None = None
    _derived: int = 0

    @classmethod
    def from_memory(cls, facts: MemoryFacts, program: Program, limits: Limits | None = None) -> VectorStore:
        """A store with a copy of facts."""
        store = cls(program, limits or current())
        for name, stored in facts.relations.items():
            predicate = program.predicates.get(name)
            if predicate is not None and predicate.observed:
                store.give(predicate, [fact.values for fact in stored], [fact.id for fact in stored])
        return store

    def close(self) -> None:
        """Free what recorded facts are read with."""
        if self.recorded is not None:
            self.recorded.close()

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------- facts in

    def load(self, predicate: Predicate, columns: Sequence[Column]) -> None:
        """Make arrays of ints, floats, bools or texts the facts of a relation.

        Texts may come as an array of their own or as a pair: places in a list of different texts, and that list.

        Raises:
            TypeError: an array does not fit its column.
            ValueError: a number of columns that is not the relation's, or columns of several lengths.
        """
        words = [
            self.texts.numbers(column[1]).take(column[0])
            if isinstance(column, tuple)
            else encode_column(column, kind.type.base, self.texts)
            for column, kind in zip(columns, predicate.columns, strict=False)
        ]
        sizes = set(map(len, words))
        if len(columns) != len(predicate.columns) or len(sizes) > 1:
            raise ValueError(f"{predicate.name} takes {len(predicate.columns)} columns of one length")
        self._set(predicate, Observed(words, sizes.pop() if sizes else 0))

    def give(self, predicate: Predicate, facts: Sequence[Fact], ids: Sequence[int] = ()) -> None:
        """Make Python values the facts of a relation, with the ids of the facts."""
        columns = list(zip(*facts, strict=True)) if facts else [()] * len(predicate.columns)
        words = [
            encode(values, column.type.base, self.texts)
            for values, column in zip(columns, predicate.columns, strict=True)
        ]
        self._set(predicate, Observed(words, len(facts), np.array(ids, np.int64) if ids else None))

    def _set(self, predicate: Predicate, relation: Relation) -> None:
        self.relations[predicate.name] = relation
        self._distinct = {key: number for key, number in self._distinct.items() if key[0] != predicate.name}

    # -------------------------------------------------------------------------------------------- evaluation

    def evaluate(self, bodies: Iterable[Body]) -> None:
        """Derive what the bodies read; but for those that an empty relation leaves without bindings.

        Raises:
            EvaluationLimit: a limit of the store is exceeded.
        """
        estimates = self.statistics(set())
        wanted = dependencies(self.program, [body for body in bodies if not estimates.empty(body)])
        self._start_clock()
        for name in sorted(wanted):
            if (predicate := self.program.predicates.get(name)) is not None and predicate.observed:
                self.relation(predicate)
        for stratum in self.program.strata:
            names = [predicate.name for predicate in stratum.predicates]
            if wanted.intersection(names) and not self._ready.issuperset(names):
                self.filling = {predicate.name: _empty(predicate) for predicate in stratum.predicates}
                self.relations.update(self.filling)
                derive(self, stratum)
                self._derived += sum(relation.size for relation in self.filling.values())
                self._ready.update(names)

    def derive_all(self) -> None:
        """Derive every relation of the program."""
        self.evaluate(
            (everything(predicate),) for stratum in self.program.strata for predicate in stratum.predicates
        )

    def _start_clock(self) -> None:
        if self.limits.seconds is not None and self._deadline is None:
            self._deadline = time.monotonic() + self.limits.seconds

    def tick(self, rows: int) -> None:
        """Called while plans are evaluated.

        Raises:
            EvaluationLimit: the time is up.
        """
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise EvaluationLimit(
                f"not finished after {self.limits.seconds:g} seconds ({rows} bindings at work)"
            )

    def check_size(self, rounds: int) -> None:
        """Called while rules derive facts.

        Raises:
            EvaluationLimit: there are more facts, or were more rounds, than allowed.
        """
        most = MOST_FACTS if self.limits.facts is None else self.limits.facts
        names = ", ".join(sorted(self.filling))
        if sum(relation.held() for relation in self.filling.values()) + self._derived > most:
            raise EvaluationLimit(f"more than {most} facts while deriving {names}")
        if rounds > MOST_ROUNDS:
            raise EvaluationLimit(f"{names}: still new facts after {rounds} rounds; do the rules count up?")

    def statistics(self, changing: set[str]) -> Estimates:
        """Estimates for join orders; relations that are being derived count as large."""
        unread = self.recorded.sizes if self.recorded is not None else {}
        return Estimates(self.relations, changing, self._distinct, unread)

    # -------------------------------------------------------------------------------------------- what plans read

    def relation(self, predicate: Predicate) -> Relation:
        """The facts of a relation; one that was never given is empty."""
        found = self.relations.get(predicate.name)
        if found is None and self.recorded is not None and predicate.observed:
            found = self.recorded.read(predicate, self)
        if found is None:
            found = Observed([np.empty(0, np.int64) for _ in predicate.columns], 0)
        self.relations[predicate.name] = found
        return found

    def scan(self, predicate: Predicate, version: Version) -> tuple[list[Words], int]:
        relation = self.relation(predicate)
        if version is Version.DELTA:
            found = self.filling[predicate.name].delta()
            return found, len(found[0]) if found else relation.size
        return relation.columns(), relation.size

    def index(self, scan: Scan, shared: tuple[Var, ...]) -> tuple[list[Index], tuple[Var, ...]]:
        names = tuple(dict.fromkeys(term for term in scan.terms if isinstance(term, Var)))
        key = (scan.predicate.name, pattern(scan.terms), tuple(names.index(name) for name in shared))
        growing = self._indexes.get(key)
        relation = self.relation(scan.predicate)
        if growing is None or growing.relation is not relation or growing.version != relation.version:
            growing = self._indexes[key] = Indexes(relation, scan.terms, key[2], self.texts)
        return growing.current(), names

    # -------------------------------------------------------------------------------------------- facts out

    def size(self, predicate: Predicate) -> int:
        """The number of facts of a relation; observed facts that repeat count once."""
        relation = self._complete(predicate)
        return len(set(self._rows(predicate))) if predicate.observed else relation.size

    def columns_of(self, predicate: Predicate) -> list[list[Value]]:
        """The facts of a relation by columns."""
        return [
            decode(words, column.type.base, self.texts)
            for words, column in zip(self._complete(predicate).columns(), predicate.columns, strict=True)
        ]

    def rounds(self, predicate: Predicate) -> dict[Fact, int]:
        """The facts of a derived relation with the round in which each was found."""
        numbers = self._complete(predicate).numbers().tolist()
        return dict(zip(self._rows(predicate), numbers, strict=True))

    def round_of(self, predicate: Predicate, fact: Fact) -> int | None:
        """The round in which one derived fact was found; None if it does not hold or is observed."""
        if predicate.observed:
            return None
        return next((number for number, _ in self._lookup(predicate, dict(enumerate(fact)))), None)

    def superseded(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[tuple[Fact, int]]:
        """Facts of a relation that keeps the best ones which better ones replaced, with their rounds."""
        if predicate.name not in self._replaced:
            self._complete(predicate)
            self._replaced[predicate.name] = replaced(self, predicate)
        for fact, round_ in self._replaced[predicate.name].items():
            if all(equal(fact[at], value) for at, value in bound.items()):
                yield fact, round_

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[Stored]:
        """Facts whose column `i` equals `bound[i]`, in id order (derived ones: in order of their rounds)."""
        for number, fact in sorted(self._lookup(predicate, bound), key=lambda found: found[0]):
            yield Stored(number if predicate.observed else 0, fact)

    def _lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[tuple[int, Fact]]:
        relation = self._complete(predicate)
        keys = tuple(sorted(bound))
        found = self._lookups.get((predicate.name, keys))
        if found is None or found[0] is not relation:
            columns = [*relation.columns(), relation.numbers()]
            found = (relation, index_rows(columns, list(keys), relation.size))
            self._lookups[predicate.name, keys] = found
        bases = [column.type.base for column in predicate.columns]
        wanted = [encode((bound[key],), bases[key], self.texts) for key in keys]
        first, counts = found[1].find(wanted, 1)
        places = slice(int(first[0]), int(first[0] + counts[0]))
        *columns, numbers = (column[places] for column in found[1].columns)
        lists = [decode(words, base, self.texts) for words, base in zip(columns, bases, strict=True)]
        facts = zip(*lists, strict=True) if lists else iter([()] * len(numbers))
        return zip(numbers.tolist(), facts, strict=True)

    def _complete(self, predicate: Predicate) -> Relation:
        self.evaluate([(everything(predicate),)])
        return self.relation(predicate)

    def _rows(self, predicate: Predicate) -> Iterator[Fact]:
        columns = self.columns_of(predicate)
        return zip(*columns, strict=True) if columns else iter([()] * self.relation(predicate).size)

    # -------------------------------------------------------------------------------------------- plans

    def plan(self, body: Body) -> Plan:
        """How to evaluate a body whose relations are derived: its literals in the order that costs least."""
        return compile_body(tuple(body[place] for place in order(body, self.statistics(set()))))

    def create_from(self, relation: Atom, plan: Plan, most: int | None = None) -> int:
        """See `Store.create_from`."""
        variables = [term for term in relation.arguments if isinstance(term, Var)]
        batch = Evaluation(self).collect(plan, variables, most)
        kept = batch.take(first_of_each(batch.list(variables), batch.size))
        self._set(relation.predicate, Observed(kept.list(variables), kept.size))
        return kept.size

    def drop_relation(self, predicate: Predicate) -> None:
        """Forget a relation that was given or created."""
        self._set(predicate, Observed([np.empty(0, np.int64) for _ in predicate.columns], 0))

    def count(self, plan: Plan, keys: Sequence[Var], limit: int | None = None) -> list[Fact]:
        """See `Store.count`."""
        batch = Evaluation(self).collect(plan, keys)
        if not keys:
            return [(batch.size,)]
        numbers, count = numbered(batch.list(keys), batch.size)
        first = np.zeros(count, np.int64)
        first[numbers] = np.arange(batch.size)
        sizes = np.bincount(numbers, minlength=count)[:limit].tolist()
        return list(zip(*self._decoded(batch.take(first[:limit]), keys), sizes, strict=True))

    def select(
        self,
        plan: Plan,
        output: Sequence[Var],
        limit: int | None = None,
        *,
        first: Sequence[Var] = (),
        within: Var | None = None,
    ) -> list[Fact]:
        """See `Store.select`."""
        batch = Evaluation(self).collect(plan, output)
        if not output:
            return [()] if batch.size else []
        batch = batch.take(first_of_each(batch.list(output), batch.size))
        batch = batch.take(self._order(batch, [*first, *output]))
        if limit is not None and within is not None:
            batch = batch.take(first_within(batch.columns[within], limit))
        elif limit is not None:
            batch = batch.take(np.arange(min(limit, batch.size)))
        return list(zip(*self._decoded(batch, output), strict=True))

    def query(self, body: Body, limit: int | None = None) -> tuple[tuple[str, ...], list[Fact]]:
        """The bindings of a body: names of its variables, then rows of their values in order."""
        self.evaluate([body])
        plan = self.plan(body)
        bound = set(columns(plan))
        names = [name for name in columns(compile_body(body)) if name in bound]
        # Variables with a leading mark were made by analysis and mean nothing to a reader.
        shown = tuple(name for name in names if not name.name.startswith("#"))
        return tuple(name.name for name in shown), self.select(plan, shown, limit)

    def ask(self, body: Body, limit: int | None = None) -> tuple[tuple[str, ...], list[Fact]]:
        """As `query`, but derives only what the body asks for; relations that are derived already are read.

        A body without constants asks for everything: then the relations are derived for later questions as well.
        """
        if not any(isinstance(term, Const) for atom, _ in reads(body) for term in atom.arguments):
            return self.query(body, limit)
        waiting = {name for name in dependencies(self.program, [body]) if name not in self._ready}
        unfinished = tuple(
            s for s in self.program.strata if waiting.intersection(p.name for p in s.predicates)
        )
        program, goal = demanded(replace(self.program, strata=unfinished), body, self.statistics(waiting))
        return self.branch(program).query(goal, limit)

    def branch(self, program: Program) -> VectorStore:
        """A store that begins with the facts of this one and goes its own way."""
        return VectorStore(
            program,
            self.limits,
            self.texts,
            self.recorded,
            dict(self.relations),
            _ready=set(self._ready),
            _deadline=self._deadline,
        )

    def _order(self, batch: Batch, names: Sequence[Var]) -> Words:
        words = [
            self.texts.ranks().take(batch.columns[name])
            if name.type.base == "string"
            else batch.columns[name]
            for name in names
        ]
        return np.lexsort(words[::-1])

    def _decoded(self, batch: Batch, names: Sequence[Var]) -> list[list[Value]]:
        return [decode(batch.columns[name], name.type.base, self.texts) for name in names]


def _empty(predicate: Predicate) -> Growing:
    width = len(predicate.columns)
    return Best(width, predicate.best) if predicate.best else Derived(width)


def everything(predicate: Predicate) -> Atom:
    """An atom that asks for all facts of a relation."""
    return Atom(predicate, tuple(Any_() for _ in predicate.columns))
