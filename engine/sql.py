"""Plan -> SQL tree.

Consecutive scans, joins and selections become one SELECT, so that the engine's optimiser orders the
joins. What breaks a SELECT is a node whose rows must be distinct or counted, and a node that two parents
share: it becomes a materialised common table expression, evaluated once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sqlglot import exp
from tcrules.engine.ir import Compare, Const, Op, Term, Var
from tcrules.engine.plan.plan import (
    AntiJoin,
    Difference,
    Extend,
    GroupBy,
    Join,
    Plan,
    Project,
    Scan,
    Select,
    SemiJoin,
    Union,
    Unit,
    Values,
    Version,
    children,
    columns,
    is_distinct,
)
from tcrules.engine.sql_names import (
    FACT,
    ROUND,
    ROUND_PARAMETER,
    column,
    delta_of,
    identifier,
    name_of,
    named,
    subquery,
    superseded_of,
    table,
    table_of,
)
from tcrules.engine.sql_values import (
    aggregate,
    binary,
    both,
    case,
    cast,
    comparison,
    defined,
    expression,
    failing,
    literal,
    number,
)
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Sql: TypeAlias = exp.Expression


def query(plan: Plan, output: Sequence[tuple[str, Term]] | None = None, *, distinct: bool = True) -> Sql:
    """The SELECT that yields a plan's bindings; `output` names its columns (default: the variables by name).

    Args:
        plan: what to evaluate.
        output: column name and variable or constant, in order.
        distinct: whether repetitions are removed.
    """
    writer = _Writer(plan)
    if output is None:
        output = [(name_of(variable.name), variable) for variable in columns(plan)]
    core = writer.core(plan) if distinct else plan
    block = writer.block(core)
    values = [(text, _term(term, block.columns)) for text, term in output]
    wanted = [term for _, term in output if isinstance(term, Var)]
    return writer.finish(block.select(values, distinct=distinct and not is_distinct(core, wanted)))


def _term(term: Term, bound: Mapping[Var, Sql]) -> Sql:
    if isinstance(term, Var):
        return bound[term].copy()
    if isinstance(term, Const):
        return literal(term.value, term.type.base)
    raise ValueError("a wildcard has no value")


@dataclass(slots=True)
class _Block:
    """A SELECT that is being put together: tables, conditions, and where each variable is found."""

    sources: list[Sql] = field(default_factory=list)
    outer: list[Sql] = field(default_factory=list)
    where: list[Sql] = field(default_factory=list)
    columns: dict[Var, Sql] = field(default_factory=dict)
    #: Joining another table to it would change what its outer joins mean or cost.
    closed: bool = False

    def select(self, values: Sequence[tuple[str, Sql]], *, distinct: bool) -> Sql:
        listed = [named(value, text) for text, value in values] or [named(number(1), "$one")]
        found = exp.Select(expressions=listed)
        if self.sources:
            found = found.from_(self.sources[0], copy=False)
            for source in self.sources[1:]:
                # Not `join(…, join_type="CROSS")`, which parses its words each time.
                found.append("joins", exp.Join(this=source, kind="CROSS"))
        for join in self.outer:
            found.append("joins", join)
        if self.where:
            found = found.where(both(*self.where), copy=False)
        return found.distinct(copy=False) if distinct else found


class _Writer:
    """Writes one statement: hands out aliases and collects common table expressions."""

    def __init__(self, plan: Plan) -> None:
        self._parents: dict[int, int] = {}
        self._count(plan)
        self._tables: dict[int, str] = {}
        self._shared_tables: list[tuple[str, Sql]] = []
        self._aliases = 0

    def _count(self, plan: Plan) -> None:
        self._parents[id(plan)] = self._parents.get(id(plan), 0) + 1
        if self._parents[id(plan)] == 1:
            for child in children(plan):
                self._count(child)

    def _alias(self) -> str:
        self._aliases += 1
        return f"t{self._aliases}"

    def finish(self, select: Sql) -> Sql:
        """Put the common table expressions before the statement."""
        for name, statement in self._shared_tables:
            select = select.with_(identifier(name), as_=statement, materialized=True, copy=False)
        return select

    # -------------------------------------------------------------------------------------------- blocks

    def block(self, plan: Plan) -> _Block:
        """The plan as a block that its parent may extend."""
        if self._parents[id(plan)] > 1 and not isinstance(plan, Unit | Scan):
            return self._shared(plan)
        return self._open(plan)

    def loose(self, plan: Plan) -> _Block:
        """The plan for a parent that removes repetitions itself: projections only hide variables."""
        block = self.block(self.core(plan))
        block.columns = {variable: block.columns[variable] for variable in columns(plan)}
        return block

    def core(self, plan: Plan) -> Plan:
        """The plan below projections that nobody else reads."""
        while isinstance(plan, Project) and self._parents[id(plan)] == 1:
            plan = plan.source
        return plan

    def _open(self, plan: Plan) -> _Block:
        match plan:
            case Unit():
                return _Block()
            case Scan():
                return self._scan(plan)
            case Values():
                return self._values(plan)
            case Join(left, right):
                return self._join(self.block(left), self.block(right))
            case Select(source, test):
                block = self.block(source)
                block.where.append(comparison(test, block.columns))
                return block
            case Extend():
                return self._extend(plan)
            case SemiJoin(left, right):
                return self._filter_join("SEMI", left, right, ())
            case AntiJoin(left, Unit(), tests):
                block = self.block(left)
                block.where.append(failing(tests, block.columns))
                return block
            case AntiJoin(left, right, tests):
                return self._filter_join("ANTI", left, right, tests)
            case GroupBy():
                return self._group(plan)
            case Project() | Union() | Difference():
                return self._source(self._statement(plan), columns(plan))

    def _shared(self, plan: Plan) -> _Block:
        if id(plan) not in self._tables:
            statement = self._statement(plan)
            name = f"shared{len(self._shared_tables) + 1}"
            self._tables[id(plan)] = name
            self._shared_tables.append((name, statement))
        alias_name = self._alias()
        return self._over(table(self._tables[id(plan)], alias_name), alias_name, columns(plan))

    def _source(self, statement: Sql, bound: Sequence[Var]) -> _Block:
        alias = self._alias()
        return self._over(subquery(statement, alias), alias, bound)

    def _over(self, source: Sql, alias: str, bound: Sequence[Var]) -> _Block:
        return _Block(
            [source], columns={variable: column(name_of(variable.name), alias) for variable in bound}
        )

    def _statement(self, plan: Plan) -> Sql:
        """The plan as a SELECT of its variables by name."""
        match plan:
            case Project(source, wanted, distinct):
                inner = self.block(source)
                return inner.select(
                    _outputs(wanted, inner), distinct=distinct and not is_distinct(source, wanted)
                )
            case Union(parts):
                return self._combine(exp.Union, [self._part(part, columns(plan)) for part in parts])
            case Difference(left, right):
                return self._combine(exp.Except, [self._part(side, columns(plan)) for side in (left, right)])
            case _:
                block = self._open(plan)
                return block.select(_outputs(columns(plan), block), distinct=False)

    def _part(self, plan: Plan, wanted: Sequence[Var]) -> Sql:
        block = self.loose(plan)
        return block.select(_outputs(wanted, block), distinct=False)

    def _combine(self, kind: type[exp.SetOperation], parts: list[Sql]) -> Sql:
        result = parts[0]
        for part in parts[1:]:
            result = kind(this=result, expression=part, distinct=True)
        if len(parts) == 1:
            return result.distinct(copy=False)
        return result

    # -------------------------------------------------------------------------------------------- nodes

    def _scan(self, scan: Scan) -> _Block:
        name = (delta_of if scan.version is Version.DELTA else table_of)(scan.predicate)
        alias = self._alias()
        block = _Block([table(name, alias)])
        for declared, term in zip(scan.predicate.columns, scan.terms, strict=True):
            value = column(name_of(declared.name), alias)
            if isinstance(term, Const):
                block.where.append(binary(exp.EQ, value, literal(term.value, declared.type.base)))
            elif isinstance(term, Var) and term in block.columns:
                block.where.append(binary(exp.EQ, value, block.columns[term]))
            elif isinstance(term, Var):
                block.columns[term] = value
        if scan.version is Version.OLD:
            before = exp.Placeholder(this=ROUND_PARAMETER)
            block.where.append(binary(exp.LT, column(ROUND, alias), binary(exp.Sub, before, number(1))))
        return block

    def _values(self, values: Values) -> _Block:
        bases = [variable.type.base for variable in values.columns]
        if not values.rows or not bases:
            nothing = [(name_of(v.name), cast(exp.Null(), v.type.base)) for v in values.columns]
            some = _Block(where=[] if values.rows else [exp.false()])
            return self._source(some.select(nothing, distinct=False), values.columns)
        rows = [
            exp.Tuple(expressions=[literal(value, base) for value, base in zip(row, bases, strict=True)])
            for row in values.rows
        ]
        alias = self._alias()
        names = [identifier(name_of(variable.name)) for variable in values.columns]
        source = exp.Values(expressions=rows, alias=exp.TableAlias(this=identifier(alias), columns=names))
        return self._over(source, alias, values.columns)

    def _join(self, left: _Block, right: _Block) -> _Block:
        left, right = self._ready(left), self._ready(right)
        same = [
            binary(exp.EQ, left.columns[key], right.columns[key])
            for key in right.columns
            if key in left.columns
        ]
        return _Block(
            left.sources + right.sources,
            left.outer + right.outer,
            left.where + right.where + same,
            right.columns | left.columns,
        )

    def _ready(self, block: _Block) -> _Block:
        """The block, as a subquery if more tables cannot be joined to it directly."""
        if not block.closed:
            return block
        return self._source(
            block.select(_outputs(tuple(block.columns), block), distinct=False), tuple(block.columns)
        )

    def _extend(self, plan: Extend) -> _Block:
        block = self.block(plan.source)
        value = expression(plan.value, block.columns)
        if isinstance(plan.value, Op):
            block.where.append(defined(value))
        block.columns[plan.variable] = value
        return block

    def _filter_join(self, kind: str, left_plan: Plan, right_plan: Plan, tests: Sequence[Compare]) -> _Block:
        left = self.block(left_plan)
        self._need_source(left)
        right = self._one_source(right_plan)
        conditions = list(right.where)
        for variable, value in right.columns.items():
            if variable in left.columns:
                conditions.append(binary(exp.EQ, left.columns[variable], value))
        conditions += [comparison(test, right.columns | left.columns) for test in tests]
        left.outer.append(exp.Join(this=right.sources[0], kind=kind, on=both(*conditions)))
        return left

    def _one_source(self, plan: Plan) -> _Block:
        """A block over one table, so that it can stand on the right of an outer join."""
        block = self.loose(plan)
        if len(block.sources) == 1 and not block.outer:
            return block
        return self._source(
            block.select(_outputs(tuple(block.columns), block), distinct=False), tuple(block.columns)
        )

    def _group(self, plan: GroupBy) -> _Block:
        keys = self._ready(self.block(plan.keys))
        alias = self._alias()
        totals = subquery(self._totals(plan), alias)
        same = [binary(exp.EQ, keys.columns[key], column(name_of(key.name), alias)) for key in plan.by]
        total = column("$total", alias)
        if plan.kind in ("count", "distinct", "sum"):
            self._need_source(keys)
            keys.outer.append(exp.Join(this=totals, side="LEFT", on=both(*same)))
            keys.closed = True
            absent = exp.Is(this=column("$found", alias), expression=exp.Null())
            total = case((absent, literal(0, plan.result.type.base)), default=total)
        else:
            keys.sources.append(totals)
            keys.where += same
        keys.where.append(defined(total))
        keys.columns[plan.result] = total
        return keys

    def _need_source(self, block: _Block) -> None:
        """An outer join needs something on its left, also where the body starts with it."""
        if not block.sources:
            unit = exp.Select(expressions=[named(number(1), "$one")])
            block.sources = self._source(unit, ()).sources

    def _totals(self, plan: GroupBy) -> Sql:
        """SELECT by, total over the distinct inner bindings with a defined value, GROUP BY by."""
        rows = self.loose(plan.inner)
        wanted = tuple(dict.fromkeys((*plan.by, *plan.over)))
        values = _outputs(wanted, rows)
        if plan.value is not None:
            value = expression(plan.value, rows.columns)
            values = [*values, ("$value", value)]
            rows.where.append(defined(value))
        if plan.key is not None:
            key = expression(plan.key, rows.columns)
            values = [*values, ("$key", key)]
            rows.where.append(defined(key))
        base = plan.value.type.base if plan.value is not None else "int"
        source = self._source(rows.select(values, distinct=True), wanted)
        result = aggregate(plan.kind, column("$value"), base, column("$key"))
        keys = [(name_of(key.name), source.columns[key]) for key in plan.by]
        statement = source.select([*keys, ("$total", result), ("$found", exp.true())], distinct=False)
        # Without keys an aggregate has one row even over nothing; HAVING drops it, so that "absent" means the same.
        some = binary(exp.GT, exp.Count(this=exp.Star()), number(0))
        grouped = [source.columns[key].copy() for key in plan.by]
        return statement.group_by(*grouped, copy=False).having(some, copy=False)


def _outputs(wanted: Sequence[Var], block: _Block) -> list[tuple[str, Sql]]:
    return [(name_of(variable.name), block.columns[variable]) for variable in wanted]


__all__ = [
    "FACT",
    "ROUND",
    "ROUND_PARAMETER",
    "column",
    "delta_of",
    "identifier",
    "name_of",
    "named",
    "query",
    "subquery",
    "superseded_of",
    "table",
    "table_of",
]
