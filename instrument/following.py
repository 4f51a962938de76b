"""Reads a run while it is written: the facts of steps that are over in all its processes, in the order of steps.

What is known of the run as a whole may change: ranks when a process group begins, names when a model is met late or a
second one has the same paths. Then what was handed on is void, and reading begins again (`News.again`).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tcrules.instrument.errors import RunError
from tcrules.instrument.growing import Array, Rows, Stop, Texts, UserFacts
from tcrules.instrument.layout import META, USER, stored_columns
from tcrules.instrument.manifest import MANIFEST, read_manifest
from tcrules.instrument.names import ambiguous_paths, resolve
from tcrules.instrument.processes import Process, arrange, is_alive, works
from tcrules.instrument.runs import ALWAYS, CUT_OFF, Gap
from tcrules.instrument.schema import BY_NAME, TYPES
from tcrules.instrument.seal import CALL_SHIFT, about, columns_of
from tcrules.instrument.segments import in_order, read_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tcrules.instrument.segments import Segment
    from tcrules.instrument.tables import Columns

#: Steps that are read in one go: so many that they have about so many facts.
STEPS, FACTS = 32, 20_000
#: Written only when the run is sealed: what it says is not known before.
_AT_END = frozenset({"run"})


@dataclass(slots=True)
class News:
    """What has become known since the last time.

    Attributes:
        again: all that was handed on is void; nothing else is told.
        facts: relation and columns by name; facts of the user lack the columns that they do not give.
        gaps: facts that were not recorded, as far as is known now.
        recorded: rank, first and last step of stretches within gaps that were recorded, and of which relation
            (`runs.sampled_as`); a later one extends an earlier one with the same first step.
        until: all facts up to this step were handed on; None where that is as before. Infinite at the end.
        more: there is more to be read already.
    """

    again: bool = False
    facts: list[tuple[str, Columns]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    recorded: list[tuple[int, int, int, str]] = field(default_factory=list)
    until: float | None = None
    more: bool = False


class _Followed:
    """A process that is read. `place` makes its call ids unique; `last` is its last step that is over, -1 = none."""

    def __init__(self, segment: Segment, place: int, relations: Iterable[str]) -> None:
        self.segment, self.place = segment, place
        self.works = self.ended = False
        self.last = -1
        self.stamp = (0, 0)
        self._relations = tuple(sorted(relations))
        self._steps, self._no_texts = Rows(segment.folder, BY_NAME["step"]), Texts(segment.folder)
        self.restart()

    def restart(self) -> None:
        """Forget what was read, but for the number of its steps."""
        folder = self.segment.folder
        self.texts = Texts(folder)
        self.rows = [Rows(folder, BY_NAME[name]) for name in self._relations]
        self.gaps = [Rows(folder, BY_NAME[name]) for name in ("instrument_gap", "recorded_steps")]
        self.user = UserFacts(folder)
        self.introduced = self.done = False

    def look(self) -> bool:
        """See which steps are over, and whether the process has ended; whether it says something else of itself."""
        if self.ended:
            return False
        path = self.segment.folder / META
        try:
            about_file = os.stat(path)
            stamp = about_file.st_mtime_ns, about_file.st_ino
        except OSError:
            stamp = self.stamp
        meta = self.segment.meta
        # before its rows are read: what it wrote before it ended is then there
        gone = not is_alive(meta.get("pid"), meta.get("host"))
        changed = stamp != self.stamp or gone
        if changed:
            self.segment, self.stamp = read_segment(self.segment.folder) or self.segment, stamp
        self.ended = gone or self.segment.meta.get("status") == "finished"
        if not self.works and self._is_working():
            self.works = changed = True
        stop = Stop.MORE
        while stop is Stop.MORE:
            rows, stop = self._steps.read(math.inf, self._no_texts, final=self.ended)
            self.last = max(self.last, int(rows["c0"].max())) if len(rows) else self.last
        return changed

    def _is_working(self) -> bool:
        folder = self.segment.folder
        found = [path.stem for path in folder.glob("*.rows") if path.stem in BY_NAME and works([path.stem])]
        return any(Rows(folder, BY_NAME[name]).begun() for name in found) or (folder / USER).exists()


class Follower:
    """Reads a run that is being recorded; whatever its processes do, it never disturbs them.

    Args:
        run: the run folder.
        relations: those whose facts are wanted.

    Attributes:
        covered: relations of which all facts are recorded, gaps excepted, as far as is known.
    """

    def __init__(self, run: Path, relations: Iterable[str]) -> None:
        self._run, self._segments = run, run / "segments"
        self._stamp, self._sealed = (0, 0), False
        self._wanted = frozenset(relations) - _AT_END
        self._followed: dict[str, _Followed] = {}
        self._arranged: list[tuple[_Followed, Process]] = []
        self._known: dict[str, object] = {}
        self._whole: frozenset[str] = frozenset()
        self._users: set[str] = set()
        self._ambiguous: frozenset[str] = frozenset()
        self._stride = 1
        self._goal: float = -1
        self._until: float = -1
        self.covered: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """How many steps are over in all processes that still train; at the end, in that which made most."""
        training = [followed for followed, _ in self._arranged if followed.last >= 0]
        going_on = [followed.last for followed in training if not followed.ended]
        return (min(going_on) if going_on else max((t.last for t in training), default=-1)) + 1

    @property
    def behind(self) -> int:
        """How many of these have not been read yet."""
        return max(0, self.steps - 1 - int(min(self._until, self.steps - 1)))

    def read(self) -> News:
        """Return what is new: the facts of one to 32 steps. Nothing, at little cost, where no step is over."""
        if self._is_sealed():
            return News()
        self._look()
        trainers = [
            followed
            for followed, process in self._arranged
            if process.role == "trainer" and followed.last >= 0
        ]
        world = max((process.world_size for _, process in self._arranged), default=1)
        if not trainers or (len(trainers) < world and not self._known):
            return News()
        if self._changed():
            self._begin()
            return News(again=True, more=True)
        limit = min((float(t.last) for t in trainers if not t.ended), default=math.inf)
        if limit <= self._until:
            return News()
        last = max(t.last for t in trainers)  # what comes after it belongs to no step that is over
        self._goal = math.inf if self._until >= last else min(self._until + self._stride, limit, last)
        news = self._read()
        if self._is_sealed():  # meanwhile: some of what was looked for may have been removed
            return News()
        if news is None:  # a name, or what the absence of a user's facts means, is another one now
            self._begin()
            return News(again=True, more=True)
        news.more = self._goal < limit
        return news

    def files(self) -> Iterator[str]:
        """Yield texts of the run that may be paths of source files."""
        for followed, _ in self._arranged:
            yield from followed.texts.paths

    def lookup(self, relation: str, bound: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield facts whose columns have these values, as far as they are written; reads the relation's files."""
        for followed, process in self._arranged:
            if bound.get("rank", process.rank) != process.rank:
                continue
            rows = Rows(followed.segment.folder, BY_NAME[relation])
            for data in rows.all(followed.texts):
                found = data[_matching(rows, data, process, followed.texts.table, bound)]
                columns = columns_of(rows.relation, found, process, followed.texts.table)
                values = (column.tolist() for column in columns.values())
                yield from (dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True))

    # ------------------------------------------------------------------ the run as a whole
    def _is_sealed(self) -> bool:
        """Whether the run says that it is, as it does before its segments are removed; or is gone itself."""
        try:
            found = os.stat(self._run / MANIFEST)
            stamp = found.st_mtime_ns, found.st_ino
            if stamp != self._stamp:
                self._stamp, self._sealed = stamp, read_manifest(self._run).sealed
        except (OSError, RunError):
            self._sealed = True
        return self._sealed

    def _look(self) -> None:
        """See which processes there are, and how they are arranged."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._segments))
        except OSError:
            names = []
        moved = False
        for name in names:
            if name not in self._followed and (segment := read_segment(self._segments / name)) is not None:
                wanted = [relation for relation in self._wanted if relation in BY_NAME]
                self._followed[name] = _Followed(segment, len(self._followed), wanted)
        for followed in self._followed.values():
            moved |= followed.look()
        if moved:
            self._arrange()

    def _arrange(self) -> None:
        """Tell which process has which rank."""
        segments = in_order([followed.segment for followed in self._followed.values()])
        processes, _ = arrange(segments, lambda segment: self._followed[segment.folder.name].works)
        places = [self._followed[process.segment.folder.name] for process in processes]
        self._arranged = [
            (followed, replace(process, ordinal=followed.place))
            for followed, process in zip(places, processes, strict=True)
        ]

    def _changed(self) -> bool:
        """Whether what is known of the run as a whole is another than what facts were read with."""
        found = {f.segment.folder.name: _standing(f, process) for f, process in self._arranged}
        same = all(found.get(name) == self._known[name] for name in self._known)
        new = [(f, process) for f, process in self._arranged if f.segment.folder.name not in self._known]
        self._known = found
        # others, such as workers, and processes that train nothing, may come and go
        return not same or any(
            process.role == "trainer" and (f.last >= 0 or self._covers() != self._whole) for f, process in new
        )

    def _covers(self) -> frozenset[str]:
        """The relations of which all processes that are no workers record all facts."""
        trainers = [process.segment.meta for _, process in self._arranged if process.role == "trainer"]
        covers = [frozenset(meta.get("covers", ())).intersection(BY_NAME) for meta in trainers]
        return frozenset.intersection(*covers) if covers else frozenset()

    def _begin(self) -> None:
        """Begin at the beginning of the run."""
        self._goal = self._until = -1
        for followed in self._followed.values():
            followed.restart()
        self._whole = self._covers()
        self.covered = (self._whole | ALWAYS | self._users) - _AT_END

    # ------------------------------------------------------------------ facts
    def _read(self) -> News | None:
        """Read on up to the goal; None if that cannot be joined to what was handed on."""
        news = News()
        taken: list[tuple[_Followed, Process, Rows, Array]] = []
        torn, over = False, []
        for followed, process in self._arranged:
            if followed.done:
                continue
            until = math.inf if followed.ended and self._goal >= followed.last else self._goal
            for rows in (*followed.rows, *followed.gaps):
                stop = Stop.MORE
                while stop is Stop.MORE:
                    data, stop = rows.read(until, followed.texts, final=followed.ended)
                    if len(data):
                        taken.append((followed, process, rows, data))
                torn |= stop is Stop.TORN
            if until == math.inf:
                over.append((followed, process))
        if not self._name() or not self._read_user(news):
            return None
        self._introduce(news)
        for followed, process, rows, data in taken:
            self._hand_on(news, followed, process, rows, data)
        for followed, process in over:
            followed.done = True
            if followed.last >= 0:  # what the unfinished step lacks may only not have happened
                news.gaps.append(Gap(process.rank, "*", followed.last + 1, -1, CUT_OFF))
        if not torn:
            number = sum(len(data) for _, _, _, data in taken)
            span = self._goal - self._until if self._goal < math.inf else 1
            self._stride = max(1, min(STEPS, int(span * FACTS / max(number, 1))))
            self._until = news.until = self._goal
        return news

    def _name(self) -> bool:
        """Give handles the names that are known by now; False if one that was used has changed."""
        texts = [followed.texts for followed, _ in self._arranged]
        found = [each.read_names() for each in texts]
        if any(found):
            self._ambiguous = ambiguous_paths([each.records for each in texts])
        due = [each for each in texts if any(found) or len(each) != len(each.table) - 1]
        same = [each.name(resolve(each.records, self._ambiguous)) for each in due]
        return all(same)

    def _introduce(self, news: News) -> None:
        for followed, process in self._arranged:
            if not followed.introduced:
                followed.introduced = True
                news.facts += [(name, columns) for name, columns in about(process) if name in self._wanted]

    def _read_user(self, news: News) -> bool:
        """Read what scripts reported; False if a relation is new: that it has facts changes what its absence means."""
        for followed, process in self._arranged:
            for relation, fact in followed.user.read():
                if relation not in self.covered:
                    self._users.add(relation)
                if relation in self._wanted:
                    columns = {"rank": process.rank, **fact}
                    news.facts.append(
                        (relation, {name: np.array([value]) for name, value in columns.items()})
                    )
        return self._users <= self.covered

    def _hand_on(self, news: News, followed: _Followed, process: Process, rows: Rows, data: Array) -> None:
        for name in rows.texts:
            followed.texts.use(data[name])
        columns = columns_of(rows.relation, data, process, followed.texts.table)
        if rows in followed.rows:
            news.facts.append((rows.relation.name, columns))
            return
        values = [column.tolist() for column in columns.values()]
        for row in zip(*values, strict=True):
            if rows.relation.name == "instrument_gap":
                news.gaps.append(Gap(*row))
            else:
                news.recorded.append(row)


def _standing(followed: _Followed, process: Process) -> object:
    """What facts of a process are read with."""
    if process.role != "trainer":
        return process.rank, process.role
    covers = tuple(process.segment.meta.get("covers", ()))
    return process.rank, process.role, process.world_size, process.distributed, covers, followed.last >= 0


def _matching(rows: Rows, data: Array, process: Process, table: Array, bound: Mapping[str, Any]) -> Array:
    """Which rows have these values."""
    found = np.ones(len(data), dtype=bool)
    for name in rows.texts:
        found &= data[name] < len(table) - 1  # others were not named yet
    for at, column in enumerate(stored_columns(rows.relation)):
        if column.name not in bound:
            continue
        values, wanted = data[f"c{at}"], bound[column.name]
        if TYPES[column.type] == "string":
            found &= np.isin(values, np.flatnonzero(table == wanted))
        elif column.type == "call":
            found &= values == (wanted - (process.ordinal << CALL_SHIFT) if wanted else 0)
        else:
            found &= (values == wanted) | ((values != values) & (wanted != wanted))
    return found
