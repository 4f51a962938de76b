"""Names of tables and columns in a store, and the SQL trees that stand for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sqlglot import exp

if TYPE_CHECKING:
    from tcrules.engine.ir import Predicate

    Sql: TypeAlias = exp.Expression

#: Columns that relations have beside their own; `$` occurs in no name of the language.
FACT, ROUND = "$fact", "$round"
#: The prepared-statement parameter that holds the number of the current round.
ROUND_PARAMETER = "round"


def name_of(text: str) -> str:
    """The name as engines that ignore case can tell it apart from others: upper-case letters are also numbered."""
    upper = sum(1 << place for place, character in enumerate(text) if character.isupper())
    return f"{text}${upper:x}" if upper else text


def identifier(text: str) -> Sql:
    return exp.to_identifier(text, quoted=True)


def table(text: str, alias: str | None = None) -> Sql:
    """A table by its name in the store."""
    return exp.Table(this=identifier(text), alias=exp.TableAlias(this=identifier(alias)) if alias else None)


def column(text: str, source: str | None = None) -> Sql:
    return exp.Column(this=identifier(text), table=identifier(source) if source else None)


def named(value: Sql, text: str) -> Sql:
    return exp.Alias(this=value if value.parent is None else value.copy(), alias=identifier(text))


def subquery(select: Sql, alias: str) -> Sql:
    """A SELECT as a table; the tree is taken over, not copied."""
    return exp.Subquery(this=select, alias=exp.TableAlias(this=identifier(alias)))


def table_of(predicate: Predicate) -> str:
    """The name of the table or view of a relation."""
    return name_of(predicate.name)


def delta_of(predicate: Predicate) -> str:
    """The name of the table with the facts that the last round found."""
    return f"{name_of(predicate.name)}$delta"


def superseded_of(predicate: Predicate) -> str:
    """The name of the table with the facts that better ones replaced."""
    return f"{name_of(predicate.name)}$superseded"


def not_increasing(rows: exp.Table, name: str) -> Sql:
    """A row if a column does not only increase, in the order in which the rows are stored."""
    before = exp.Window(this=exp.Lag(this=column(name)))
    listed = exp.Select(expressions=[named(column(name), "id"), named(before, "before")]).from_(rows)
    falls = exp.LTE(this=column("id"), expression=column("before"))
    return exp.select("1").from_(subquery(listed, "pairs")).where(falls).limit(1)
