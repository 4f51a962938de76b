"""Why the answers to a goal hold, and what comes nearest where there is none: what `tcrules query --why` does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tcrules.engine.alternatives import conjunctions
from tcrules.engine.directed import solutions
from tcrules.engine.proof import Proof, check_proof, to_json
from tcrules.engine.provenance import proofs, prove
from tcrules.engine.store import StoreFault
from tcrules.engine.why_not import WhyNot, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tcrules.engine.ir import Atom, Body, Fact, Program, Value
    from tcrules.engine.proof import Json
    from tcrules.engine.store import Store


@dataclass(frozen=True, slots=True)
class Reason:
    """One answer with the proofs of the facts that its goal names: for each atom one or more, the shortest first."""

    answer: Mapping[str, Value]
    proofs: tuple[tuple[Proof, ...], ...]


def reasons(
    program: Program, store: Store, goal: Body, names: Sequence[str], answers: Sequence[Fact], most: int = 1
) -> Iterator[Reason]:
    """Why answers hold: up to `most` proofs for each fact, each replayed by the independent checker.

    Raises:
        StoreFault: a proof does not stand; then the store is wrong.
    """
    for answer in answers:
        given = dict(zip(names, answer, strict=True))
        ways = (found for body in conjunctions(goal) for found in solutions(body, store, given))
        found = next(ways, None)
        if found is None:
            raise StoreFault(f"the store found an answer that its facts do not show: {given}")
        proved = (_proofs(program, store, atom, stored.values, most) for atom, stored in found.facts)
        yield Reason(given, tuple(proved))


def _proofs(program: Program, store: Store, atom: Atom, fact: Fact, most: int) -> tuple[Proof, ...]:
    predicate = atom.predicate
    if most > 1:
        found = tuple(islice(proofs(program, store, predicate, fact, most), most))
    else:
        shortest = prove(program, store, predicate, fact)
        found = () if shortest is None else (shortest,)
    faults = [fault for proof in found for fault in check_proof(proof, program, store)]
    if faults or not found:
        raise StoreFault(f"no valid proof of {predicate.name}{fact}: {'; '.join(faults) or 'none found'}")
    return found


def nearest_miss(program: Program, store: Store, goal: Body) -> WhyNot | None:
    """How far the goal comes, its first literal that does not hold, and facts that come near."""
    ways = [why_not(body, store, {}, program) for body in conjunctions(goal)]
    known = [way for way in ways if way is not None]
    return max(known, key=lambda way: way.matched / way.total, default=None)


def as_json(reason: Reason) -> dict[str, Json]:
    """An answer, and the hypergraph of each proof: conclusion, rule and premises of each inference."""
    return {
        "answer": dict(reason.answer),
        "proofs": [to_json(proof) for several in reason.proofs for proof in several],
    }
