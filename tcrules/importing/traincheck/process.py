"""What is known of one process of a trace while its records are read: steps, ranks, gaps, names of objects."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tcrules.importing.traincheck.values import text
from tcrules.instrument.clock import Clock
from tcrules.instrument.schema import SAMPLED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tcrules.importing.traincheck.header import Header

#: Values that are remembered to write a fact only on change; beyond that the oldest are written again.
MOST_REMEMBERED = 200_000
#: More gaps of one kind become one that spans them all.
MOST_GAPS = 500
#: Step numbers that are further apart are no count of steps.
MOST_STEPS = 10_000_000
NO_COUNT = "the step numbers of the trace are no count"
LEFT_OUT = "the trace was sampled: this step was left out"


@dataclass(slots=True)
class Span:
    """A step: its first and last event, and whether an optimizer stepped in it."""

    begin: int
    end: int
    stepped: bool = False
    training: bool = False


@dataclass(slots=True)
class Process:
    """One process. Its facts carry `ordinal` as rank until all ranks are known.

    Attributes:
        write: adds a fact (relation, values in the order of the columns).
        functions: those that were instrumented, None = unknown.
        called: number of calls that were read.
        unsure: relations that are not recorded in full, with why.
        seen: public names of functions that were called.
        optimizers: class by name of those that have stepped; `born`: when one was made.
        open_calls: calls that had not ended when their thread's records did.
    """

    pid: int
    ordinal: int
    header: Header
    write: Callable[..., None]
    functions: frozenset[str] | None = None
    called: int = 0
    states: int = 0
    open_calls: int = 0
    rank: int | None = None
    world: int | None = None
    unsure: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    spans: dict[int, Span] = field(default_factory=dict)
    gaps: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    steps_taken: Counter[str] = field(default_factory=Counter)
    optimizers: dict[str, str] = field(default_factory=dict)
    born: dict[str, int] = field(default_factory=dict)
    _clock: Clock = field(default_factory=Clock)
    _counted: bool = True
    _last_step: int = 0
    _ordinals: Counter[str] = field(default_factory=Counter)
    _objects: dict[int, tuple[str, str]] = field(default_factory=dict)
    _memory: OrderedDict[Hashable, str] = field(default_factory=OrderedDict)

    @property
    def clock(self) -> Clock | None:
        """Numbers the steps as recording does, where the trace has no numbers; else None."""
        return self._clock if self._counted else None

    def moment(self, record: dict[str, Any], at: int) -> tuple[int, str]:
        """Step and stage of a record; notes meta variables that have changed."""
        meta = record.get("meta_vars")
        meta = meta if isinstance(meta, dict) else {}
        given = meta.get("step")
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**62:
            self._counted, self._last_step = False, given
        step = self._clock.step if self._counted else self._last_step
        for name, value in meta.items():
            if name != "step":
                shown = text(value, str(name))
                if self.changed(("meta", name), shown):
                    self.write("traincheck_meta", self.ordinal, str(name), shown, step, at)
        stage = meta.get("stage")
        stage = stage if isinstance(stage, str) else ""
        span = self.spans.get(step)
        if span is None:
            span = self.spans[step] = Span(at, at)
        span.begin, span.end = min(span.begin, at), max(span.end, at)
        span.training = span.training or stage in ("", "training")
        return step, stage

    def changed(self, key: Hashable, value: str) -> bool:
        """Whether something has another value than before, or none yet; the value is remembered."""
        if self._memory.get(key) == value:
            return False
        self._memory[key] = value
        if len(self._memory) > MOST_REMEMBERED:
            self._memory.popitem(last=False)
        return True

    def name(self, identity: int, kind: str, made: bool) -> str:
        """Name of an object, class and ordinal; an address that is used again for another class is another object."""
        known = self._objects.get(identity)
        if known is not None and known[0] == kind and not made:
            return known[1]
        short = kind.rpartition(".")[2] or "object"
        name = f"{short}#{self._ordinals[short]}"
        self._ordinals[short] += 1
        self._objects[identity] = (kind, name)
        return name

    def known_name(self, identity: int) -> str:
        """Name of an object that was named before, else ""."""
        known = self._objects.get(identity)
        return known[1] if known is not None else ""

    def gap(self, relation: str, step: int, why: str) -> None:
        """Facts of a relation are missing in a step."""
        self.gaps.setdefault((relation, why), set()).add(step)

    def finished_steps(self) -> dict[int, Span]:
        """Steps in which an optimizer stepped; where none ever does, those of training."""
        stepping = {step: span for step, span in self.spans.items() if span.stepped}
        return stepping or {step: span for step, span in self.spans.items() if span.training and self.called}

    def gap_facts(self) -> list[tuple[str, int, int, str]]:
        """All gaps as (relation, first step, last step, why)."""
        found = [(relation, 0, -1, why) for relation, why in self.unsure.items()]
        if self.spans and max(self.spans) - min(self.spans) > MOST_STEPS:
            found.append(("*", 0, -1, NO_COUNT))
        for (relation, why), steps in {**self.gaps, ("*", LEFT_OUT): self.left_out()}.items():
            ranges = ranges_of(sorted(steps))
            if len(ranges) > MOST_GAPS:
                ranges = [(ranges[0][0], ranges[-1][1])]
                why = SAMPLED if why == LEFT_OUT else why
            found += [(relation, first, last, why) for first, last in ranges]
        return found

    def recorded_steps(self) -> list[tuple[int, int]]:
        """Stretches of steps that are in the trace after all, where steps that are not are told as one gap."""
        left_out = self.left_out()
        if len(ranges_of(sorted(left_out))) <= MOST_GAPS:
            return []
        return ranges_of([step for step in range(min(left_out), max(left_out) + 1) if step not in left_out])

    def left_out(self) -> set[int]:
        """Steps between the first and the last that the trace does not have, or was not meant to have."""
        first, last = min(self.spans, default=0), max(self.spans, default=0)
        if last - first > MOST_STEPS:
            return set()  # `gap_facts` tells a gap that spans them all
        return {
            step
            for step in range(first, last + 1)
            if step not in self.spans or (step > 0 and not self.header.traced(step))
        }


def ranges_of(steps: list[int]) -> list[tuple[int, int]]:
    """Steps in order as stretches (first, last).

    >>> ranges_of([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for step in steps:
        if found and found[-1][1] == step - 1:
            found[-1] = (found[-1][0], step)
        else:
            found.append((step, step))
    return found
