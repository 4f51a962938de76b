"""Where the time of a check goes: one entry for each stratum of rules and each family of invariants.

Works with every store: strata are derived one at a time, families end where `check` reports progress.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from tcrules.engine.families import families
from tcrules.engine.ir import Atom, Var
from tcrules.engine.plan.build import compile_body
from tcrules.engine.reads import dependencies, read_by
from tcrules.engine.show import show_body, show_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcrules.engine.check import CheckResult
    from tcrules.engine.families import Family
    from tcrules.engine.ir import Body, Invariant, Predicate, Program, Stratum
    from tcrules.engine.store import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """What a stratum or family cost.

    Attributes:
        kind: "rules" or "invariants".
        names: the relations or invariants.
        text: the rules, one a line; of a family the first invariant.
        seconds: wall time without that of strata derived on the way.
        facts_in: facts of the relations that are read.
        facts_out: facts derived, or instances of the invariants.
        rounds: until the fixpoint; 1 without recursion, 0 for invariants.
    """

    kind: str
    names: tuple[str, ...]
    text: str
    seconds: float
    facts_in: int
    facts_out: int
    rounds: int = 0


@dataclass(slots=True)
class Profile:
    """Give `watch(store)`, `progress` and `grouping` to `check`, then its result to `entries`."""

    program: Program
    _strata: list[Entry] = field(default_factory=list)
    _families: list[tuple[Family, float, int]] = field(default_factory=list)
    _groups: tuple[Family, ...] = ()
    _store: Store | None = None
    _sizes: dict[str, int] = field(default_factory=dict)
    _begin: float = 0.0
    _elsewhere: float = 0.0

    def watch(self, store: Store) -> Store:
        """The store, measured."""
        self._store = store
        self._begin = time.perf_counter()
        return cast("Store", _Watched(store, self))

    def grouping(self, invariants: Iterable[Invariant]) -> Sequence[Family]:
        """The families, remembered."""
        self._groups = families(invariants)
        return self._groups

    def progress(self, _done: int, _all: int) -> None:
        """A family is done."""
        seconds = time.perf_counter() - self._begin - self._elsewhere
        family = self._groups[len(self._families)]
        bodies = (family.members[0].each, *family.members[0].expect)
        self._families.append(
            (family, seconds, self._total({name for body in bodies for name in read_by(body)}))
        )
        self._begin, self._elsewhere = time.perf_counter(), 0.0

    def entries(self, result: CheckResult) -> list[Entry]:
        """All entries, the most expensive first."""
        instances = {v.rule: v.violated + v.held + v.unknown for v in result.verdicts}
        found = [
            Entry(
                "invariants",
                tuple(member.id for member in family.members),
                _text(family.members[0]),
                seconds,
                facts,
                sum(instances[member.id] for member in family.members),
            )
            for family, seconds, facts in self._families
        ]
        return sorted([*self._strata, *found], key=lambda entry: -entry.seconds)

    def derive(self, stratum: Stratum) -> None:
        """Derive a stratum, measured."""
        assert self._store is not None
        begin, before = time.perf_counter(), self._elsewhere
        self._store.evaluate([_everything(predicate) for predicate in stratum.predicates])
        seconds = time.perf_counter() - begin
        own = {predicate.name for predicate in stratum.predicates}
        read = {name for rule in stratum.rules for name in read_by(rule.body)} - own
        text = "\n".join(map(show_rule, stratum.rules))
        entry = Entry("rules", tuple(sorted(own)), text, seconds, self._total(read), self._total(own))
        self._strata.append(replace(entry, rounds=self._rounds(stratum)))
        self._elsewhere = before + time.perf_counter() - begin

    def _rounds(self, stratum: Stratum) -> int:
        assert self._store is not None
        if not stratum.recursive:
            return 1
        return max((max(self._store.rounds(p).values(), default=0) for p in stratum.predicates), default=0)

    def _total(self, names: Iterable[str]) -> int:
        return sum(self._size(name) for name in names)

    def _size(self, name: str) -> int:
        assert self._store is not None
        predicate = self.program.predicates.get(name)
        if predicate is None:
            return 0
        if name not in self._sizes:
            begin = time.perf_counter()
            body = _everything(predicate)
            self._store.evaluate([body])
            self._sizes[name] = sum(int(row[0]) for row in self._store.count(compile_body(body), ()))
            self._elsewhere += time.perf_counter() - begin
        return self._sizes[name]


class _Watched:
    """A store whose strata are derived one by one by a profile."""

    def __init__(self, store: Store, profile: Profile) -> None:
        self._store, self._profile = store, profile
        self._ready: set[str] = set()

    def evaluate(self, bodies: Iterable[Body]) -> None:
        listed = list(bodies)
        program = self._profile.program
        needed = dependencies(program, listed) - self._ready
        for stratum in program.strata:
            names = {predicate.name for predicate in stratum.predicates}
            if names & needed:
                self._profile.derive(stratum)
                self._ready |= names
        self._store.evaluate(listed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _everything(predicate: Predicate) -> Body:
    variables = (Var(f"X{place}", column.type) for place, column in enumerate(predicate.columns))
    return (Atom(predicate, tuple(variables)),)


def _text(invariant: Invariant) -> str:
    parts = [f"each {show_body(invariant.each)}", *(f"expect {show_body(body)}" for body in invariant.expect)]
    return "\n".join(parts)
