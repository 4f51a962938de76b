"""Bodies with disjunctions: the conjunctions that they stand for."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from tcrules.engine.ir import Body, Either, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many conjunctions one body may stand for.
MOST_ALTERNATIVES = 64


def conjunctions(body: Body) -> Iterator[Body]:
    """Every choice of one alternative per disjunction, in the order of the text; bodies without disjunctions.

    A binding satisfies the body if it satisfies one of them. Negations and aggregates keep theirs.
    """
    for parts in product(*(_choices(literal) for literal in body)):
        yield tuple(literal for part in parts for literal in part)


def _choices(literal: Literal) -> list[Body]:
    if not isinstance(literal, Either):
        return [(literal,)]
    return [chosen for alternative in literal.alternatives for chosen in conjunctions(alternative)]


def count_conjunctions(body: Body) -> int:
    """How many conjunctions a body stands for."""
    return prod(
        sum(map(count_conjunctions, literal.alternatives)) if isinstance(literal, Either) else 1
        for literal in body
    )


def direct(body: Body) -> Iterator[Literal]:
    """The literals of a body and of the alternatives in it, but not of negations and aggregates."""
    for literal in body:
        if isinstance(literal, Either):
            for alternative in literal.alternatives:
                yield from direct(alternative)
        else:
            yield literal
