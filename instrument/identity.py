"""A table from objects to values that neither keeps the objects alive nor mixes up recycled ids."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")


class IdentityMap(Generic[V]):
    """Values by object identity.

    `weakref.WeakKeyDictionary` compares keys with `==`, which for tensors is an elementwise operation. An id
    alone may be given to a new object; an entry therefore counts only while its weak reference still yields
    the object.

    Args:
        on_gone: called with the value when its object was freed.

    Attributes:
        puts: how often a value was set: something may be new if it moved.
    """

    def __init__(self, on_gone: Callable[[V], None] | None = None) -> None:
        self._entries: dict[int, tuple[weakref.ref[object], V]] = {}
        self._on_gone = on_gone
        self.puts = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, thing: object) -> V | None:
        """Return the value of `thing`, None if it has none; about 0.1 µs."""
        entry = self._entries.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else None

    def put(self, thing: object, value: V) -> None:
        """Set the value of `thing`.

        Raises:
            TypeError: `thing` cannot be referenced weakly.
        """
        key = id(thing)
        self.puts += 1
        entries, on_gone = self._entries, self._on_gone

        def forget(reference: weakref.ref[object]) -> None:
            entry = entries.get(key)
            if entry is None or entry[0] is not reference:
                return  # the id already belongs to another object, or the value was set again
            del entries[key]
            if on_gone is not None:
                on_gone(entry[1])

        entries[key] = (weakref.ref(thing, forget), value)

    def live(self) -> list[tuple[object, V]]:
        """Return the objects that still exist with their values, oldest first."""
        found = ((reference(), value) for reference, value in list(self._entries.values()))
        return [(thing, value) for thing, value in found if thing is not None]
