"""Live checking gives the verdicts of the naive evaluator, in whatever portions and order facts arrive."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from tcrules.engine import naive
from tcrules.engine.check import check, naive_check
from tcrules.engine.duckdb_store import DuckDBStore, Settings
from tcrules.engine.facts import Coverage
from tcrules.engine.live import LiveSession, bodies

for _name in ("helping", "live_strategies"):
    _spec = importlib.util.spec_from_file_location(f"live_{_name}", Path(__file__).with_name(f"{_name}.py"))
    assert _spec and _spec.loader
    sys.modules[f"live_{_name}"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[f"live_{_name}"])
helping, strategies = sys.modules["live_helping"], sys.modules["live_live_strategies"]

KEPT = 1_000_000


def batch(program, facts, coverage, rules):
    """The definition, as what decides rules at the end."""
    model = naive.evaluate(program, facts)
    return naive_check(program, lambda invariant: naive.instances(invariant, model), coverage, rules)


def live(stream, keep):
    """A session to which everything happened, its result, and the violations that it found on the way."""
    coverage = Coverage(stream.facts.coverage.recorded)
    session = LiveSession(stream.program, coverage, keep=keep, clocks=strategies.CLOCKS)
    found = []
    for action in stream.actions:
        if action[0] == "feed":
            session.feed(action[1], action[2])
        elif action[0] == "advance":
            found += session.advance(action[1], action[2])
        elif action[0] == "gap":
            session.gap(action[1])
        else:
            session.world(strategies.WORLD)
    return session, session.close(complete=stream.facts.coverage.complete, batch=batch), found


#: What a rule says whose assumptions were wrong.
BROKEN = ("came after", "another thing", "two ordinals", "has facts at steps")


def by_ordinal(session) -> set[str]:
    """Rules that are decided by what objects count."""
    return {m.id for w in session._watchers() if w.horizon.clock is not None for m in w.family.members}


def compare(stream) -> list[str]:
    """Compare live with batch checking; in which way each rule was decided."""
    program, facts = stream.program, stream.facts
    expected = batch(program, facts, facts.coverage, program.invariants)
    _, result, _ = live(stream, KEPT)
    assert result == expected, stream.text
    session, alone, found = live(stream, 0)
    late, counting = session.late_rules(), by_ordinal(session)
    ways = []
    for invariant, verdict, wanted in zip(program.invariants, alone.verdicts, expected.verdicts, strict=True):
        if invariant.id in late:
            how = "late"
            assert verdict.status == "unknown"
        elif any(broken in reason for reason in verdict.reasons for broken in BROKEN):
            how = "too late facts"
            assert verdict.status == "unknown"
        else:
            how = f"{'counting' if invariant.id in counting else 'live'} {wanted.status}"
            assert verdict == wanted, stream.text
            if wanted.status == "violated" and not facts.coverage.gaps:
                told = {v.binding for v in found if v.rule == invariant.id}
                assert told <= set(expected.violations[invariant.id]), stream.text
        event(how)
        ways.append(how)
    return ways


@helping.examples(100)
@given(strategies.streams())
def test_random_programs(stream) -> None:
    compare(stream)


@helping.examples(100)
@given(strategies.counting())
def test_random_programs_that_count(stream) -> None:
    compare(stream)


@pytest.mark.parametrize(
    ("streams", "way", "violated", "held", "share"),
    [(strategies.streams, "live", 10, 5, 0.5), (strategies.counting, "counting", 30, 10, 0.4)],
)
def test_most_rules_are_decided_live(streams, way: str, violated: int, held: int, share: float) -> None:
    """The properties must not be about rules that are handed to batch checking. The same programs each time."""
    ways: Counter[str] = Counter()

    @settings(helping.examples(1), max_examples=60, derandomize=True, phases=[Phase.generate], database=None)
    @given(streams())
    def count(stream) -> None:
        ways.update(compare(stream))

    count()
    assert ways[f"{way} violated"] >= violated and ways[f"{way} held"] >= held, ways
    decided = sum(number for how, number in ways.items() if how.startswith(way))
    assert decided >= share * ways.total(), ways


@helping.examples(100)
@given(strategies.streams(most_facts=20, strata=3))
def test_more_random_programs(stream) -> None:
    compare(stream)


@helping.examples(50)
@given(strategies.streams())
def test_random_programs_in_functions_of_one_loop(stream) -> None:
    """As bodies with more loops than Python allows are written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "MOST_LOOPS", 1)
        compare(stream)


# ------------------------------------------------------------------------------------------------ single promises

DECLARED = """type thing <: string
relation event(rank: rank, step: step, a: int)
relation made(call: call, step: step, a: int)
relation noted(call: call, step: step, a: int)
relation item(thing: thing, a: int)
relation touch(thing: thing, step: step)
"""


def session_of(rules: str, **options) -> LiveSession:
    return LiveSession(helping.program_of(DECLARED + rules), world=options.pop("world", 1), **options)


def statuses(result) -> dict[str, str]:
    return {verdict.rule: verdict.status for verdict in result.verdicts}


SMALL = 'invariant small { each event(step: S, a: A) expect A < 5 message "{S}" }\n'
GROWS = 'invariant grows { each event(step: S, a: A), event(step: S - 1, a: B) expect A > B message "{S}" }\n'


def test_a_violation_is_told_when_its_step_is_closed_on_all_ranks() -> None:
    session = session_of(SMALL, world=2)
    session.feed("event", [(0, 0, 9), (1, 0, 1)])
    assert session.advance(0, 0) == []
    assert [(found.rule, found.step) for found in session.advance(1, 0)] == [("small", 0)]


def test_nothing_is_decided_before_the_number_of_ranks_is_known() -> None:
    session = LiveSession(helping.program_of(DECLARED + SMALL))
    session.feed("event", [(0, 0, 9)])
    assert session.advance(0, 0) == []
    session.world(1)
    assert len(session.advance(0, 1)) == 1


def test_a_fact_about_the_process_tells_the_number_of_ranks() -> None:
    text = (
        'invariant known { each process(rank: R), forward(rank: R, step: S) expect S >= 0 message "{S}" }\n'
    )
    session = LiveSession(helping.program_of(text))
    columns = session._relations["process"].predicate.columns
    neutral = {"int": 0, "string": "", "bool": False, "float": 0.0}
    row = tuple(2 if c.name == "world_size" else neutral[c.type.base] for c in columns)
    session.feed("process", [row])
    assert session._world == 2


def test_a_rank_that_ended_keeps_nobody_waiting() -> None:
    session = session_of(SMALL, world=2)
    session.feed("event", [(0, 0, 9)])
    session.advance(0, 0)
    assert len(session.end(1)) == 1


def test_facts_by_columns() -> None:
    session = session_of(SMALL)
    session.feed_columns("event", [[0, 0], [0, 0], [9, 1]])
    assert len(session.advance(0, 0)) == 1


def test_a_settled_fact_counts_for_a_step_of_which_another_rule_derived_already() -> None:
    rules = """with_item(S) :- event(step: S, a: A), item(a: A).
invariant now { each event(step: S, a: A) expect A > 0 or not with_item(S) message "m" }
invariant next { each event(step: S), event(step: S + 1) expect with_item(S) message "m" }
"""
    session = session_of(rules, keep=100)
    session.feed("event", [(0, 0, 7)])
    assert session.advance(0, 0) == []
    session.feed("item", [("x", 7)])
    session.feed("event", [(0, 1, 8)])
    assert session.advance(0, 1) == []
    assert statuses(session.close())["next"] == "held"


def test_a_fact_after_its_step_makes_the_rule_unknown_or_is_decided_at_the_end() -> None:
    for keep, status in ((0, "unknown"), (100, "violated")):
        session = session_of(SMALL, keep=keep)
        session.feed("event", [(0, 0, 1)])
        session.advance(0, 0)
        session.feed("event", [(0, 0, 9)])
        assert statuses(session.close(batch=batch)) == {"small": status}


def test_a_settled_fact_about_a_new_object_disturbs_nothing() -> None:
    rule = (
        'invariant odd { each touch(thing: T, step: S), item(thing: T, a: A) expect A != 1 message "{T}" }\n'
    )
    session = session_of(rule)
    session.feed("touch", [("x", 0)])
    session.feed("item", [("x", 0)])
    session.advance(0, 0)
    session.feed("item", [("y", 1)])
    session.feed("touch", [("y", 1)])
    assert [found.step for found in session.advance(0, 1)] == [1]
    assert statuses(session.close()) == {"odd": "violated"}


def test_a_settled_fact_about_a_known_object_is_noticed() -> None:
    rule = (
        'invariant odd { each touch(thing: T, step: S), item(thing: T, a: A) expect A != 1 message "{T}" }\n'
    )
    session = session_of(rule)
    session.feed("touch", [("x", 0)])
    session.advance(0, 0)
    session.feed("item", [("x", 1)])
    (verdict,) = session.close().verdicts
    assert verdict.status == "unknown" and "item came after" in verdict.reasons[0]


def test_a_call_with_two_steps_is_noticed() -> None:
    rule = 'invariant same { each made(call: C, a: A), noted(call: C, a: B) expect A = B message "{C}" }\n'
    session = session_of(rule)
    session.feed("made", [(7, 0, 1)])
    session.advance(0, 0)
    session.feed("noted", [(7, 1, 2)])
    session.advance(0, 1)
    (verdict,) = session.close().verdicts
    assert verdict.status == "unknown" and verdict.reasons == ("call 7 has facts at steps 0 and 1",)


def test_a_rule_that_is_added_sees_the_next_step_and_is_never_held() -> None:
    session = session_of(SMALL)
    session.feed("event", [(0, 0, 1)])
    session.advance(0, 0)
    session.add(helping.program_of(DECLARED + GROWS))
    with pytest.raises(ValueError, match="grows is in the session already"):
        session.add(helping.program_of(DECLARED + GROWS))
    for step, value in ((1, 2), (2, 3)):
        session.feed("event", [(0, step, value)])
        assert session.advance(0, step) == []
    small, grows = session.close().verdicts
    assert (small.status, small.held) == ("held", 3)
    assert (grows.status, grows.held) == ("unknown", 1)  # steps 1 and 2, not 0 and 1
    assert grows.reasons == ("added at step 1: earlier steps were not looked at",)


def test_a_rule_that_raises_is_given_up_and_the_others_go_on(monkeypatch) -> None:
    session = session_of(SMALL + GROWS)
    watcher = next(w for w in session._watchers() if w.family.members[0].id == "grows")
    session.feed("event", [(0, 0, 1)])
    session.advance(0, 0)

    class Faulty:
        def evaluate(self, _):
            raise ZeroDivisionError("no")

    monkeypatch.setattr(watcher, "compiled", Faulty())
    session.feed("event", [(0, 1, 9)])
    assert [found.rule for found in session.advance(0, 1)] == ["small"]
    verdicts = {verdict.rule: verdict for verdict in session.close().verdicts}
    assert verdicts["grows"].status == "unknown"
    assert verdicts["grows"].reasons == ("could not be evaluated at step 1: ZeroDivisionError: no",)
    assert verdicts["small"].status == "violated"


def test_memory_is_what_was_computed() -> None:
    session = session_of(SMALL + GROWS.replace("S - 1", "S - 3"))
    assert session.memory() == "event: the step itself and 3 before"
    for step in range(300):
        session.feed("event", [(0, step, value) for value in range(7)])
        session.advance(0, step)
        assert session.held().get("event", 0) == 7 * min(step + 1, 3)
        assert all(len(watcher.tally._recent) < 2 * 64 for watcher in session._watchers())


def test_an_unbounded_rule_is_named_with_its_literal() -> None:
    session = session_of('invariant any { each event(step: S) expect made(a: 1) message "{S}" }\n')
    assert session.memory() == "any: at the end, because of made(a: 1)"
    session.feed("event", [(0, 0, 1)])
    (verdict,) = session.close().verdicts
    assert verdict.status == "unknown" and "made(a: 1) looks back without a bound" in verdict.reasons[0]


def test_more_facts_than_may_be_kept() -> None:
    session = session_of('invariant any { each event(step: S) expect made(a: 1) message "{S}" }\n', keep=2)
    session.feed("event", [(0, 0, 1), (0, 0, 2)])
    session.feed("made", [(1, 0, 1)])
    assert statuses(session.close(batch=batch)) == {"any": "unknown"}


def test_what_was_kept_is_decided_by_the_store() -> None:
    session = session_of('invariant any { each event(step: S) expect made(a: 1) message "{S}" }\n', keep=9)
    session.feed("event", [(0, 0, 1)])
    session.feed("made", [(1, 0, 1)])
    assert statuses(session.close()) == {"any": "held"}


# ------------------------------------------------------------------------------------------------ less coverage


@helping.examples(100)
@given(strategies.streams(), st.data())
def test_less_coverage_never_turns_unknown_into_a_verdict(stream, data) -> None:
    """Gaps are added and relations taken from what was recorded; no rule that was unknown becomes decided."""
    before = stream.facts.coverage
    lost = data.draw(st.sets(st.sampled_from(sorted(strategies.EVENTS)), max_size=2))
    gaps = tuple(strategies._gaps(data.draw))
    less = Coverage(
        before.recorded - lost, (*before.gaps, *gaps), before.complete and data.draw(st.booleans())
    )
    program, facts = stream.program, stream.facts
    model = naive.evaluate(program, facts)
    first, second = (
        naive_check(program, lambda invariant: naive.instances(invariant, model), coverage)
        for coverage in (before, less)
    )
    with DuckDBStore.from_memory(facts, program, Settings(threads=1)) as store:
        assert check(program, store, less) == second
    for one, other in zip(first.verdicts, second.verdicts, strict=True):
        if one.status == "unknown":
            assert other.status in ("unknown", "vacuous"), stream.text
            assert other.status == "unknown" or not one.unknown, stream.text
        assert other.violated <= one.violated and other.held <= one.held, stream.text
