"""`dataclass(frozen=True, slots=True)`, made in a tenth of the time.

The standard decorator compiles six functions and inspects a signature for each class: half a millisecond, for a hundred
classes of trees more than the rest of the start-up together. Here only `__init__` is compiled, the other methods are
shared. To type checkers, and to `dataclasses.fields` and `dataclasses.replace`, the classes are dataclasses.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

_MISSING = object()


class _Default:
    """What `field` says about one field."""

    __slots__ = ("compare", "default", "factory", "repr")

    def __init__(self, default: object, factory: object, compare: bool, repr: bool) -> None:
        self.default, self.factory, self.compare, self.repr = default, factory, compare, repr


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from dataclasses import dataclass, field, replace

    __all__ = ["dataclass", "field", "replace"]
else:

    def field(*, default=_MISSING, default_factory=_MISSING, compare=True, repr=True):
        """As `dataclasses.field`, with the options that trees need."""
        return _Default(default, default_factory, compare, repr)

    def dataclass(*, slots, frozen=False):
        """As `dataclasses.dataclass`; only for classes with slots and without base classes."""
        assert slots, "records have slots"
        return _frozen if frozen else _mutable

    def replace(record, /, **changes):
        """As `dataclasses.replace`, and three times as fast."""
        return type(record)(
            *[changes.pop(n) if n in changes else getattr(record, n) for n in record.__slots__], **changes
        )


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the cyclic garbage collector, for a block that makes many objects that stay.

    It would walk them all, again and again, for most of the time.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _frozen(cls: type) -> type:
    return _made(cls, {"__setattr__": _refuse, "__delattr__": _refuse})


def _mutable(cls: type) -> type:
    return _made(cls, {"__hash__": None})


def _made(cls: type, more: dict[str, object]) -> type:
    names = tuple(cls.__annotations__)
    namespace = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    given = {name: _default(namespace.pop(name)) for name in names if name in namespace}
    namespace |= {"__slots__": names, "__match_args__": names, "__dataclass_fields__": _Fields(names, given)}
    compared = tuple(name for name in names if name not in given or given[name].compare)
    namespace["__eq__"], namespace["__hash__"] = _comparison(compared)
    shown = tuple(name for name in names if name not in given or given[name].repr)
    namespace.setdefault("__repr__", _representation(shown))
    namespace |= {"__reduce__": _reduced, **more}
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    made.__init__ = _initialiser(made, names, given, hasattr(cls, "__post_init__"))  # type: ignore[misc]
    return made


def _default(value: Any) -> Any:
    return value if isinstance(value, _Default) else _Default(value, _MISSING, True, True)


def _initialiser(
    cls: type, names: tuple[str, ...], given: dict[str, Any], after: bool
) -> Callable[..., None]:
    """`__init__`, which fills the slots directly."""
    scope: dict[str, Any] = {"_MISSING": _MISSING}
    parameters, lines = ["self"], []
    for name in names:
        scope[f"_set_{name}"] = cls.__dict__[name].__set__
        value = name
        if name in given:
            scope[f"_default_{name}"], scope[f"_make_{name}"] = given[name].default, given[name].factory
            parameters.append(f"{name}=_default_{name}")
            if given[name].factory is not _MISSING:
                value = f"_make_{name}() if {name} is _MISSING else {name}"
        else:
            parameters.append(name)
        lines.append(f" _set_{name}(self, {value})")
    if after:
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _comparison(names: tuple[str, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`__eq__` and `__hash__` by the values of the fields, in tuples, so that a NaN equals itself."""

    def few(record: object) -> tuple[object, ...]:
        return tuple(getattr(record, name) for name in names)

    values: Callable[[object], tuple[object, ...]] = attrgetter(*names) if len(names) > 1 else few

    def equal(self: object, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: object) -> int:
        return hash(values(self))

    return equal, hashed


def _representation(names: tuple[str, ...]) -> Callable[[object], str]:
    def shown(self: object) -> str:
        pairs = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({pairs})"

    return shown


class _Fields:
    """Makes `__dataclass_fields__` when something first asks for it."""

    def __init__(self, names: tuple[str, ...], given: dict[str, Any]) -> None:
        self.names, self.given = names, given

    def __get__(self, _instance: object, owner: type) -> dict[str, Any]:
        import dataclasses

        def described(name: str) -> Any:
            default = self.given.get(name)
            if default is None:
                return dataclasses.field()
            kind = "default" if default.factory is _MISSING else "default_factory"
            value = default.default if default.factory is _MISSING else default.factory
            return dataclasses.field(**{kind: value}, compare=default.compare, repr=default.repr)

        types = owner.__annotations__
        twin = dataclasses.make_dataclass(
            "twin", [(name, types[name], described(name)) for name in self.names]
        )
        found: dict[str, Any] = twin.__dataclass_fields__  # type: ignore[attr-defined]
        owner.__dataclass_fields__ = found  # type: ignore[attr-defined]
        return found


def _refuse(self: object, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r} of a {type(self).__qualname__}")


def _reduced(self: Any) -> tuple[type, tuple[object, ...]]:
    return type(self), tuple(getattr(self, name) for name in self.__slots__)
