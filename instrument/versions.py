"""Runs that an older version recorded: what they have is read, and what they lack was not recorded."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.instrument.errors import RunError
from tcrules.instrument.schema import BY_NAME, RELATIONS, SCHEMA_VERSION, TYPES
from tcrules.instrument.tables import PARQUET, SQL_TYPES, exactly

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb
    from tcrules.instrument.schema import Relation

#: What every version has.
NEEDED = ("run", "process", "step", "instrument_gap")
#: Columns that were added, with the value that says what their lack said. Others leave their relation unreadable.
MEANT = {("recorded_steps", "relation"): "'*'"}
#: Version 1 looked at these in steps 0 to 2 and in every 16th, and did not say so.
SILENT = (
    *("gradient_point", "optimizer_slot", "module_call", "dropout_call", "loss_call"),
    *("batch_use", "copy_state", "alias", "rng"),
)


def require_current(run: Path, schema: int) -> None:
    """Make sure that segments are laid out as this version does it.

    Raises:
        RunError: another version wrote them.
    """
    if schema != SCHEMA_VERSION:
        raise RunError(
            f"'{run}' was recorded with schema version {schema} and never converted to facts",
            "convert it with the version of tcrules that recorded it (tcrules check), or record it again",
        )


def upgraded(run: Path, facts: Path) -> tuple[Path, dict[str, str]]:
    """Return a temporary folder with the facts of an older version as this one has them, and what they lack.

    Files that fit are linked; a relation that does not is empty, and is in the dict with the reason. The folder is
    removed when this process ends.

    Raises:
        RunError: what every version has is missing.
        duckdb.Error: a file is damaged.
    """
    import duckdb

    for name in NEEDED:
        if not (facts / f"{name}.parquet").exists():
            raise RunError(f"'{run}' is incomplete: facts/{name}.parquet is missing", "record the run again")
    home = Path(tempfile.mkdtemp(prefix="tcrules-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    lacking = {}
    with duckdb.connect() as connection:
        columns = _columns(connection, facts)
        for relation in RELATIONS:
            why = _upgrade(connection, relation, columns.get(relation.name), facts, home)
            if why:
                lacking[relation.name] = why
    for path in facts.glob("*.parquet"):
        if path.stem not in BY_NAME:
            _link(path, home / path.name)
    return home, lacking


def _columns(connection: duckdb.DuckDBPyConnection, facts: Path) -> dict[str, list[str]]:
    """The names of the columns of each relation."""
    query = "SELECT file_name, name FROM parquet_schema(?) WHERE coalesce(num_children, 0) = 0"
    found: dict[str, list[str]] = {}
    for file, name in connection.execute(query, [f"{exactly(facts)}/*.parquet"]).fetchall():
        found.setdefault(Path(file).stem, []).append(name)
    return found


def _upgrade(
    connection: duckdb.DuckDBPyConnection,
    relation: Relation,
    columns: Iterable[str] | None,
    facts: Path,
    home: Path,
) -> str:
    """Put one relation into the new folder; returns why it could not be read."""
    path, target = facts / f"{relation.name}.parquet", home / f"{relation.name}.parquet"
    there = set(columns or ())
    missing = [column.name for column in relation.columns if column.name not in there]
    if columns is not None and not missing:
        _link(path, target)
        return ""
    known = columns is not None and all((relation.name, name) in MEANT for name in missing)
    values = ", ".join(
        [
            'NULL::BIGINT AS "fact"' if not known else '"fact"',
            *(
                (f"{MEANT[relation.name, one.name]} AS " if one.name in missing else "") + f'"{one.name}"'
                if known
                else f'NULL::{SQL_TYPES[TYPES[one.type]]} AS "{one.name}"'
                for one in relation.columns
            ),
        ]
    )
    source = f" FROM read_parquet('{_quoted(path)}') ORDER BY fact" if known else " WHERE false"
    place = str(target).replace("'", "''")
    connection.execute(f"COPY (SELECT {values}{source}) TO '{place}' ({PARQUET})")
    if known:
        return ""
    lack = f"without {', '.join(missing)}" if columns is not None else "without this relation"
    return f"the run was recorded by an older version, {lack}"


def _quoted(path: Path) -> str:
    return exactly(path).replace("'", "''")


def _link(path: Path, target: Path) -> None:
    try:
        target.symlink_to(path.absolute())
    except OSError:  # a system without links
        shutil.copyfile(path, target)
