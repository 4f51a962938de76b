"""Types ordered by `<:`. A base type is above every entity type made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.ir import Type
from tcrules.engine.values import BASES
from tcrules.grammar.records import dataclass
from tcrules.instrument.schema import TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The type of something that already was reported; it goes with everything.
UNKNOWN = Type("?", "?")
NUMBERS = frozenset({"int", "float"})


@dataclass(frozen=True, slots=True)
class Lattice:
    """`parents` maps a type's name to the one directly above it; base types have none."""

    types: Mapping[str, Type]
    parents: Mapping[str, str]

    def above(self, lower: Type, upper: Type) -> bool:
        """`upper` is `lower` or an ancestor of it."""
        name: str | None = lower.name
        while name is not None:
            if name == upper.name:
                return True
            name = self.parents.get(name)
        return False

    def meet(self, left: Type, right: Type) -> Type | None:
        """The more special one of two types of which one is above the other; else None."""
        if UNKNOWN in (left, right):
            return right if left == UNKNOWN else left
        if self.above(left, right):
            return left
        return right if self.above(right, left) else None

    def join(self, left: Type, right: Type) -> Type | None:
        """The more general one of two types of which one is above the other; else None."""
        met = self.meet(left, right)
        if met is None or UNKNOWN in (left, right):
            return met
        return right if met == left else left


def entity(found: Type) -> bool:
    """Not one of the four base types."""
    return found.name not in BASES and found != UNKNOWN


def shipped() -> Lattice:
    """The types of the schema."""
    types = {name: Type(name, base) for name, base in TYPES.items()}
    return Lattice(types, {name: base for name, base in TYPES.items() if name != base})


def describe(found: Type) -> str:
    """A type for messages.

    >>> describe(Type("param", "string"))
    'param (string)'
    """
    return f"{found.name} ({found.base})" if entity(found) else found.name
