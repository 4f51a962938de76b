"""`records.dataclass` against the standard library's."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import pytest
from tcrules.grammar import records
from tcrules.grammar.ast import NOWHERE, Constant, Program, Span


def both(**options: bool) -> list[Any]:
    found = []
    for module in (records, dataclasses):

        @module.dataclass(slots=True, **options)  # type: ignore[attr-defined, untyped-decorator]
        class Point:
            x: float
            y: int = 2
            place: str = module.field(default="", compare=False, repr=False)  # type: ignore[attr-defined]
            more: list[int] = module.field(default_factory=list)  # type: ignore[attr-defined]

            @property
            def both(self) -> float:
                return self.x + self.y

        found.append(Point)
    return found


@pytest.mark.parametrize("frozen", [False, True])
def test_behaves_as_a_dataclass(frozen: bool) -> None:
    ours, theirs = both(frozen=frozen)
    for made in (ours, theirs):
        one = made(1, more=[3])
        assert (one.x, one.y, one.place, one.more, one.both) == (1, 2, "", [3], 3)
        assert one == made(1, 2, "there", [3])
        assert one != made(2, more=[3])
        assert one != (1, 2, [3])
        assert "there" not in repr(made(1, 2, "there"))
        assert made.__match_args__ == ("x", "y", "place", "more")
        assert made(1).more is not made(1).more
        assert [field.name for field in dataclasses.fields(made)] == ["x", "y", "place", "more"]
        assert dataclasses.replace(one, y=5) == made(1, 5, more=[3]) != one
        assert not hasattr(one, "__dict__")
        with pytest.raises(TypeError):
            made()
        with pytest.raises(TypeError):
            made(1, nothing=2)
    assert repr(ours(1)) == repr(theirs(1))
    assert records.replace(ours(1), y=5) == ours(1, 5)
    with pytest.raises(TypeError):
        records.replace(ours(1), nothing=5)


def test_frozen_records_are_values() -> None:
    one = Constant(math.nan, Span("a", 1, 2, 1, 2))
    assert one == Constant(one.value)
    assert len({one, Constant(one.value), Constant(1)}) == 2
    assert pickle.loads(pickle.dumps(Constant("x"))) == copy.deepcopy(Constant("x")) == Constant("x")
    for change in (lambda: setattr(one, "value", 1), lambda: delattr(one, "value")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert hash(Program(())) == hash(Program((), Span("a", 0, 0, 1, 1)))
    assert NOWHERE.line == 1


def test_mutable_records_have_no_hash() -> None:
    (ours, _) = both(frozen=False)
    with pytest.raises(TypeError):
        hash(ours(1))
    changed = ours(1)
    changed.y = 7
    assert changed == ours(1, 7)
