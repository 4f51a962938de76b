"""`tcrules import`: facts from elsewhere as a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcrules.cli.common import remark, suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.manifest import Manifest

EPILOG = """\b
Examples:
  tcrules import traincheck traincheck_run_mnist/ -o runs/mnist
  tcrules import csv facts/ -o runs/mine
  tcrules import parquet losses.parquet -o runs/mine --relation metric
"""
TRACE_EPILOG = """\b
Examples:
  tcrules import traincheck traincheck_run_mnist/ -o runs/mnist
  tcrules query runs/mnist 'call(api: "torch.optim.Optimizer.step", step: S)'
"""
FILES_EPILOG = """\b
Examples:
  tcrules import {0} facts/ -o runs/mine
  tcrules import {0} losses.{0} -o runs/mine --relation metric
"""
#: So many notes are printed; all are in run.json.
MOST_NOTES = 12


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where to write."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        required=True,
        metavar="RUN",
        help="Folder to write.",
    )
    overwrite = click.option("--overwrite", is_flag=True, help="Replace the run folder if it exists.")
    return output(overwrite(command))


@click.group("import", epilog=EPILOG)
def command() -> None:
    """Turn facts from elsewhere into a run folder.

    A run folder from an import is an ordinary one: check, query, explain and infer work on it. What the source does not
    hold counts as not recorded: rules that need it are unknown, never violated.
    """


@command.command("traincheck", epilog=TRACE_EPILOG)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@target_options
def traincheck(folder: Path, output: Path, overwrite: bool) -> None:
    """Import a trace folder of TrainCheck.

    DIR is what traincheck-collect wrote: trace_API_*.log, trace_VAR_*.log, proxy_log.json. Calls, optimizer steps and
    clearing of gradients become relations of tcrules; the rest goes into relations traincheck_…, which rule files get
    by `import "traincheck.tcr"`. Lines that are lost, repeated, cut off or no JSON are counted and told.
    """
    from tcrules.cli.progress import byte_bar
    from tcrules.importing.traincheck.importer import find_trace, import_trace

    with_calls, with_states = find_trace(folder)
    total = sum(path.stat().st_size for path in (*with_calls, *with_states))
    with byte_bar("importing", total) as advance:
        manifest = import_trace(folder, output, overwrite=overwrite, advance=advance)
    _report(output, manifest)
    suggest(f"tcrules infer --runs {output} -o project.tcr", "learn rules from healthy runs; or query, check")


def _files_command(kind: str, files: str) -> None:
    """Add the command for one kind of files."""

    @command.command(kind, epilog=FILES_EPILOG.format(kind), help=_FILES_HELP.format(files))
    @click.argument("source", type=click.Path(path_type=Path), metavar="FILE|DIR")
    @click.option("--relation", metavar="NAME", help="Relation of FILE, if it is not its name.")
    @target_options
    def run(source: Path, relation: str | None, output: Path, overwrite: bool) -> None:
        from tcrules.cli.progress import byte_bar
        from tcrules.importing.files import find_sources, import_files

        sources, _ = find_sources(source, kind, relation)
        with byte_bar("importing", sum(one.path.stat().st_size for one in sources)) as advance:
            done = import_files(source, output, kind, relation=relation, overwrite=overwrite, advance=advance)
        _report(output, done.manifest)
        for name, types in sorted(done.own.items()):
            columns = ", ".join(f"{column}: {kind}" for column, kind in types.items())
            remark(f"note: rule files that read it declare: relation {name}({columns})")
        example = next(iter(sorted(done.facts)), "call")
        suggest(f"tcrules query {output} '{example}()'", "ask for facts; or check, infer")


_FILES_HELP = """Import {0} files.

FILE, or each file in DIR, is named after its relation and names its columns; their order is free. Relations of the
schema must have its columns (rank may be missing: 0) and types; other names are new relations. All faults of all files
are told, with line and column; then nothing is written. A relation without a file counts as not recorded, one with an
empty file as recorded.
"""
_files_command("csv", "CSV or TSV")
_files_command("parquet", "Parquet")


def _report(output: Path, manifest: Manifest) -> None:
    from tcrules.instrument.runs import open_run

    remark(f"tcrules: imported {open_run(output).describe()} into {output}")
    for note in manifest.notes[1:][:MOST_NOTES]:
        remark(f"note: {note}")
    more = len(manifest.notes) - 1 - MOST_NOTES
    if more > 0:
        remark(f"note: and {more} more; all are in {output / 'run.json'}")
