"""Files that are named after relations become a run: which files, which columns, what the run then covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine.files.faults import Fault, FileFault, FileFaults
from tcrules.engine.ir import Column, Predicate, Type
from tcrules.grammar.diagnostics import did_you_mean
from tcrules.importing.target import NewRun
from tcrules.instrument.errors import RunError
from tcrules.instrument.manifest import MANIFEST, Manifest, new_manifest
from tcrules.instrument.schema import BY_NAME, TYPES
from tcrules.instrument.userfacts import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

#: Suffixes by kind of import.
SUFFIXES = {"csv": (".csv", ".tsv"), "parquet": (".parquet",)}
#: A column that facts of runs have, and that an import numbers anew.
FACT = "fact"
#: Beyond this many bytes, facts wait in a file.
IN_MEMORY = 200 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the relation whose facts it holds."""

    path: Path
    relation: str

    @property
    def known(self) -> bool:
        """Whether the schema has the relation."""
        return self.relation in BY_NAME


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made: `own` are relations that the schema has not, with base types by column."""

    manifest: Manifest
    facts: Mapping[str, int]
    own: Mapping[str, Mapping[str, str]]


def find_sources(place: Path, kind: str, relation: str | None) -> tuple[list[Source], list[str]]:
    """The files to import, and the names of those that are left out.

    Raises:
        RunError: there are none, they belong to a run, or their names are no names of relations.
    """
    if not place.exists():
        raise RunError(
            f"there is no '{place}'", "give a file, or a folder with files that are named after relations"
        )
    if (place.is_dir() and (place / MANIFEST).exists()) or (
        (place.parent / MANIFEST).exists() and place.is_dir()
    ):
        raise RunError(
            f"'{place}' belongs to a run already", "copy the run folder; its run.json tells what was recorded"
        )
    if place.is_dir() and relation is not None:
        raise RunError("--relation names the relation of one file", f"give a file in '{place}'")
    inside = sorted(place.iterdir()) if place.is_dir() else []
    paths = [p for p in inside if p.suffix in SUFFIXES[kind] and p.is_file()] if place.is_dir() else [place]
    sources = [Source(path, relation or path.stem) for path in paths]
    wrong = [source.relation for source in sources if not is_name(source.relation)]
    if wrong:
        mend = "lower-case letters, digits and _ name a relation; rename the files, or use --relation"
        raise RunError(f"no names of relations: {', '.join(map(repr, wrong[:5]))}", mend)
    twice = sorted(
        {s.relation for s in sources if sum(s.relation == other.relation for other in sources) > 1}
    )
    if twice:
        raise RunError(f"several files for {', '.join(twice)} in '{place}'", "keep one")
    chosen = [source for source in sources if source.relation != "run"]
    if not chosen:
        wanted = " or ".join(f"<relation>{suffix}" for suffix in SUFFIXES[kind])
        raise RunError(f"nothing to import in '{place}'", f"files are named {wanted}")
    return chosen, [source.path.name for source in sources if source.relation == "run"]


def import_files(
    place: Path,
    run: Path,
    kind: str,
    *,
    relation: str | None = None,
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda _bytes: None,
) -> Imported:
    """Make a run of CSV (or TSV) or Parquet files; 8 CPU s per million facts of eight columns in text, 1 in Parquet.

    Relations of the schema must have its columns, by name and in any order; `rank` may be missing where all is rank 0.
    Other relations have the columns of their file, with the narrowest type that fits all values.

    Raises:
        RunError: nothing to import, or `run` is taken.
        FileFaults: faults of all files.
    """
    from tcrules.importing.parquet import ParquetReader
    from tcrules.importing.text import TextReader

    sources, left_out = find_sources(place, kind, relation)
    size = sum(source.path.stat().st_size for source in sources)
    faults: list[FileFault] = []
    own: dict[str, Mapping[str, str]] = {}
    with NewRun(run, overwrite=overwrite, in_memory=size <= IN_MEMORY) as target:
        reader = TextReader(target, advance) if kind == "csv" else ParquetReader(target, advance)
        for source in sources:
            try:
                types = reader.read(source)
            except FileFault as fault:
                faults.append(fault)
                continue
            if not source.known:
                own[source.relation] = types
        if faults:
            raise FileFaults(faults)
        manifest = _describe(place, kind, sources, left_out, target)
        target.finish(manifest)
    return Imported(manifest, dict(target.facts), own)


def wanted_columns(source: Source, found: Sequence[str], types: Mapping[str, str]) -> Predicate:
    """What the columns of a file should be: those of the schema, or its own with the types that were found for them.

    Raises:
        FileFault: columns are missing, unknown, there twice, or have no usable name.
    """
    faults = [
        Fault(1, f"column `{name}` is there twice")
        for name in sorted({n for n in found if found.count(n) > 1})
    ]
    if source.known:
        columns = {column.name: TYPES[column.type] for column in BY_NAME[source.relation].columns}
        faults += _compare(columns, found)
        chosen = {name: kind for name, kind in columns.items() if name in found}
    else:
        chosen = {name: kind for name, kind in types.items() if name != FACT}
        faults += [Fault(1, f"{name!r} is no name of a column") for name in chosen if not is_name(name)]
        faults += [Fault(1, "there are no columns")] if not chosen else []
    if faults:
        known = ", ".join(column.name for column in BY_NAME[source.relation].columns) if source.known else ""
        mend = f"the columns of {source.relation} are {known}" if known else ""
        mend = mend or "columns are named by lower-case letters, digits and _, in the first line"
        raise FileFault(source.path, faults, mend)
    return Predicate(
        source.relation, tuple(Column(name, Type(kind, kind)) for name, kind in chosen.items()), True
    )


def _compare(columns: Mapping[str, str], found: Sequence[str]) -> list[Fault]:
    faults = []
    for name in dict.fromkeys(found):
        if name not in columns and name != FACT:
            near = did_you_mean(name, columns)
            faults.append(
                Fault(1, f"unknown column {name!r}" + (f"; did you mean `{near}`?" if near else ""))
            )
    faults += [Fault(1, f"no column `{name}`") for name in columns if name not in found and name != "rank"]
    return faults


def _describe(
    place: Path, kind: str, sources: Sequence[Source], left_out: Sequence[str], target: NewRun
) -> Manifest:
    """Say what the run covers: the relations that were given, an empty file included, on all ranks that occur."""
    ranks = target.ranks() or [0]
    if not any(source.relation == "process" for source in sources):
        for rank in ranks:
            target.add("process", rank, 0, "trainer", len(ranks), len(ranks) > 1)
    covers = sorted(source.relation for source in sources if source.known)
    own = sorted(source.relation for source in sources if not source.known)
    about = {
        "pid": 0,
        "role": "trainer",
        "ended": True,
        "world_size": len(ranks),
        "covers": covers,
        "user": own,
    }
    processes = [{**about, "rank": rank} for rank in ranks]
    notes = [
        f"imported from {len(sources)} {kind} file{'s' * (len(sources) > 1)} of '{place.resolve().name}'"
    ]
    notes += [f"{name} was left out: an import describes itself" for name in left_out]
    command = ["tcrules", "import", kind, place.resolve().name]
    return new_manifest(command).with_(
        status="finished", host="", pid=0, python="", processes=tuple(processes), notes=tuple(notes)
    )
