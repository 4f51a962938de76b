"""Templates and facts -> statistics of all candidate rules of a template, by one grouped query.

A candidate is a binding of the metavariables. Its statistics are counts of instances, split by the values of the
template's guard variables: how often it was triggered, and how often it held. Statistics of runs add up, so learning
never needs the facts again.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from tcrules.engine import sql
from tcrules.engine.check import relation
from tcrules.engine.plan.build import compile_body
from tcrules.engine.plan.plan import Plan, Project, Union, Values, columns
from tcrules.engine.sql_values import binary, both, number
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.duckdb_store import DuckDBStore
    from tcrules.engine.ir import Atom, Fact, Template, Var

_NOTHING: Mapping[str, Any] = MappingProxyType({})
#: How many candidates a template may have in one run.
MOST_CANDIDATES = 100_000


class TooManyCandidates(Exception):
    """A template has more candidates in a run than allowed; the text names it."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """Counts for one candidate and one combination of guard values.

    `bound` and `free` are the values of the template's metavariables, `guard` those of its guard variables, each in
    the template's order. `steps` and `objects` are the numbers of distinct steps and of distinct values of what the
    template is `about` among the triggers; 0 where the template has none.
    """

    bound: Fact
    free: Fact
    guard: Fact
    triggers: int
    held: int
    steps: int = 0
    objects: int = 0


def statistics(
    template: Template, store: DuckDBStore, most_candidates: int = MOST_CANDIDATES
) -> tuple[Statistic, ...]:
    """The statistics of each candidate that held at least once (without free metavariables: that was triggered).

    In the order of the values. A candidate has a row for each combination of guard values with a trigger, whether it
    held there or not.

    Raises:
        TooManyCandidates: the template has more than `most_candidates`.
    """
    invariant = template.invariant
    instances = relation("$instance", invariant.variables)
    held = relation("$held", (*invariant.variables, *template.free))
    store.evaluate([invariant.each, *invariant.expect])
    store.create_from(instances, compile_body(invariant.each))
    store.create_from(held, _held(template, compile_body((instances,))))
    try:
        return _statistics(template, store, instances, held, most_candidates)
    finally:
        store.drop_relation(instances.predicate)
        store.drop_relation(held.predicate)


def _held(template: Template, trigger: Plan) -> Plan:
    """Instances with each value of the free metavariables for which an alternative holds."""
    wanted = (*columns(trigger), *template.free)
    if not template.invariant.expect:
        return Values(wanted, ())
    parts = tuple(Project(compile_body(body, trigger), wanted) for body in template.invariant.expect)
    return Union(parts)


def _statistics(
    template: Template, store: DuckDBStore, instances: Atom, held: Atom, most: int
) -> tuple[Statistic, ...]:
    bound, free, guard = template.bound, template.free, template.guard
    candidates = _grouped(held if free else instances, (*bound, *free))
    (total,) = store.rows(
        exp.select(exp.Count(this=exp.Star())).from_(sql.subquery(candidates, "c")), ["int"]
    )
    if int(total[0]) > most:
        raise TooManyCandidates(
            f"template {template.invariant.id}: {total[0]} combinations of values of its metavariables in this "
            f"run, more than {most}; bind them more tightly or raise the limit"
        )
    triggers = _grouped(instances, (*bound, *guard), _measures(template))
    holding = _grouped(held, (*bound, *free, *guard), {"$held": exp.Count(this=exp.Star())})
    shown = [
        _column(variable, "c" if variable in (*bound, *free) else "t") for variable in (*bound, *free, *guard)
    ]
    measured = [sql.column(name, "t") for name in ("$triggers", "$steps", "$objects")]
    count = exp.Coalesce(this=sql.column("$held", "h"), expressions=[number(0)])
    statement = (
        exp.Select(expressions=[*shown, count, *measured])
        .from_(sql.subquery(candidates, "c"))
        .join(sql.subquery(triggers, "t"), on=_agree(bound, "c", "t"))
        .join(
            sql.subquery(holding, "h"),
            on=both(_agree((*bound, *free), "c", "h"), _agree(guard, "t", "h")),
            join_type="left",
        )
        .order_by(*(number(place) for place in range(1, len(shown) + 1)))
    )
    rows = store.rows(statement, [variable.type.base for variable in (*bound, *free, *guard)])
    return tuple(_statistic(template, row) for row in rows)


def _statistic(template: Template, row: Fact) -> Statistic:
    first, second = len(template.bound), len(template.bound) + len(template.free)
    held, triggers, steps, objects = (int(value) for value in row[-4:])
    return Statistic(row[:first], row[first:second], row[second:-4], triggers, held, steps, objects)


def _measures(template: Template) -> dict[str, Any]:
    """What is counted among the triggers of a candidate and guard vector, by column name."""
    step, metavariables = template.invariant.step, (*template.bound, *template.free)
    about = [variable for variable in template.invariant.about if variable not in metavariables]
    distinct_steps = exp.Distinct(expressions=[_column(step)]) if step is not None else None
    distinct_objects = exp.Distinct(expressions=[exp.Tuple(expressions=[_column(v) for v in about])])
    return {
        "$triggers": exp.Count(this=exp.Star()),
        "$steps": exp.Count(this=distinct_steps) if distinct_steps is not None else number(0),
        "$objects": exp.Count(this=distinct_objects) if about else number(0),
    }


def _grouped(atom: Atom, keys: Sequence[Var], measures: Mapping[str, Any] = _NOTHING) -> Any:
    """SELECT keys, measures FROM the table of an atom GROUP BY keys."""
    shown = [sql.named(value, name) for name, value in measures.items()]
    shown += [_column(key) for key in keys]
    # Grouping by a constant where there are no keys: without a group, an empty table would have one row.
    groups = [_column(key) for key in keys] or [exp.Literal.string("")]
    return (
        exp.Select(expressions=shown or [sql.named(number(1), "$one")])
        .from_(sql.table(sql.table_of(atom.predicate)))
        .group_by(*groups)
    )


def _column(variable: Var, source: str | None = None) -> Any:
    return sql.column(sql.name_of(variable.name), source)


def _agree(keys: Sequence[Var], left: str, right: str) -> Any:
    return both(*(binary(exp.EQ, _column(key, left), _column(key, right)) for key in keys))
