"""Where what a fact tells came from: which recorded fact wrote what another one read.

Versions of tensors are not recorded. That something was written by one event and read by another shows in what is:
equal fingerprints and values, one call, or the last write before the read within a step. `ORIGINS` says so for pairs of
relations; an edge is made only where facts satisfy all of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from tcrules.engine.ir import Any_, Atom, Var
from tcrules.report.graph import Evidence
from tcrules.report.roots import OBJECT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcrules.engine.facts import Stored
    from tcrules.engine.ir import Predicate, Value
    from tcrules.report.graph import GraphBuilder

#: Facts that are added to a graph, how far they are from its own, and questions that are asked of the facts.
MOST_FACTS, HOPS, MOST_LOOKUPS = 12, 2, 120
#: Origins of one fact in one relation, and facts that are looked at for the last one.
MOST_EACH, MOST_COMPARED = 8, 2_000

_SAME = ("rank", "rank", 0)


@dataclass(frozen=True, slots=True)
class Origin:
    """Facts of `reader` tell what facts of `writer` wrote, where all of this holds.

    `equal`: columns of reader and writer, whose values are equal but for a number that is added to the reader's.
    `where`: values that columns of the reader have, `wrote` those of the writer. `before`: the writer's moment lies
    before the reader's, and only the last such fact counts. `back`: how many steps earlier the write may be, tried in
    turn; () = at any step.
    """

    reader: str
    writer: str
    equal: tuple[tuple[str, str, int], ...]
    where: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    wrote: tuple[tuple[str, Value], ...] = ()
    before: tuple[str, str] | None = None
    back: tuple[int, ...] = ()
    kind: str = "reads"


def _reads(
    reader: str,
    writer: str,
    equal: str,
    before: str = "",
    back: tuple[int, ...] = (),
    where: Mapping[str, tuple[Value, ...]] = MappingProxyType({}),
    wrote: tuple[tuple[str, Value], ...] = (),
) -> Origin:
    """An origin on the same rank; `equal` and `before` are columns, two for one where names differ: `data=after`."""
    pairs = [(name.partition("=")[0], name.partition("=")[2] or name) for name in equal.split()]
    first, _, last = before.partition("=")
    return Origin(
        reader,
        writer,
        (_SAME, *((mine, theirs, 0) for mine, theirs in pairs)),
        tuple(where.items()),
        wrote,
        (first, last or first) if before else None,
        back,
    )


_PRESENT, _ABSENT = ("nonzero", "nonfinite"), ("none", "zero")
#: What a model has after a state was loaded, not what is in the file.
_HELD = (("point", "held"),)

ORIGINS: tuple[Origin, ...] = (
    # gradients: the last write of this step, by backward, clearing, unscaling, clipping
    _reads("gradient", "accumulate", "param", "at", (0,), {"class": _PRESENT}),
    _reads("gradient", "zero_grad", "optimizer=object", "at", (0, 1), {"class": _ABSENT}),
    _reads("gradient", "scaler_unscale", "optimizer", "at", (0,)),
    _reads("gradient", "clip", "optimizer", "at", (0,)),
    _reads("accumulate", "accumulate", "param", "at", (0, 1), {"onto": _PRESENT}),
    _reads("accumulate", "zero_grad", "optimizer=object", "at", (0, 1), {"onto": _ABSENT}),
    _reads("gradient_point", "accumulate", "call param"),
    _reads("gradient_point", "scaler_unscale", "call"),
    _reads("gradient_point", "clip", "call"),
    _reads("scaler_unscale", "accumulate", "optimizer", "at", (0,)),
    _reads("clip", "accumulate", "optimizer", "at", (0,)),
    _reads("clip", "scaler_unscale", "optimizer", "at", (0,)),
    # the update: gradient, settings, and the value that the step before left behind
    _reads("update", "gradient", "call param"),
    _reads("update", "param_group", "call optimizer lr"),
    Origin(
        "update", "update",
        (_SAME, ("optimizer", "optimizer", 0), ("param", "param", 0), ("nth", "nth", -1), ("before", "after", 0)),
    ),
    _reads("param_group", "scheduler_step", "optimizer lr=after", back=(1, 0)),
    _reads("scaler_scale", "scaler_update", "scaler scale=after", "at", (1, 2)),
    _reads("optimizer_state", "optimizer_loaded", "optimizer", back=(0, 1)),
    # values: what wrote the parameter or buffer that is read
    _reads("param_state", "update", "param data=after", back=(1, 0)),
    _reads("param_state", "checkpoint_tensor", "param=name data", wrote=_HELD),
    _reads("update", "checkpoint_tensor", "param=name before=data", wrote=_HELD),
    _reads("buffer_state", "buffer_state", "buffer before=after", "at", (0, 1)),
    _reads("buffer_state", "checkpoint_tensor", "buffer=name before=data", wrote=_HELD),
    # modes and inputs
    _reads("forward", "mode_change", "module training", "begin=at"),
    _reads("forward_reached", "forward", "forward=call"),
    _reads("forward", "batch", "loader", "begin=at", (0, 1)),
    _reads("batch_use", "batch", "loader epoch index"),
    _reads("batch_field", "batch", "loader epoch index"),
    _reads("batch_sample", "batch", "loader epoch index"),
    _reads("batch", "epoch", "loader epoch"),
    _reads("epoch_end", "epoch", "loader epoch"),
    # checkpoints
    _reads("model_loaded", "checkpoint_loaded", "checkpoint=call"),
    _reads("optimizer_loaded", "checkpoint_loaded", "checkpoint=call"),
    _reads("checkpoint_loaded", "checkpoint_saved", "path", "at"),
    # what other ranks gave to the same collective
    _reads("collective_data", "collective", "call"),
    Origin("collective", "collective", (("group", "group", 0), ("nth", "nth", 0)), kind="with"),
)  # fmt: skip


def add_origins(builder: GraphBuilder) -> None:
    """Add what the observed facts of a graph read, and what that read; bounded, the nearest first."""
    waiting = deque((key, 0) for key in builder.observed)
    lookups, added = MOST_LOOKUPS, MOST_FACTS
    while waiting and lookups > 0:
        key, hops = waiting.popleft()
        predicate, stored = builder.observed[key]
        for origin in _BY_READER.get(predicate.name, ()):
            lookups -= 1
            for found in islice(_written(builder, origin, predicate, stored), MOST_EACH):
                known = len(builder.observed)
                target = _add(builder, origin, (predicate, stored), found, key, added > 0 and hops < HOPS)
                if len(builder.observed) > known and target is not None:
                    added -= 1
                    waiting.append((target, hops + 1))


def _add(
    builder: GraphBuilder,
    origin: Origin,
    reader: tuple[Predicate, Stored],
    found: Stored,
    key: str,
    new: bool,
) -> str | None:
    """The edge to what was written; a node for it only where it is there or may be `new`."""
    predicate = builder.program.predicates[origin.writer]
    evidence = Evidence(origin.writer, found.id)
    known = next((k for k, (p, s) in builder.observed.items() if (p, s.id) == (predicate, found.id)), None)
    if known is None and not new:
        return None
    if known is not None and builder.graph.has_edge(known, key):
        return known
    facts = (Evidence(reader[0].name, reader[1].id), evidence)
    return builder.add_fact(_mention(predicate, origin), found, key, origin.kind, facts=facts)


def _mention(predicate: Predicate, origin: Origin) -> Atom:
    """An atom that mentions what a label should tell: names, words, and what links the two facts."""
    joined = {theirs for _, theirs, _ in origin.equal}
    return Atom(
        predicate,
        tuple(
            Var(column.name.capitalize(), column.type)
            if column.name in joined or column.type.name in OBJECT_TYPES or column.type.base in ("string", "bool")
            else Any_()
            for column in predicate.columns
        ),
    )  # fmt: skip


def _written(builder: GraphBuilder, origin: Origin, reader: Predicate, stored: Stored) -> Iterator[Stored]:
    """The facts of the writer that a fact of the reader tells of."""
    writer = builder.program.predicates.get(origin.writer)
    mine = dict(zip((column.name for column in reader.columns), stored.values, strict=True))
    if writer is None or any(mine[name] not in values for name, values in origin.where):
        return
    places = {column.name: place for place, column in enumerate(writer.columns)}
    bound: dict[int, Value] = {places[name]: value for name, value in origin.wrote}
    for name, theirs, more in origin.equal:
        value = mine[name]
        if value == "":
            return
        bound[places[theirs]] = value + more if more and not isinstance(value, str) else value
    for at in ({**bound, **step} for step in _steps(origin, mine, places)):
        found = (
            one for one in islice(builder.source.lookup(writer, at), MOST_COMPARED) if one.id != stored.id
        )
        if origin.before is None:
            chosen = list(islice(found, MOST_EACH))
        else:
            first, last = mine[origin.before[0]], places[origin.before[1]]
            earlier = (one for one in found if one.values[last] < first)  # type: ignore[operator]
            chosen = [best] if (best := max(earlier, key=lambda one: one.values[last], default=None)) else []
        if chosen:
            yield from chosen
            return


def _steps(origin: Origin, mine: Mapping[str, Value], places: Mapping[str, int]) -> list[dict[int, Value]]:
    """What the step of the writer may be, in the order in which it is tried."""
    if not origin.back:
        return [{}]
    return [{places["step"]: int(mine["step"]) - back} for back in origin.back]


_BY_READER: dict[str, list[Origin]] = {}
for _origin in ORIGINS:
    _BY_READER.setdefault(_origin.reader, []).append(_origin)
