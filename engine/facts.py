"""What an executor reads: observed facts by relation, and what of the run was recorded at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine.ir import Fact, Predicate, Value


@dataclass(frozen=True, slots=True)
class Gap:
    """Facts of `relation` that were not recorded; `last_step` -1 = until the end; `rank` -1 = all ranks.

    `recorded`: stretches of steps (first, last) within, in order, that were recorded all the same: a sample.
    """

    relation: str
    rank: int
    first_step: int
    last_step: int
    why: str
    recorded: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """`recorded`: relations whose probes were on. `complete`: every process of the run ended by itself."""

    recorded: frozenset[str]
    gaps: tuple[Gap, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Stored:
    """A fact with its id; derived facts have id 0."""

    id: int
    values: Fact


class FactSource(Protocol):
    """Facts that can be looked up by some bound columns; used by goal-directed evaluation (proofs, why-not)."""

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[Stored]:
        """Facts whose column `i` equals `bound[i]` for all given columns, in id order."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """Observed facts held in memory: relation -> facts. Ids are given by the caller or counted from 1."""

    relations: Mapping[str, tuple[Stored, ...]]
    coverage: Coverage = field(default_factory=lambda: Coverage(frozenset()))


class DerivedSource(FactSource, Protocol):
    """Observed and derived facts; what proofs are built from."""

    def round_of(self, predicate: Predicate, fact: Fact) -> int | None:
        """The round in which a derived fact was found, None where it does not hold.

        Premises from its own stratum have lower rounds.
        """
        ...

    def superseded(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[tuple[Fact, int]]:
        """Facts of a relation that keeps the best ones, which it held until it found better ones, with their rounds.

        Those whose column `i` equals `bound[i]`.
        """
        ...
