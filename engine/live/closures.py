"""The closures that bodies are compiled to. Each is small and specialised: they run once for each fact and literal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.engine.live.expressions import Environment

if TYPE_CHECKING:
    from tcrules.engine.ir import Fact

#: Called for each solution; True ends the search.
Next: TypeAlias = Callable[[Environment], bool]
#: Where values of a row go in the environment, and how they are read: `env[place] = values(row)`.
Take: TypeAlias = "tuple[Any, Callable[[Fact], Any]]"
Fits: TypeAlias = "Callable[[Fact], bool]"


def any_of(ways: Sequence[Next]) -> Next:
    """Whether one of the ways ends in success."""
    if len(ways) == 1:
        return ways[0]
    if len(ways) == 2:
        one, other = ways
        return lambda env: one(env) or other(env)
    return (lambda env: any(way(env) for way in ways)) if ways else (lambda _: False)


def found(_: Environment) -> bool:
    """The end of a search for one solution."""
    return True


def keep_if(holds: Callable[[Environment], bool], then: Next) -> Next:
    """Go on where a test holds."""
    if then is found:
        return holds
    return lambda env: holds(env) and then(env)


def keep_unless(found: Next, then: Next) -> Next:
    """Go on where a search fails."""
    return lambda env: not found(env) and then(env)


def keep_if_some(table: int, slots: Sequence[int], then: Next) -> Next:
    """Go on where a table has a row whose key is in the slots."""
    if not slots:
        return lambda env: bool(env[table]) and then(env)
    key = itemgetter(*slots)
    if then is found:
        return lambda env: key(env) in env[table]
    return lambda env: key(env) in env[table] and then(env)


def each_row(table: int, slots: Sequence[int], take: Take, same: Fits | None, then: Next) -> Next:
    """Go on with each row of a table whose key is in the slots, and whose columns for one variable agree."""
    place, values = take
    if same is None and slots:
        return _each_of_key(table, slots, place, values, then)
    rows_of = _rows_of(table, slots)
    if same is not None:
        rows_of = _filtered(rows_of, same)

    def loop(env: Environment) -> bool:
        for row in rows_of(env):
            env[place] = values(row)
            if then(env):
                return True
        return False

    return loop


def _each_of_key(
    table: int, slots: Sequence[int], place: Any, values: Callable[[Fact], Any], then: Next
) -> Next:
    """The usual case with one call less for each key."""
    if len(slots) == 1:
        (slot,) = slots

        def loop(env: Environment) -> bool:
            for row in env[table].get(env[slot], ()):
                env[place] = values(row)
                if then(env):
                    return True
            return False

        return loop
    key = itemgetter(*slots)

    def loop_of_several(env: Environment) -> bool:
        for row in env[table].get(key(env), ()):
            env[place] = values(row)
            if then(env):
                return True
        return False

    return loop_of_several


def _rows_of(table: int, slots: Sequence[int]) -> Callable[[Environment], Sequence[Fact]]:
    if not slots:
        return itemgetter(table)
    key = itemgetter(*slots)
    return lambda env: env[table].get(key(env), ())


def _filtered(
    rows_of: Callable[[Environment], Sequence[Fact]], same: Fits
) -> Callable[[Environment], Sequence[Fact]]:
    return lambda env: [row for row in rows_of(env) if same(row)]


def dispatch(members: int, facts: int, choose: Take, take: Take, fits: Fits | None, then: Next) -> Next:
    """Go on with each pair of a member of a family and a fact that has its constants: one look-up for each constant."""
    (chosen, constants), (place, values) = choose, take

    def run(env: Environment) -> bool:
        by_constant, by_value = env[members], env[facts]
        for key in by_constant.keys() & by_value.keys():
            rows = by_value[key] if fits is None else [row for row in by_value[key] if fits(row)]
            for member in by_constant[key] if rows else ():
                env[chosen] = constants(member)
                for row in rows:
                    env[place] = values(row)
                    if then(env):
                        return True
        return False

    return run


def taker(slots: Sequence[int], columns: Sequence[int]) -> Take:
    """Copies columns of a row into slots that lie side by side. Without any, nothing is copied."""
    if len(slots) == 1:
        return slots[0], itemgetter(*columns)
    if not slots:
        return slice(0, 0), lambda _: ()
    assert list(slots) == list(range(slots[0], slots[0] + len(slots))), (
        "the slots of an atom lie side by side"
    )
    return slice(slots[0], slots[0] + len(slots)), itemgetter(*columns)


def agreement(pairs: Sequence[tuple[int, int]]) -> Fits | None:
    """Whether pairs of columns of a row are equal; None for no pairs."""
    if not pairs:
        return None
    return lambda row: all(row[one] is row[other] or row[one] == row[other] for one, other in pairs)


def has_values(fixed: Sequence[tuple[int, Any]]) -> Fits | None:
    """Whether columns of a row have given values; None for no columns."""
    if not fixed:
        return None
    return lambda row: all(row[at] is value or row[at] == value for at, value in fixed)
