"""Where a run parts from a reference run: what stands there on each side, and how the graph of a violation shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.report.graph import Node

if TYPE_CHECKING:
    from tcrules.report.graph import Evidence, GraphBuilder
    from tcrules.report.model import Location


@dataclass(frozen=True, slots=True)
class Side:
    """What one run has where two part: a call, or with `call` 0 another fact. `fact` is an id of that run."""

    label: str
    location: Location | None
    step: int | None
    rank: int
    call: int = 0
    fact: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Parting:
    """The first divergence: what is different, after which call that both have in this step, and each side.

    A side is None where that run has nothing there, `step` where what differs belongs to none.
    """

    reference: str
    step: int | None
    rank: int
    what: str
    after: str
    here: Side | None
    there: Side | None


def add_parting(builder: GraphBuilder, parted: Parting, root: str) -> None:
    """Mark where a run parts from its reference run; what stands there in that run is shown by facts of its own."""
    when = f"step {parted.step}" if parted.step is not None else "before training"
    after = f", after {parted.after}" if parted.after else ""
    node = Node("parting", "parting", f"{when}{after}: {parted.what}", parted.step, parted.rank)
    builder.add(node, root, "parts", _facts(parted.here))
    if parted.here is not None and parted.here.call:
        builder.add_call(parted.here.call, "parting", "here")
    else:
        builder.add(_node("here", parted.here, parted), "parting", "here", _facts(parted.here))
    builder.add(_node("reference", parted.there, parted), "parting", "there", _facts(parted.there))


def _node(kind: str, side: Side | None, parted: Parting) -> Node:
    if side is None:
        return Node(f"{kind} side", kind, "nothing", rank=parted.rank)
    return Node(f"{kind} side", kind, side.label, side.step, side.rank, side.location)


def _facts(side: Side | None) -> tuple[Evidence, ...]:
    return () if side is None or side.fact is None else (side.fact,)
