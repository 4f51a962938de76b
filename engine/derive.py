"""Derived relations in a DuckDB store.

A fact enters the table of its relation once, with the round in which it was found. Non-recursive strata
need one statement a predicate. Recursive strata are evaluated semi-naively, driven from here: each round
joins the facts of the last round (delta) with all facts and keeps what is new. WITH RECURSIVE is never
used: it returns wrong results for non-linear rules without an error.

Where a relation keeps the best fact, new is what is better than the known fact with the same key; that one then moves
to a table of its own, for proofs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlglot import exp
from tcrules.engine import limits, sql
from tcrules.engine.ir import Atom, Predicate, Rule, Stratum
from tcrules.engine.plan.build import compile_rule
from tcrules.engine.plan.plan import Plan, Version
from tcrules.engine.sql_values import binary, both, call, number
from tcrules.engine.store import StoreFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcrules.engine.duckdb_store import DuckDBStore

    Compiled: TypeAlias = list[tuple[Rule, Plan]]


def derive(store: DuckDBStore, stratum: Stratum) -> None:
    """Create and fill the tables of a stratum; those that it reads must be complete."""
    members = {predicate.name for predicate in stratum.predicates}
    for predicate in stratum.predicates:
        store.create(predicate, sql.table_of(predicate), sql.ROUND)
        if predicate.best:
            store.create(predicate, sql.superseded_of(predicate), sql.ROUND)
        plans = [
            (rule, compile_rule(rule)) for rule in _rules(stratum, predicate) if not _recursive(rule, members)
        ]
        _insert_new(store, predicate, plans, 1, sql.table_of(predicate))
    if stratum.recursive:
        _fixpoint(store, stratum, members)


def _rules(stratum: Stratum, predicate: Predicate) -> list[Rule]:
    return [rule for rule in stratum.rules if rule.head.predicate.name == predicate.name]


def _recursive(rule: Rule, members: set[str]) -> list[int]:
    """Positions of the body's atoms over relations of the same stratum; such atoms are never nested."""
    return [
        place
        for place, literal in enumerate(rule.body)
        if isinstance(literal, Atom) and literal.predicate.name in members
    ]


def _delta_plans(rule: Rule, members: set[str]) -> Iterator[Plan]:
    """One plan for each recursive atom: that one reads the delta, those before it all facts, those after it the old.

    So each combination of facts of which at least one is new is met once.
    """
    places = _recursive(rule, members)
    for chosen in places:
        versions = {place: Version.OLD if place > chosen else Version.TOTAL for place in places}
        yield compile_rule(rule, versions | {chosen: Version.DELTA})


def _fixpoint(store: DuckDBStore, stratum: Stratum, members: set[str]) -> None:
    plans: dict[str, Compiled] = {}
    for predicate in stratum.predicates:
        rules = _rules(stratum, predicate)
        plans[predicate.name] = [(rule, plan) for rule in rules for plan in _delta_plans(rule, members)]
        everything = exp.select("*").from_(sql.table(sql.table_of(predicate)))
        store.create_as(sql.delta_of(predicate), everything)
    found, most = 0, limits.current().facts
    for current in range(2, store.settings.max_rounds + 2):
        for predicate in stratum.predicates:
            store.create(predicate, _new(predicate), sql.ROUND)
            _insert_new(store, predicate, plans[predicate.name], current, _new(predicate))
        # All deltas change together: rules of one predicate must not see what another found in this round.
        new = sum([_advance(store, predicate) for predicate in stratum.predicates])
        if not new:
            break
        found += new
        if most is not None and found > most:
            raise limits.EvaluationLimit(f"more than {most} facts of {', '.join(sorted(members))}")
    else:
        names, best = ", ".join(sorted(members)), any(predicate.best for predicate in stratum.predicates)
        why = "does a cycle make values better without end?" if best else "do the rules count up?"
        raise StoreFault(f"{names}: still new facts after {store.settings.max_rounds} rounds; {why}")
    for predicate in stratum.predicates:
        store.drop(sql.delta_of(predicate))


def _new(predicate: Predicate) -> str:
    return f"{sql.table_of(predicate)}$new"


def _insert_new(store: DuckDBStore, predicate: Predicate, plans: Compiled, current: int, into: str) -> None:
    """Add to `into` what the plans derive and the relation does not hold yet, as found in round `current`."""
    if not plans:
        return
    names = [sql.name_of(column.name) for column in predicate.columns]
    found = [sql.named(sql.column(name, "found"), name) for name in names]
    select = exp.Select(expressions=[sql.named(number(current), sql.ROUND), *found]).distinct(copy=False)
    derived = _derived(plans, names)
    select = select.from_(
        sql.subquery(_best(derived, names, predicate.best) if predicate.best else derived, "found"),
        copy=False,
    )
    if current > 1:
        same = _same(names, "found", "known")
        if predicate.best:
            as_good = exp.LTE if predicate.best == "min" else exp.GTE
            same[-1] = binary(as_good, sql.column(names[-1], "known"), sql.column(names[-1], "found"))
        known = sql.table(sql.table_of(predicate), "known")
        select.append("joins", exp.Join(this=known, kind="ANTI", on=both(*same)))
    parameters = {sql.ROUND_PARAMETER: current} if any(select.find_all(exp.Placeholder)) else None
    store.execute(exp.Insert(this=sql.table(into), expression=select), parameters)


def _same(names: list[str], left: str, right: str) -> list[Any]:
    return [binary(exp.EQ, sql.column(name, left), sql.column(name, right)) for name in names]


def _best(derived: Any, names: list[str], best: str) -> Any:
    """The best last value for each value of the other columns."""
    *keys, value = names
    found = [*map(sql.column, keys), sql.named(call(best.upper(), sql.column(value)), value)]
    select = exp.Select(expressions=found).from_(sql.subquery(derived, "derived"), copy=False)
    # Without keys there is one row even over nothing.
    some = binary(exp.GT, exp.Count(this=exp.Star()), number(0))
    return select.group_by(*map(sql.column, keys), copy=False).having(some, copy=False)


def _derived(plans: Compiled, names: list[str]) -> Any:
    union: Any = None
    for rule, plan in plans:
        output = list(zip(names, rule.head.arguments, strict=True))
        part = exp.Select(expressions=[exp.Star()]).from_(
            sql.subquery(sql.query(plan, output, distinct=False), "part"), copy=False
        )
        union = part if union is None else exp.Union(this=union, expression=part, distinct=False)
    return union


def _advance(store: DuckDBStore, predicate: Predicate) -> int:
    """Make the new facts of a predicate its delta and add them to the relation; how many they are."""
    delta = sql.delta_of(predicate)
    store.drop(delta)
    store.rename(_new(predicate), delta)
    if predicate.best:
        _supersede(store, predicate)
    everything = exp.select("*").from_(sql.table(delta))
    row = store.execute(exp.Insert(this=sql.table(sql.table_of(predicate)), expression=everything)).fetchone()
    return int(row[0]) if row else 0


def _supersede(store: DuckDBStore, predicate: Predicate) -> None:
    """Move the facts for which the delta has better ones out of the relation."""
    keys = [sql.name_of(column.name) for column in predicate.columns[:-1]]
    known, better = sql.table_of(predicate), sql.table(sql.delta_of(predicate), "better")
    replaced = exp.Exists(
        this=exp.select("1").from_(better, copy=False).where(both(*_same(keys, "better", known)), copy=False)
    )
    moved = exp.select("*").from_(sql.table(known)).where(replaced.copy(), copy=False)
    store.execute(exp.Insert(this=sql.table(sql.superseded_of(predicate)), expression=moved))
    store.execute(exp.Delete(this=sql.table(known), where=exp.Where(this=replaced)))
