"""`tcrules query --facts`: a rule file over facts in files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tcrules.cli.common import remark
from tcrules.cli.query import answer_format, on_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tcrules.engine.ir import Predicate, Value
    from tcrules.engine.vector import VectorStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to do with results; the options of the command."""

    out: Path | None
    relations: tuple[str, ...]
    count: bool
    form: str | None
    limit: int | None
    #: How many proofs of each fact to print; 0 prints the answers alone.
    proofs: int = 0


def run(
    folder: Path,
    path: Path,
    goal: str | None,
    imports: Sequence[Path],
    parameters: Mapping[str, Value],
    wanted: Wanted,
) -> None:
    """Evaluate what is wanted and nothing else; print or write it."""
    # NumPy's linear algebra is not used; its threads would cost a quarter of a short run.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from tcrules import datalog

    if goal is not None and (wanted.out or wanted.relations or wanted.count):
        raise click.UsageError(
            "a goal is printed; --out, --relation and --count are for results without a goal"
        )
    if goal is None and wanted == Wanted(None, (), False, None, None) and on_terminal():
        _converse(folder, [path, *imports], parameters)
        return
    program = datalog.load_datalog([path, *imports], goal, parameters)
    if program.goal is not None:
        from tcrules.cli.answers import Why, write, write_reasons

        form = answer_format(wanted.form)
        store = datalog.open_store(program.program, folder, [program.goal])
        if wanted.proofs:
            answers = store.query(program.goal, wanted.limit)
            how = Why(wanted.proofs, form)
            write_reasons(program.program, store, program.goal, str(goal), *answers, how)
            return
        write(*store.ask(program.goal, wanted.limit), form, wanted.limit)
        return
    results = datalog.chosen(program, wanted.relations)
    if not results:
        raise click.UsageError(f"{path} derives nothing; give a goal, such as 'edge(X, Y)'")
    store = datalog.open_store(program.program, folder, [datalog.everything(result) for result in results])
    _write(store, results, wanted)


def _converse(folder: Path, paths: Sequence[Path], parameters: Mapping[str, Value]) -> None:
    from tcrules.cli.prompt.session import Session
    from tcrules.cli.prompt.sources import FileFacts
    from tcrules.cli.prompt.terminal import converse

    converse(Session(paths, FileFacts(folder), parameters))


def _write(store: VectorStore, results: Sequence[Predicate], wanted: Wanted) -> None:
    if wanted.out is not None:
        from tcrules.engine.files.write import write_relation

        form = wanted.form or "csv"
        if form not in ("csv", "tsv", "parquet"):
            raise click.UsageError(f"results are written as csv, tsv or parquet, not as {form}")
        for result in results:
            target = write_relation(wanted.out, result, store.columns_of(result), form)
            remark(f"tcrules: {store.size(result)} facts in {target}")
    if wanted.count or wanted.out is None:
        for result in results:
            click.echo(f"{result.name}\t{store.size(result)}")
    if not wanted.count and wanted.out is None:
        remark(f"next: add '{_example(results[0])}' to see facts, or --out DIR to write them")


def _example(predicate: Predicate) -> str:
    return f"{predicate.name}({', '.join(f'X{n}' for n in range(1, len(predicate.columns) + 1))})"
