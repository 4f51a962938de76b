"""Which relations bodies read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.ir import Atom, Body, Either, Group, Not, Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def dependencies(program: Program, bodies: Iterable[Body]) -> set[str]:
    """Names of the relations that the bodies read, directly or through rules."""
    reads: dict[str, set[str]] = {}
    for stratum in program.strata:
        for rule in stratum.rules:
            reads.setdefault(rule.head.predicate.name, set()).update(read_by(rule.body))
    found: set[str] = set()
    waiting = [name for body in bodies for name in read_by(body)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(reads.get(name, ()))
    return found


def read_by(body: Body) -> Iterator[str]:
    """Names of the relations that occur in a body, nested bodies included."""
    for literal in body:
        match literal:
            case Atom(predicate):
                yield predicate.name
            case Not(body=inner) | Group(body=inner):
                yield from read_by(inner)
            case Either(alternatives):
                for alternative in alternatives:
                    yield from read_by(alternative)
