"""Parquet files; DuckDB reads, checks and stores them, so that no fact passes through this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.files.faults import Fault, FileFault
from tcrules.engine.files.parquet import base_type, check_parquet, stored_types
from tcrules.importing.files import wanted_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from tcrules.importing.files import Source
    from tcrules.importing.target import NewRun


class ParquetReader:
    """Reads Parquet files into a run."""

    def __init__(self, target: NewRun, advance: Callable[[int], None]) -> None:
        self._target = target
        self._advance = advance

    def read(self, source: Source) -> dict[str, str]:
        """Add the facts of a file; return base types by column.

        Raises:
            FileFault: columns or values that do not fit, with their rows.
        """
        import duckdb

        try:
            with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
                types = self._check(connection, source)
            self._target.add_file(source.relation, source.path, types)
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            raise FileFault(source.path, [Fault(0, f"no readable Parquet file: {why}")]) from None
        self._advance(source.path.stat().st_size)
        return types

    def _check(self, connection: duckdb.DuckDBPyConnection, source: Source) -> dict[str, str]:
        stored = stored_types(connection, source.path)
        bases = {name: base_type(kind) for name, kind in stored.items()}
        if not source.known:
            strange = [name for name, base in bases.items() if base is None and name != "fact"]
            if strange:
                faults = [
                    Fault(0, f"column {name} is {stored[name]}: no int, float, bool or string")
                    for name in strange
                ]
                raise FileFault(source.path, faults, "convert these columns, or leave them out")
        predicate = wanted_columns(source, list(stored), {name: base or "" for name, base in bases.items()})
        faults = check_parquet(connection, source.path, predicate)
        if faults:
            raise FileFault(source.path, faults)
        types = {column.name: column.type.base for column in predicate.columns}
        if not source.known:
            self._target.declare(source.relation, types)
        return types
