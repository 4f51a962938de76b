"""Whether a plan's rows cannot repeat because keys determine them: DISTINCT over millions of rows costs the most.

Every row comes from one fact of each relation that is joined. If the wanted variables determine all these facts, two
rows that agree in them are one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.ir import Var
from tcrules.engine.plan.build import expression_variables
from tcrules.engine.plan.plan import (
    AntiJoin,
    Extend,
    Join,
    Plan,
    Scan,
    Select,
    SemiJoin,
    columns,
    is_distinct,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.ir import Predicate

#: Whether no two facts of a relation agree in a column.
IsKey: TypeAlias = Callable[["Predicate", int], bool]


def determined(plan: Plan, wanted: Iterable[Var], is_key: IsKey) -> bool:
    """Whether no two rows of a plan agree in the wanted variables. False if that is not clear."""
    known = set(wanted)
    open_ = _sources(plan)
    while True:
        left = [source for source in open_ if not _follows(source, known, is_key)]
        if not left or len(left) == len(open_):
            return not left
        for source in open_:
            if source not in left:
                known |= {source.variable} if isinstance(source, Extend) else set(columns(source))
        open_ = left


def _sources(plan: Plan) -> list[Plan]:
    """The parts of a plan of which each row has one row."""
    match plan:
        case Join(left, right):
            return _sources(left) + _sources(right)
        case Select(source) | SemiJoin(left=source) | AntiJoin(left=source):
            return _sources(source)
        case Extend(source):
            return [*_sources(source), plan]
        case _:
            return [plan]


def _follows(source: Plan, known: set[Var], is_key: IsKey) -> bool:
    """Whether the known variables determine the row of a source."""
    if isinstance(source, Extend):
        return expression_variables(source.value) <= known
    if isinstance(source, Scan):
        keys = [at for at, term in enumerate(source.terms) if isinstance(term, Var) and term in known]
        if any(is_key(source.predicate, at) for at in keys):
            return True
    found = columns(source)
    return set(found) <= known and is_distinct(source, found)
