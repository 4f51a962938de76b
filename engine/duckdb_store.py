"""Facts in DuckDB: observed relations over Parquet or from memory, derived relations as temporary tables.

`derive.py` fills the tables of derived relations; this file opens, creates, inserts and reads.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from tcrules.engine import sql
from tcrules.engine.derive import derive
from tcrules.engine.exact_sum import exact_sum
from tcrules.engine.facts import MemoryFacts, Stored
from tcrules.engine.given import scanned
from tcrules.engine.ir import Any_, Atom, Body, Fact, Predicate, Program, Value, Var
from tcrules.engine.limits import TOO_MANY, EvaluationLimit, current, stop_with
from tcrules.engine.plan.build import compile_body
from tcrules.engine.plan.determined import determined
from tcrules.engine.plan.plan import Plan, columns
from tcrules.engine.reads import dependencies
from tcrules.engine.run_files import check_columns, escaped
from tcrules.engine.sql_names import not_increasing
from tcrules.engine.sql_values import EXACT_SUM, binary, cast, data_type, normal, number
from tcrules.engine.store import StoreFault
from tcrules.engine.values import normalise
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

__all__ = ["DuckDBStore", "Settings", "StoreFault"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of the store. Sizes as DuckDB writes them, e.g. "2GB" (empty `memory`: most of the machine).

    What does not fit into `memory` goes to the system's folder for temporary files, up to `spill`.
    """

    threads: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))
    memory: str = ""
    spill: str = "16GB"
    max_rounds: int = 100_000


def _nothing() -> None:
    pass


@dataclass(slots=True)
class DuckDBStore:
    """One run's facts and what rules derive from them. Use as a context manager, or call `close`.

    Relations are opened and derived when something first reads them.
    """

    connection: duckdb.DuckDBPyConnection
    program: Program
    settings: Settings
    #: Makes the table or view of an observed relation.
    _open: Callable[[DuckDBStore, Predicate], None]
    #: Names of the relations whose tables are complete.
    _ready: set[str] = field(default_factory=set)
    _adds_floats: bool = False
    #: Whether the calls of a relation that was asked for only increase.
    _keyed: dict[str, bool] = field(default_factory=dict)
    #: Ends the store's part in the limit of time.
    _forget: Callable[[], None] = _nothing

    # -------------------------------------------------------------------------------------------- opening

    @classmethod
    def open(cls, facts_folder: Path, program: Program, settings: Settings | None = None) -> DuckDBStore:
        """A store over `<relation>.parquet` files; a relation without a file was not recorded and is empty.

        Raises:
            StoreFault: when a relation is first read whose file does not have its columns.
        """

        def view(store: DuckDBStore, predicate: Predicate) -> None:
            store._view(predicate, facts_folder / f"{predicate.name}.parquet")

        return cls._connect(program, settings, view)

    @classmethod
    def from_memory(
        cls, facts: MemoryFacts, program: Program, settings: Settings | None = None
    ) -> DuckDBStore:
        """A store with a copy of facts held in memory."""

        def copy(store: DuckDBStore, predicate: Predicate) -> None:
            store.create(predicate, sql.table_of(predicate), sql.FACT)
            store.insert(predicate, facts.relations.get(predicate.name, ()))

        return cls._connect(program, settings, copy)

    @classmethod
    def _connect(
        cls,
        program: Program,
        settings: Settings | None,
        open_relation: Callable[[DuckDBStore, Predicate], None],
    ) -> DuckDBStore:
        import duckdb

        chosen = settings or Settings()
        options: dict[str, Any] = {
            "threads": chosen.threads,
            "autoinstall_known_extensions": False,
            # else DuckDB spills without bound into the folder that the user stands in
            "temp_directory": os.path.join(tempfile.gettempdir(), f"tcrules-{os.getpid()}"),
            "max_temp_directory_size": chosen.spill,
        }
        memory = chosen.memory or (f"{most}B" if (most := current().memory) is not None else "")
        if memory:
            options["memory_limit"] = memory
        connection = duckdb.connect(":memory:", config=options)
        connection.execute("SET preserve_insertion_order = false")
        store = cls(connection, program, chosen, open_relation)
        store._forget = stop_with(connection.interrupt)
        return store

    def close(self) -> None:
        """Free the database."""
        self._forget()
        if self._adds_floats:
            self.connection.remove_function(EXACT_SUM)
            self._adds_floats = False
        self.connection.close()

    def __enter__(self) -> DuckDBStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------- statements

    def execute(self, statement: Any, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """Run an SQL tree, which is used up: writing it may change it."""
        import duckdb

        text = statement.sql(dialect="duckdb", copy=False)
        if EXACT_SUM in text:
            self._register_exact_sum()
        try:
            try:
                return self.connection.execute(text, parameters)
            except duckdb.InternalException:
                # A fault of the optimiser, seen in 2.0 with deep anti-joins; the plan as written works, from here on.
                self.connection.execute("PRAGMA disable_optimizer").fetchall()
                return self.connection.execute(text, parameters)
        except duckdb.Error as fault:
            raise StoreFault(f"{fault}\nin: {text}") from fault

    def _register_exact_sum(self) -> None:
        if not self._adds_floats:
            self.connection.create_function(EXACT_SUM, exact_sum, ["DOUBLE[]"], "DOUBLE")
            self._adds_floats = True

    def create_as(self, name: str, select: Any, kind: str = "TABLE") -> int:
        """A temporary table (or view) of the rows of a SELECT; how many they are, for a table."""
        target = sql.table(name)
        create = exp.Create(this=target, kind=kind, replace=True, properties=_temporary(), expression=select)
        row = self.execute(create).fetchone()
        return int(row[0]) if row else 0

    def create(self, predicate: Predicate, name: str, extra: str) -> None:
        """An empty temporary table: the columns of a relation after the column `extra`, a whole number."""
        declared = [
            (extra, "int"),
            *((sql.name_of(column.name), column.type.base) for column in predicate.columns),
        ]
        columns = [exp.ColumnDef(this=sql.identifier(text), kind=data_type(base)) for text, base in declared]
        schema = exp.Schema(this=sql.table(name), expressions=columns)
        self.execute(exp.Create(this=schema, kind="TABLE", properties=_temporary()))

    def drop(self, name: str) -> None:
        """Remove a temporary table."""
        # Parsed, not built: the argument that holds the tables has changed its name between versions of sqlglot.
        statement = sqlglot.parse_one("DROP TABLE IF EXISTS name", dialect="duckdb")
        statement.find(exp.Table).replace(sql.table(name))
        self.execute(statement)

    def rename(self, name: str, new: str) -> None:
        """Rename a temporary table."""
        rename = exp.AlterRename(this=sql.table(new))
        self.execute(exp.Alter(this=sql.table(name), kind="TABLE", actions=[rename]))

    # -------------------------------------------------------------------------------------------- observed facts

    def insert(self, predicate: Predicate, facts: Sequence[Stored]) -> None:
        """Add given facts to the table of their relation."""
        if facts:
            with scanned(self.connection, predicate, facts) as select:
                insert = exp.Insert(this=sql.table(sql.table_of(predicate)), expression=select)
                self.execute(insert).fetchall()

    def give(self, predicate: Predicate, facts: Iterable[Fact]) -> None:
        """A relation that is given rather than recorded or derived (the constants of a rule family)."""
        self.create(predicate, sql.table_of(predicate), sql.FACT)
        self.insert(predicate, [Stored(0, values) for values in facts])

    def _view(self, predicate: Predicate, path: Path) -> None:
        if not path.exists():
            self.create(predicate, sql.table_of(predicate), sql.FACT)
            return
        source = exp.Table(
            this=exp.Anonymous(this="READ_PARQUET", expressions=[exp.Literal.string(escaped(path))])
        )
        self._check_columns(predicate, path, exp.select("*").from_(source))
        shown = [sql.named(sql.column("fact"), sql.FACT)]
        shown += [
            sql.named(normal(sql.column(column.name), column.type.base), sql.name_of(column.name))
            for column in predicate.columns
        ]
        self.create_as(sql.table_of(predicate), exp.Select(expressions=shown).from_(source), "VIEW")

    def _check_columns(self, predicate: Predicate, path: Path, rows: Any) -> None:
        found = {str(row[0]): str(row[1]) for row in self.execute(exp.Describe(this=rows)).fetchall()}
        check_columns(predicate, path, found)

    # -------------------------------------------------------------------------------------------- derived facts

    def evaluate(self, bodies: Iterable[Body]) -> None:
        """Open and derive the relations that the bodies read, and those that these read; nothing else."""
        needed = dependencies(self.program, bodies) - self._ready
        for name in sorted(needed):
            predicate = self.program.predicates.get(name)
            if predicate is not None and predicate.observed:
                self._open(self, predicate)
                self._ready.add(name)
        for stratum in self.program.strata:
            names = {predicate.name for predicate in stratum.predicates}
            if names & needed:
                derive(self, stratum)
                self._ready |= names

    # -------------------------------------------------------------------------------------------- reading

    def rows(self, statement: Any, bases: Sequence[str], parameters: object = None) -> list[Fact]:
        """The rows of a SELECT whose columns have the given base types, floats normalised."""
        found: list[Fact] = self.execute(statement, parameters).fetchall()
        if "float" not in bases:
            return found
        return [tuple(map(normalise, row)) for row in found]

    def select(
        self,
        plan: Plan,
        output: Sequence[Var],
        limit: int | None = None,
        *,
        first: Sequence[Var] = (),
        within: Var | None = None,
    ) -> list[Fact]:
        """See `Store.select`."""
        listed = sql.query(plan, [(sql.name_of(variable.name), variable) for variable in output])
        select = exp.Select(expressions=[exp.Star()]).from_(sql.subquery(listed, "bindings"), copy=False)
        keys = [sql.column(sql.name_of(variable.name)) for variable in (*first, *output)]
        if limit is not None and within is not None:
            place = exp.Window(
                this=exp.RowNumber(),
                partition_by=[sql.column(sql.name_of(within.name))],
                order=exp.Order(expressions=[exp.Ordered(this=key.copy()) for key in keys]),
            )
            select.set("qualify", exp.Qualify(this=binary(exp.LTE, place, number(limit))))
        elif limit is not None:
            select = select.limit(limit, copy=False)
        found = self.rows(
            select.order_by(*keys, copy=False) if keys else select, [v.type.base for v in output]
        )
        return found if output else [() for _ in found[:1]]

    def count(self, plan: Plan, keys: Sequence[Var], limit: int | None = None) -> list[Fact]:
        """See `Store.count`."""
        listed = sql.query(plan, [(sql.name_of(key.name), key) for key in keys], distinct=False)
        columns = [sql.column(sql.name_of(key.name)) for key in keys]
        select = exp.Select(expressions=[*columns, exp.Count(this=exp.Star())]).from_(
            sql.subquery(listed, "bindings"), copy=False
        )
        if columns:
            select = select.group_by(*(column.copy() for column in columns), copy=False)
        if limit is not None:
            select = select.limit(limit, copy=False)
        return self.rows(select, [key.type.base for key in keys])

    def plan(self, body: Body) -> Plan:
        """How to evaluate a body: its literals as they stand, since the database orders joins itself."""
        return compile_body(body)

    def create_from(self, relation: Atom, plan: Plan, most: int | None = None) -> int:
        """See `Store.create_from`."""
        names = [sql.name_of(column.name) for column in relation.predicate.columns]
        output = list(zip(names, relation.arguments, strict=True))
        wanted = [term for term in relation.arguments if isinstance(term, Var)]
        distinct = not determined(plan, wanted, self._is_key)
        name, select = sql.table_of(relation.predicate), sql.query(plan, output, distinct=distinct)
        if most is None:
            return self.create_as(name, select)
        made = self.create_as(name, select.limit(most + 1, copy=False))
        if made > most:
            raise EvaluationLimit(TOO_MANY.format(most=most))
        return made

    def _is_key(self, predicate: Predicate, at: int) -> bool:
        """Whether a column tells the facts of a relation apart: the member of a family, or ids that only increase.

        A file in the order of its ids is recognised in one pass, a hundredth of the cost of comparing all ids.
        """
        if predicate.name.startswith("$family"):
            return at == 0
        column = predicate.columns[at]
        if not predicate.observed or column.type.name != "call" or column.name != "call":
            return False
        if predicate.name not in self._keyed:
            statement = not_increasing(sql.table(sql.table_of(predicate)), sql.name_of(column.name))
            self._keyed[predicate.name] = not self.execute(statement).fetchall()
        return self._keyed[predicate.name]

    def drop_relation(self, predicate: Predicate) -> None:
        """Forget the table of a relation that was given or created."""
        self.drop(sql.table_of(predicate))

    def query(self, body: Body, limit: int | None = None) -> tuple[tuple[str, ...], list[Fact]]:
        """The bindings of a body: names of its variables, then rows of their values in order."""
        self.evaluate([body])
        plan = compile_body(body)
        # Variables with a leading mark were made by analysis and mean nothing to a reader.
        shown = tuple(variable for variable in columns(plan) if not variable.name.startswith("#"))
        return tuple(variable.name for variable in shown), self.select(plan, shown, limit)

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[Stored]:
        """Facts whose column `i` equals `bound[i]`, in id order (derived ones: in order of their rounds)."""
        first = sql.FACT if predicate.observed else sql.ROUND
        select, parameters = self._matching(predicate, first, bound)
        select = select.order_by(*(number(place) for place in range(1, len(predicate.columns) + 2)))
        for row in self.rows(select, [column.type.base for column in predicate.columns], parameters):
            yield Stored(int(row[0]) if predicate.observed else 0, row[1:])

    def rounds(self, predicate: Predicate) -> dict[Fact, int]:
        """The round, from 1, in which each fact of a derived relation was found.

        Premises of a fact that belong to its own stratum have lower rounds.
        """
        found = self.rows(self._all(predicate, sql.ROUND), [column.type.base for column in predicate.columns])
        return {row[1:]: int(row[0]) for row in found}

    def round_of(self, predicate: Predicate, fact: Fact) -> int | None:
        """The round in which one derived fact was found; None if it does not hold or is observed."""
        if predicate.observed:
            return None
        select, parameters = self._matching(predicate, sql.ROUND, dict(enumerate(fact)))
        row = self.execute(select, parameters).fetchone()
        return int(row[0]) if row else None

    def superseded(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[tuple[Fact, int]]:
        """Facts of a relation that keeps the best ones which better ones replaced, with their rounds."""
        select, parameters = self._matching(predicate, sql.ROUND, bound, sql.superseded_of(predicate))
        for row in self.rows(select, [column.type.base for column in predicate.columns], parameters):
            yield row[1:], int(row[0])

    def _matching(
        self, predicate: Predicate, first: str, bound: Mapping[int, Value], table: str = ""
    ) -> tuple[Any, object]:
        """SELECT first, columns FROM the relation (or `table`) WHERE column `i` = `bound[i]`, and its parameters."""
        select = self._all(predicate, first, table)
        for place in bound:
            name = sql.name_of(predicate.columns[place].name)
            given = cast(exp.Placeholder(this=f"c{place}"), predicate.columns[place].type.base)
            select = select.where(binary(exp.EQ, sql.column(name), given))
        return select, {f"c{place}": value for place, value in bound.items()} or None

    def _all(self, predicate: Predicate, first: str, table: str = "") -> Any:
        self.evaluate([(Atom(predicate, tuple(Any_() for _ in predicate.columns)),)])
        names = [sql.name_of(column.name) for column in predicate.columns]
        return exp.Select(expressions=[sql.column(name) for name in (first, *names)]).from_(
            sql.table(table or sql.table_of(predicate))
        )


def _temporary() -> Any:
    return exp.Properties(expressions=[exp.TemporaryProperty()])
