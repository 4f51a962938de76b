"""What checking, proofs and queries need of a store of facts; every executor that holds facts offers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tcrules.engine.facts import Stored
    from tcrules.engine.ir import Atom, Body, Fact, Predicate, Value, Var
    from tcrules.engine.plan.plan import Plan


class StoreFault(Exception):
    """The facts cannot be read or evaluated; the text says what is wrong and where."""


class Store(Protocol):
    """Facts of one run and what rules derive from them. Relations are derived when something first reads them."""

    def give(self, predicate: Predicate, facts: Sequence[Fact]) -> None:
        """A relation that is given rather than recorded or derived (the constants of a rule family)."""
        ...

    def evaluate(self, bodies: Iterable[Body]) -> None:
        """Derive the relations that the bodies read, and those that these read; nothing else."""
        ...

    def plan(self, body: Body) -> Plan:
        """How to evaluate a body whose relations are derived."""
        ...

    def create_from(self, relation: Atom, plan: Plan, most: int | None = None) -> int:
        """Make a relation whose arguments are variables of the distinct bindings of a plan; how many they are.

        Raises:
            EvaluationLimit: the plan yields more than `most` bindings, repeated ones included.
        """
        ...

    def drop_relation(self, predicate: Predicate) -> None:
        """Forget a relation that was given or created."""
        ...

    def select(
        self,
        plan: Plan,
        output: Sequence[Var],
        limit: int | None = None,
        *,
        first: Sequence[Var] = (),
        within: Var | None = None,
    ) -> list[Fact]:
        """The distinct bindings of a plan, in the order of `first`, then of all values.

        Args:
            plan: what to evaluate.
            output: the variables to return, in order.
            limit: at most so many bindings.
            first: variables that order before the others do.
            within: the limit holds for each value of this variable.
        """
        ...

    def count(self, plan: Plan, keys: Sequence[Var], limit: int | None = None) -> list[Fact]:
        """Rows of the keys' values and the number of bindings that have them; the bindings must be distinct.

        At most `limit` rows.
        """
        ...

    def query(self, body: Body, limit: int | None = None) -> tuple[tuple[str, ...], list[Fact]]:
        """The bindings of a body: names of its variables, then rows of their values in order."""
        ...

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[Stored]:
        """Facts whose column `i` equals `bound[i]`, in id order (derived ones: in order of their rounds)."""
        ...

    def rounds(self, predicate: Predicate) -> dict[Fact, int]:
        """The round, from 1, in which each fact of a derived relation was found.

        Premises of a fact that belong to its own stratum have lower rounds.
        """
        ...

    def round_of(self, predicate: Predicate, fact: Fact) -> int | None:
        """The round in which one derived fact was found; None if it does not hold or is observed."""
        ...

    def superseded(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterable[tuple[Fact, int]]:
        """Facts of a relation that keeps the best ones, which it held until it found better ones, with their rounds.

        Those whose column `i` equals `bound[i]`.
        """
        ...
