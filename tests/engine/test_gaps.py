"""What a gap hides never turns a verdict: checked against the facts that it hides."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.analyse.polarity import is_open_ended, outside
from tcrules.engine.facts import Coverage, Gap, MemoryFacts
from tcrules.engine.gaps import holes
from tcrules.engine.ir import Bind, Group, Invariant, Reach, Steps
from tcrules.engine.verdict import doubt, moment

# With --import-mode=importlib a test folder is not importable by name.
_spec = importlib.util.spec_from_file_location("engine_helping", Path(__file__).with_name("helping.py"))
assert _spec and _spec.loader
helping = importlib.util.module_from_spec(_spec)
sys.modules["engine_helping"] = helping
_spec.loader.exec_module(helping)

#: Facts of both relations have the same moments: time grows with the step, and a call belongs to one rank.
PROGRAM = helping.program_of("""
relation did(rank: rank, step: step, call: call, at: time, what: string)
relation undid(rank: rank, step: step, call: call, at: time, what: string)
settled_by(R, S, W) :- undid(R, S, _, _, W), not did(R, S, _, _, W).
before(R, S, T) :- did(R, S, _, T, _), undid(R, S, _, U, _), U < T.
chain(R, S) :- undid(R, S, _, _, "a").
chain(R, S) :- chain(R, S), did(R, S, _, _, "b").
relation latest(rank: rank, what: string, at: max time)
latest(R, W, T) :- undid(R, _, _, T, W).
invariant same { each did(R, S, _, _, W) expect undid(R, S, _, _, W) message "m" }
invariant same-call { each did(R, S, C, _, W) expect undid(_, _, C, _, W) message "m" }
invariant next { each did(R, S, _, _, W) expect undid(R, S + 1, _, _, W) message "m" }
invariant previous { each did(R, S, _, _, W), S > 0 expect undid(R, S - 1, _, _, W) message "m" }
invariant never { each did(R, S, _, _, W) expect not undid(R, S, _, _, W) message "m" }
invariant all-ranks { each did(step: S, what: W) expect undid(step: S, what: W) message "m" }
invariant other-rank { each did(R, S, _, _, W), did(Q, S, _, _, W), Q != R expect undid(Q, S, _, _, W) message "m" }
invariant earlier { each did(R, S, _, T, W) expect undid(R, _, _, U, W), U < T message "m" }
invariant later { each did(R, S, _, _, W) expect undid(R, T, _, _, W), T > S message "m" }
invariant ever { each did(R, S, _, _, W) expect undid(R, _, _, _, W) message "m" }
invariant two { each did(R, S, _, _, W), did(R, T, _, U, W), T > S expect undid(R, _, _, V, W), V < U message "m" }
invariant stepless { each did(R, _, C, _, W) expect undid(R, _, C, _, W) message "m" }
invariant derived { each did(R, S, _, _, W) expect settled_by(R, S, W) message "m" }
invariant through-time { each did(R, S, _, T, _) expect before(R, S, T) message "m" }
invariant recursive { each did(R, S, _, _, _) expect chain(R, S) message "m" }
invariant counted {
    each did(R, S, _, _, W), N = count { undid(R, S, _, _, W) } expect N > 0 message "m"
}
invariant counted-all { each did(R, S, _, _, W), N = count { undid(R, _, _, _, W) } expect N < 2 message "m" }
invariant best { each did(R, S, _, T, W) expect latest(R, W, U), U < T message "m" }
invariant since-first {
    each did(R, S, _, _, W), F = min(T) { did(R, T, _, _, W) }, F < S
    expect undid(R, S, _, _, W) message "m"
}
invariant at-least {
    each did(R, S, _, _, W), N = count { did(R, _, C, _, W) }, N >= 2
    expect undid(R, S, _, _, W) message "m"
}
invariant at-most {
    each did(R, S, _, _, W), N = count { did(R, _, C, _, W) }, N <= 2
    expect undid(R, S, _, _, W) message "m"
}
invariant read-on {
    each did(R, S, _, _, W), N = count { did(R, _, C, _, W) }, N >= 2
    expect undid(R, S, N, _, W) message "m"
}
often(R, W) :- did(R, _, _, _, W), N = count { did(R, _, C, _, W) }, N > 1.
invariant often-seen { each undid(R, S, _, _, W), often(R, W) expect not did(R, S, _, _, W) message "m" }
invariant unless { each did(R, S, _, _, W), not undid(R, _, _, _, W) expect false message "m" }
invariant both { each did(R, S, _, _, W) expect undid(R, S, _, _, W), not undid(R, S, _, _, "b") message "m" }
invariant either-way { each did(R, S, _, _, W), not undid(R, _, _, _, "b") expect W = "a" message "m" }
invariant same-batch {
    each batch(rank: R, loader: L, epoch: E, index: I, step: S),
         not batch_field(rank: R, loader: L, epoch: E, index: I)
    expect batch(rank: R, loader: L, epoch: E, index: J), J > I message "m"
}
invariant quiet { each did(R, S, _, _, W), not undid(R, S - 1, _, _, W) expect undid(R, S, _, _, _) message "m" }
""")
NAMES = ("did", "undid", "batch", "batch_field")
STEPS = range(4)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[MemoryFacts, tuple[Gap, ...]]:
    """Facts of two ranks over a few steps, and gaps."""
    places = draw(
        st.lists(
            st.tuples(
                st.sampled_from(NAMES[:2]),
                st.integers(0, 1),
                st.sampled_from(STEPS),
                st.integers(0, 1),
                st.sampled_from("aaab"),
            ),
            min_size=4,
            max_size=16,
        )
    )
    rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in NAMES}
    for name, rank, step, call, what in places:
        call_id = 1 + call + 2 * rank + 4 * step
        rows[name].append((rank, step, call_id, 100 * step + sum(map(len, rows.values())), what))
        rest = (0, 0, 0) if name == "did" else (0, what, "", 0, False)
        rows["batch" if name == "did" else "batch_field"].append(
            (rank, "L", 0, 2 * step + call, -1, step, *rest)
        )
    gaps = []
    for _ in range(draw(st.integers(1, 3))):  # of one relation several, each with stretches of its own
        first, last = draw(st.integers(0, 4)), draw(st.integers(-1, 4))
        stretches = draw(st.lists(st.integers(0, 3), max_size=2, unique=True).map(sorted))
        recorded = tuple((step, step) for step in stretches if first <= step and (last == -1 or step <= last))
        if len(recorded) == 2 and recorded[0][1] + 1 == recorded[1][0]:
            recorded = ((recorded[0][0], recorded[1][1]),)
        gaps.append(Gap(draw(st.sampled_from(NAMES)), draw(st.integers(-1, 1)), first, last, "", recorded))
    return helping.facts_of(**rows), tuple(gaps)


def hidden(gap: Gap, values: tuple[object, ...]) -> bool:
    rank, step = values[0], values[5 if gap.relation.startswith("batch") else 1]
    assert isinstance(step, int)
    within = gap.first_step <= step and (gap.last_step == -1 or step <= gap.last_step)
    return within and gap.rank in (-1, rank) and not any(a <= step <= b for a, b in gap.recorded)


def without(facts: MemoryFacts, gaps: tuple[Gap, ...]) -> MemoryFacts:
    return MemoryFacts(
        {
            name: tuple(
                row for row in rows if not any(g.relation == name and hidden(g, row.values) for g in gaps)
            )
            for name, rows in facts.relations.items()
        }
    )


def places_that_matter(rule: Invariant) -> list[int]:
    """The variables that are the same whatever is missing, by their places: not the size of a group that may grow."""
    used = outside(rule.expect, (rule.step, rule.rank))
    loose = {g.result for g in rule.each if isinstance(g, Group) and is_open_ended(g, rule.each, used)}
    loose |= {one.variable for one in rule.each if isinstance(one, Bind) and one.value in loose}
    return [place for place, variable in enumerate(rule.variables) if variable not in loose]


@helping.examples(200)
@given(worlds())
def test_what_is_certain_is_true(world) -> None:
    facts, gaps = world
    coverage = Coverage(frozenset(NAMES), gaps)
    whole, seen = naive.evaluate(PROGRAM, facts), naive.evaluate(PROGRAM, without(facts, gaps))
    for rule in PROGRAM.invariants:
        truth = {one.values: one.held for one in naive.instances(rule, whole)}
        missing = doubt(rule, coverage)
        kept = places_that_matter(rule)
        violated = {tuple(values[at] for at in kept) for values, held in truth.items() if not held}
        for one in naive.instances(rule, seen):
            certain = not missing.covers(*moment(rule, one.values), held=one.held)
            event(f"{rule.id}: {'held' if one.held else 'violated'}, {'certain' if certain else 'unknown'}")
            if certain and one.held:  # or no instance at all
                assert truth.get(one.values, True), (rule.id, one, gaps)
            elif certain:
                assert tuple(one.values[at] for at in kept) in violated, (rule.id, one, gaps)


def test_what_is_read_elsewhere_is_not_doubted() -> None:
    gap = Gap("undid", 1, 2, 3, "")
    around = {rule.id: doubt(rule, Coverage(frozenset(NAMES), (gap,))) for rule in PROGRAM.invariants}
    doubted = {
        held: {
            rule: found
            for rule, missing in around.items()
            if (found := {step for step in range(5) if missing.covers(step, 1, held=held)})
        }
        for held in (False, True)
    }
    assert doubted[False] == {
        **{name: {2, 3} for name in ("same", "all-ranks", "other-rank", "same-call")},
        **{name: {2, 3} for name in ("derived", "through-time", "recursive", "counted")},
        **{name: {2, 3} for name in ("since-first", "at-least", "at-most", "read-on", "both")},
        **{name: set(range(5)) for name in ("later", "ever", "stepless", "counted-all", "best", "two")},
        **{name: set(range(5)) for name in ("unless", "either-way")},
        "earlier": {2, 3, 4},
        "next": {1, 2},
        "previous": {3, 4},
        "quiet": {2, 3, 4},
    }
    assert doubted[True] == {"never": {2, 3}, "both": {2, 3}, "best": set(range(5))}
    own = {name for name, missing in around.items() if missing.gaps and not missing.covers(2, 0, held=False)}
    assert not own & {"all-ranks", "other-rank"}
    assert {"same", "same-call", "earlier", "derived"} <= own


@pytest.mark.parametrize(
    ("step", "around", "covered"),
    [
        (3, (0, 0), False),
        (4, (0, 0), True),
        (7, (0, 0), False),
        (7, (-1, 0), True),
        (8, (-1, 0), False),
        (8, (-2, 0), True),
        (8, (None, 0), True),
        (8, (0, None), True),
        (3, (None, 0), False),
        (99, (0, 0), True),
    ],
)
def test_samples_within_a_gap(step: int, around: tuple[int | None, int | None], covered: bool) -> None:
    gap = Gap("undid", -1, 4, -1, "", ((7, 8), (16, 17)))
    (hole,) = holes([gap], Reach(others=Steps(*around)))
    assert hole.covers(step, 0) is covered
