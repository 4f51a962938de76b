"""What the Parquet files of a run must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.store import StoreFault

if TYPE_CHECKING:
    from pathlib import Path

    from tcrules.engine.ir import Predicate

SQL_TYPES = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}


def check_columns(predicate: Predicate, path: Path, found: dict[str, str]) -> None:
    """Raises:
    StoreFault: the columns of a file, as SQL types by name, are not those of its relation.
    """
    wanted = {"fact": "BIGINT"} | {column.name: SQL_TYPES[column.type.base] for column in predicate.columns}
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {kind}"
        for name, kind in wanted.items()
        if found.get(name) != kind
    ]
    if wrong:
        raise StoreFault(
            f"{path}: not the columns of relation {predicate.name}: {'; '.join(wrong)}. "
            "The run was recorded with another version of the schema, or the file is damaged."
        )


def escaped(path: Path) -> str:
    """The path as a pattern that matches only itself."""
    return "".join(f"[{character}]" if character in "[*?" else character for character in str(path))
