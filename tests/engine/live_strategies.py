"""Random programs over relations with ranks, steps and calls, and random ways in which their facts may arrive.

Facts keep the promises that live checking builds on: facts about one call have one step, and a rank reports the facts
of a step before it closes it. Settled facts mostly come first, but some come late.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st
from tcrules.engine import ir
from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.analyse.clocks import Clock
from tcrules.engine.facts import Coverage, Gap, MemoryFacts, Stored
from tcrules.grammar.render import render

# A copy of its own, as the domains are changed.
_spec = importlib.util.spec_from_file_location("live_base", Path(__file__).with_name("strategies.py"))
assert _spec and _spec.loader
base = importlib.util.module_from_spec(_spec)
sys.modules["live_base"] = base
_spec.loader.exec_module(base)

WORLD = 2
STEPS = 4
EVENTS: dict[str, tuple[tuple[str, str], ...]] = {
    "event": (("rank", "rank"), ("step", "step"), ("a", "int"), ("s", "string")),
    "made": (("rank", "rank"), ("call", "call"), ("step", "step"), ("a", "int")),
    "inner": (("forward", "call"), ("step", "step"), ("w", "float")),
    "touch": (("rank", "rank"), ("thing", "thing"), ("step", "step"), ("on", "bool")),
}
SETTLED: dict[str, tuple[tuple[str, str], ...]] = {
    "item": (("thing", "thing"), ("a", "int")),
    "label": (("a", "int"), ("s", "string")),
}
UNPLACED: dict[str, tuple[tuple[str, str], ...]] = {"place": (("call", "call"), ("a", "int"))}
OBSERVED = EVENTS | SETTLED | UNPLACED
#: Relations about things that count, and what live checking knows of them.
COUNTED: dict[str, tuple[tuple[str, str], ...]] = {
    "tick": (
        ("rank", "rank"),
        ("call", "call"),
        ("thing", "thing"),
        ("nth", "int"),
        ("step", "step"),
        ("a", "int"),
    ),
    "mark": (("rank", "rank"), ("call", "call"), ("thing", "thing"), ("step", "step"), ("a", "int")),
    "item": SETTLED["item"],
}
CLOCKS = (Clock("thing", ("thing",), ("nth",), frozenset({"tick"}), frozenset({"tick", "mark"})),)
base.DOMAINS.update(
    rank=[0, 1],
    step=list(range(STEPS)),
    call=list(range(1, 2 * STEPS + 1)),
    thing=["x", "y"],
    int=[-1, 0, 1],  # small domains: most joins meet
    string=["a", "a.b"],
    float=[-0.0, 0.0, 0.25, math.inf, math.nan],
)
base.PREFIX.update(rank="R", step="T", call="C", thing="O")
Columns = tuple[tuple[str, str], ...]
#: What a session is told: ("feed", relation, rows), ("advance", rank, step), ("end", rank), ("gap", gap), ("world",).
Action = tuple


@dataclass(frozen=True)
class Stream:
    """A program, what happens in a run, and all facts of it."""

    text: str
    program: ir.Program = field(repr=False)
    actions: tuple[Action, ...]
    facts: MemoryFacts

    def _repr_pretty_(self, printer, _cycle: bool) -> None:
        """What to read of an example that fails."""
        printer.text(f"{self.text}\n{chr(10).join(map(str, self.actions))}\n{self.facts.coverage}")


class _Writer(base._Writer):
    """Steps are mostly the step of the body's first event, or one next to it."""

    def chance(self, one_in: int) -> bool:
        """The values at the ends of a range are drawn more often than the others."""
        return self.draw(st.integers(1, one_in)) == one_in // 2 + 1

    def atom(self, name: str, columns: Columns, body, tag: str = "") -> str:
        arguments = []
        for column, kind in columns:
            value = self._step(body) if kind == "step" else self._other(kind, body, tag)
            if value:
                arguments.append(f"{column}: {value}")
        return f"{name}({', '.join(arguments)})"

    def within_blocks(self, relations: dict[str, Columns]) -> list[str]:
        return [name for name in sorted(relations) if name not in UNPLACED]

    def _step(self, body) -> str:
        around = {**body.outer, **body.bound}
        if "T0" not in around:
            body.bound["T0"] = "step"
            return "T0"
        choice = self.draw(st.integers(0, 39))
        if self.deriving and not (self.loose and self.chance(2)):
            return "T0"
        if 20 <= choice < 27:
            return self.pick(["T0 + 1", "T0 - 1", "T0 - 2", "1 + T0"])
        if not self.loose or choice not in (12, 13, 14, 15):
            return "T0"
        if choice >= 14:
            return ""
        value = self.pick(["T1", "2"])
        if value == "T1":
            body.bound.setdefault(value, "step")
        return value

    def local_atom(self, relations: dict[str, Columns], body, new=None) -> str:
        """In a disjunction: the step is the one around it."""
        names = [name for name in sorted(relations) if self.loose or name not in UNPLACED]
        if self.loose or "T0" not in body.outer:
            return super().local_atom({name: relations[name] for name in names}, body, new)
        name = self.pick(names)
        made = super().local_atom({name: tuple(c for c in relations[name] if c[1] != "step")}, body, new)
        if ("step", "step") not in relations[name]:
            return made
        rest = made.split("(", 1)[1]
        return f"{name}(step: {self._step(body)}{'' if rest == ')' else ', '}{rest}"

    def _other(self, kind: str, body, tag: str) -> str:
        choice = self.draw(st.integers(0, 9))
        if choice <= 3:
            return ""
        if choice == 4:
            return base.show_value(self.pick(base.DOMAINS[kind]))
        value = f"{base.PREFIX[kind]}{tag}{self.draw(st.integers(0, 1))}"
        body.bound.setdefault(value, kind)
        return value

    def body(self, relations: dict[str, Columns], *, most: int = 3, tag: str = "", outer=None):
        """At the outermost level the first atom is an event, so that there is a step."""
        body = base._Body([], {}, dict(outer or {}))
        if outer is None:
            stepped = sorted(name for name, columns in relations.items() if ("step", "step") in columns)
            name = self.pick(stepped)
            body.parts.append(self.atom(name, relations[name], body))
        for _ in range(self.draw(st.integers(1 - (outer is None), most - 1))):
            name = self.pick([n for n in sorted(relations) if n not in UNPLACED])
            if self.loose and "place" in relations and self.chance(4):
                name = "place"
            body.parts.append(self.atom(name, relations[name], body, tag if tag and self.chance(2) else ""))
        return body

    def stratum(self, number: int, known: dict[str, Columns]):
        """One derived relation, usually with a step, or one over settled relations only."""
        name = f"d{number}"
        settled = self.chance(4)
        reads = {n: c for n, c in known.items() if n in SETTLED or n in self.settled} if settled else known
        kinds = ["int", "thing", "string"] if settled else ["int", "rank", "thing", "call"]
        columns = tuple((f"c{at}", self.pick(kinds)) for at in range(self.draw(st.integers(1, 2))))
        if settled:
            self.settled.add(name)
        elif not (self.loose and self.chance(3)):
            columns = (("step", "step"), *columns)
        lines = [f"relation {name}({', '.join(f'{column}: {kind}' for column, kind in columns)})"]
        lines.append(self._rule(name, columns, reads, reads))
        more = range(self.draw(st.integers(0, 2)))
        lines += [self._rule(name, columns, {**reads, name: columns}, reads) for _ in more]
        return lines, {name: columns}

    def _rule(self, name: str, columns: Columns, reads: dict[str, Columns], lower: dict[str, Columns]) -> str:
        self.deriving = True
        plain = name in self.settled or not any(("step", "step") in c for c in reads.values())
        body = super_body(self, reads) if plain else self.body(reads)
        recursive = any(part.split("(")[0] == name for part in body.parts)
        self.decorate(body, lower, grows=not recursive)
        self.deriving = False
        return self.rule(name, columns, body)

    settled: set[str]
    #: Whether a derived relation is being written; whether bodies may read events of any step.
    deriving = loose = False

    def term(self, kind: str, body) -> str:
        """A head's step is that of its body."""
        visible = body.visible(kind)
        if kind == "step" and "T0" in visible and not (self.loose and self.chance(4)):
            return "T0"
        if visible and not self.chance(4):
            return self.pick(visible)
        return base.show_value(self.pick(base.DOMAINS[kind]))


def super_body(writer: _Writer, relations: dict[str, Columns]):
    """A body without an event."""
    body = base._Body([], {}, {})
    for _ in range(writer.draw(st.integers(1, 2))):
        name = writer.pick(sorted(relations))
        body.parts.append(writer.atom(name, relations[name], body))
    return body


def step_of(call: int) -> int:
    """Facts about one call have one step."""
    return (call - 1) // 2


def _rows(draw: Callable[..., object], name: str, most: int) -> list[tuple]:
    columns = OBSERVED[name]
    cells = [st.sampled_from(base.DOMAINS[kind]) for _, kind in columns]
    if name == "inner":
        cells[0] = st.sampled_from([0, *base.DOMAINS["call"]])
    rows = draw(st.lists(st.tuples(*cells), min_size=most // 2, max_size=most))
    kinds = [kind for _, kind in columns]
    if "call" in kinds and "step" in kinds:
        call, step = kinds.index("call"), kinds.index("step")
        rows = [(*r[:step], step_of(r[call]) if r[call] else r[step], *r[step + 1 :]) for r in rows]
    return list(dict.fromkeys(rows))


def _moment(draw: Callable[..., object], name: str, row: tuple) -> tuple[int, int]:
    """The rank that reports a fact, and the step before whose end it does so."""
    values = {kind: value for (_, kind), value in zip((OBSERVED | COUNTED)[name], row, strict=True)}
    rank = values.get("rank", draw(st.integers(0, WORLD - 1)))
    early = 0 if draw(st.integers(0, 3)) else draw(st.integers(0, STEPS - 1))
    return rank, values.get("step", early)


def _arrival(draw: Callable[..., object], facts: dict[str, list[tuple]], gaps: list[Gap]) -> list[Action]:
    """Each rank's facts step by step, each step's in random portions; the ranks interleaved."""
    waiting: dict[int, list[list[Action]]] = {rank: [[] for _ in range(STEPS)] for rank in range(WORLD)}
    for name, rows in facts.items():
        portions: dict[tuple[int, int, int], list[tuple]] = {}
        for row in rows:
            portions.setdefault((*_moment(draw, name, row), draw(st.integers(0, 1))), []).append(row)
        for (rank, step, _), portion in portions.items():
            waiting[rank][step].append(("feed", name, portion))
    for gap in gaps:
        waiting[draw(st.integers(0, WORLD - 1))][draw(st.integers(0, STEPS - 1))].append(("gap", gap))
    lines: list[list[Action]] = []
    for rank, steps in waiting.items():
        line: list[Action] = []
        for step, actions in enumerate(steps):
            line += [*draw(st.permutations(actions)), ("advance", rank, step)]
        lines.append(line)
    merged: list[Action] = []
    while any(lines):
        line = draw(st.sampled_from([line for line in lines if line]))
        merged.append(line.pop(0))
    merged.insert(draw(st.integers(0, 3)) * len(merged) // 6, ("world",))
    return merged


def _gaps(draw: Callable[..., object]) -> list[Gap]:
    if draw(st.integers(0, 2)):
        return []
    names, ranks, steps = (
        st.sampled_from(sorted(EVENTS)),
        st.integers(-1, WORLD - 1),
        st.integers(0, STEPS - 1),
    )
    made = st.builds(Gap, names, ranks, steps, st.one_of(st.just(-1), steps), st.just("lost"))
    return draw(st.lists(made, max_size=2))


@st.composite
def streams(draw: Callable[..., object], most_facts: int = 12, strata: int = 2) -> Stream:
    """A random program and a run of two ranks and a few steps."""
    writer = _Writer(draw)
    writer.settled = set()
    writer.loose = draw(st.integers(0, 8)) == 4
    known = dict(OBSERVED)
    lines = ["type thing <: string"]
    for name, columns in OBSERVED.items():
        lines.append(f"relation {name}({', '.join(f'{column}: {kind}' for column, kind in columns)})")
    for number in range(draw(st.integers(0, strata))):
        more, made = writer.stratum(number, known)
        lines += more
        known |= made
    lines += [writer.invariant(number, known) for number in range(3)]
    text = "\n".join(lines) + "\n"
    loaded = load_text(text, "random.tcr")
    analysis = analyse(loaded.programs)
    errors = [d for d in (*loaded.diagnostics, *analysis.diagnostics) if d.severity == "error"]
    assert not errors and analysis.program is not None, f"{text}\n{render(errors, loaded.sources)}"
    facts = {name: _rows(draw, name, most_facts if name in EVENTS else 4) for name in OBSERVED}
    gaps = _gaps(draw)
    recorded = frozenset(OBSERVED) - (
        {draw(st.sampled_from(sorted(OBSERVED)))} if writer.chance(8) else set()
    )
    actions = _arrival(draw, facts, gaps)
    told = tuple(action[1] for action in actions if action[0] == "gap")
    stored = {name: tuple(Stored(0, row) for row in rows) for name, rows in facts.items()}
    coverage = Coverage(recorded, told, complete=not writer.chance(6))
    return Stream(text, analysis.program, tuple(actions), MemoryFacts(stored, coverage))


# ------------------------------------------------------------------------------------------------ things that count


class _Counting:
    """Rules over the ordinals of one thing; now and then one that has no bound."""

    def __init__(self, draw: Callable[..., object]) -> None:
        self.draw = draw
        self.derived = False
        self.loose = draw(st.integers(0, 4)) == 3
        self.number = 0

    def pick(self, *values: str) -> str:
        return self.draw(st.sampled_from(values))

    def atom(self, *, first: bool = False, derived: bool = True) -> str:
        names = ["tick", "tick", "mark", "item"] + ["d"] * (2 * derived and self.derived)
        name = "tick" if first else self.pick(*names)
        thing = "O0" if first else self.pick(*["O0"] * 16, "O1")
        nth = (
            "N0"
            if first
            else self.pick("N0", "N0", "N0", "N0", "N0 - 1", "N0 + 1", "N0 - 2", *["N1"] * self.loose)
        )
        extra = self.pick("", "", "a: A0", "a: A1", "a: 0")
        if name == "item":
            return f"item(thing: {thing}{', ' + extra if extra else ''})"
        if name == "mark":  # the call tells which ordinal it belongs to
            self.number += 1
            call = f"C{self.number}"
            if self.draw(st.integers(0, 3)) == 2:
                return f"tick(call: {call}, thing: {thing}, nth: {nth}), not {{ mark(call: {call}) }}"
            return f"mark(call: {call}, thing: {thing}), tick(call: {call}, nth: {nth})"
        rank = self.pick("", "", "rank: R0", "rank: 0", "rank: R1") if name == "tick" else ""
        step = self.pick("", "", "step: S0") if name == "tick" and first else ""
        parts = [f"thing: {thing}", f"nth: {nth}", rank, step, extra]
        return f"{name}({', '.join(part for part in parts if part)})"

    def body(self, *, derived: bool = True) -> str:
        parts = [self.atom(first=True, derived=derived)]
        if derived and self.draw(st.integers(0, 7)) == 5:  # what stands alone is known by its call only
            return "mark(call: C0, thing: O0), not { tick(call: C0, nth: N9), tick(thing: O0, nth: N9 - 1) }"
        parts += [self.atom(derived=derived) for _ in range(self.draw(st.integers(0, 2)))]
        choice = self.draw(st.integers(0, 5))
        if choice == 0:
            parts.append(f"not {{ {self.atom(derived=derived)} }}")
        if choice == 1:
            parts.append(f"Z = count {{ {self.atom(derived=derived)} }}, Z != 1")
        return ", ".join(parts)

    def text(self) -> str:
        lines = ["type thing <: string"]
        for name, columns in COUNTED.items():
            lines.append(f"relation {name}({', '.join(f'{column}: {kind}' for column, kind in columns)})")
        if self.draw(st.booleans()):
            lines.append("relation d(thing: thing, nth: int, a: int)")
            for _ in range(self.draw(st.integers(1, 2))):
                last = self.pick("A9", "N0")
                more = ", tick(thing: O0, nth: N0, a: A9)" if last == "A9" else ""
                lines.append(f"d(thing: O0, nth: N0, a: {last}) :- {self.body(derived=False)}{more}.")
            self.derived = True
        for number in range(3):
            body = self.body()
            wanted = [self.atom() for _ in range(self.draw(st.integers(1, 2)))]
            if body.startswith("mark(call: C0"):
                wanted = ["tick(call: C0, nth: N0)"]
            lines.append(f'invariant i{number} {{ each {body} expect {", ".join(wanted)} message "m" }}')
        return "\n".join(lines) + "\n"


def _counted_rows(draw: Callable[..., object]) -> dict[str, list[tuple]]:
    """What things count goes up with the steps of each rank, but for a few facts."""
    small = st.sampled_from(base.DOMAINS["int"])
    ticks: list[tuple] = []
    marks: list[tuple] = []
    call = 0
    spoilt = draw(st.integers(0, 5)) == 3
    for rank in range(WORLD):
        for thing in base.DOMAINS["thing"]:
            nth = draw(st.integers(0, 1))
            for step in range(STEPS):
                for _ in range(draw(st.integers(step == 0, 2))):
                    call += 1
                    nth += draw(st.integers(0, 1))
                    told = draw(st.integers(0, 5)) if spoilt else nth
                    ticks.append((rank, call, thing, told, step, draw(small)))
                    if draw(st.booleans()):
                        marks.append((rank, call, thing, step, draw(small)))
    items = draw(st.lists(st.tuples(st.sampled_from(base.DOMAINS["thing"]), small), max_size=3, unique=True))
    more = range(draw(st.integers(0, 2)))  # calls that no other fact is about
    marks += [(0, call + 1 + at, "x", draw(st.integers(0, STEPS - 1)), 0) for at in more]
    if spoilt and ticks:
        marks.append((0, ticks[0][1], "y", ticks[0][4], 0))
    return {"tick": ticks, "mark": marks, "item": items}


@st.composite
def counting(draw: Callable[..., object]) -> Stream:
    """Rules that count along things, and a run in which things count."""
    text = _Counting(draw).text()
    loaded = load_text(text, "random.tcr")
    analysis = analyse(loaded.programs)
    errors = [d for d in (*loaded.diagnostics, *analysis.diagnostics) if d.severity == "error"]
    assert not errors and analysis.program is not None, f"{text}\n{render(errors, loaded.sources)}"
    facts = _counted_rows(draw)
    gaps = []
    if draw(st.integers(0, 3)) == 2:
        first = draw(st.integers(0, STEPS - 1))
        gaps = [Gap(draw(st.sampled_from(["tick", "mark"])), draw(st.integers(-1, 1)), first, first, "lost")]
    actions = _arrival(draw, facts, gaps)
    stored = {name: tuple(Stored(0, row) for row in rows) for name, rows in facts.items()}
    coverage = Coverage(frozenset(COUNTED), tuple(gaps), complete=draw(st.integers(0, 5)) != 3)
    return Stream(text, analysis.program, tuple(actions), MemoryFacts(stored, coverage))
