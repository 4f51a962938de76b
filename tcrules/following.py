"""Checks a run while it goes on: facts as they are written, violations as soon as a step decides them.

Only what is certain is told, as of a run that was cut off at this moment: whatever is told is in the report at the
end. If names or ranks turn out to be others than was known, all is read again; what was told is not told twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcrules.engine.facts import Coverage, Gap, Stored
from tcrules.engine.live import LiveSession
from tcrules.engine.verdict import doubt, moment, order
from tcrules.grammar.records import replace
from tcrules.instrument.following import Follower
from tcrules.instrument.runs import sampled_as
from tcrules.instrument.schema import BY_NAME
from tcrules.instrument.tables import NEUTRAL
from tcrules.report.fold import find_location, fold, location_predicate
from tcrules.selection import needed
from tcrules.suppressing import Excuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tcrules.engine.ir import Invariant, Predicate, Program, Value
    from tcrules.engine.live import Found
    from tcrules.engine.verdict import Binding
    from tcrules.instrument.following import News
    from tcrules.report.model import Location, Violation

#: A run of which the names or ranks change more often is not followed any more: each time all is read again.
MOST_AGAIN = 32
#: Steps before the last one of which is remembered whether they were recorded.
LOOK_BACK = 16


@dataclass(frozen=True, slots=True)
class Divided:
    """Rules by when they are decided: with their steps, by looking at the run now and then, or at its end."""

    live: tuple[Invariant, ...]
    between: tuple[Invariant, ...]
    at_end: tuple[Invariant, ...]


def divide(program: Program) -> Divided:
    """Tell when each rule can be decided; a violation that more steps could undo is one only at the end."""
    going_on = Coverage(frozenset(program.predicates), complete=False)
    late = LiveSession(program).late_rules()
    certain = [rule for rule in program.invariants if not doubt(rule, going_on).violated]
    return Divided(
        tuple(rule for rule in certain if rule.id not in late),
        tuple(rule for rule in certain if rule.id in late),
        tuple(rule for rule in program.invariants if rule not in certain),
    )


@dataclass(frozen=True, slots=True)
class Sighting:
    """A rule is violated: the first time, or again. `count` is how often so far; `step` is the last one."""

    violation: Violation
    count: int
    step: int
    first: bool


class Tired(Exception):
    """A run cannot be followed any more; the text says why."""


class Following:
    """One run that is checked while it goes on.

    Args:
        run: the run folder.
        program: all rules; those that steps decide are checked.
        tell: called with each sighting: the first of each rule, and when its count has grown tenfold.
    """

    def __init__(self, run: Path, program: Program, tell: Callable[[Sighting], None]) -> None:
        self.divided = divide(program)
        self.counts: dict[str, int] = {}
        self._tell = tell
        self._program = replace(program, invariants=self.divided.live)
        self._rules = {invariant.id: invariant for invariant in program.invariants}
        self._watched = sorted(needed(self._program))
        self._excuses = Excuses(program)
        self._location = location_predicate(program.predicates)
        self._told: dict[str, Sighting] = {}
        self._session = LiveSession(self._program)
        self._follower = Follower(run, self._session.reads())
        self._source = _Source(self._follower)
        self._sampled: dict[tuple[int, str], dict[int, int]] = {}
        self._begun = 0

    @property
    def steps(self) -> int:
        """How many steps are over."""
        return self._follower.steps

    @property
    def behind(self) -> int:
        """How many of these have not been checked yet."""
        return self._follower.behind

    def read(self) -> bool:
        """Read what is new, and tell what it decides; whether there is more to be read already.

        Raises:
            Tired: what was known of the run changed too often.
        """
        news = self._follower.read()
        if news.again:
            self._again()
            return True
        for relation, columns in news.facts:
            self._feed(relation, columns)
        self._note(news)
        if news.until is not None:
            last = news.until == math.inf
            found = self._session.end(0) if last else self._session.advance(0, int(news.until))
            self._look_at(found)
            self._forget(news.until)
        return news.more

    def tell(self, violations: Iterable[Violation]) -> None:
        """Tell violations that were found by looking at the run as it is now."""
        for violation in violations:
            before = self._told.get(violation.rule)
            step = violation.last_step if violation.last_step is not None else -1
            self._say(Sighting(violation, violation.count, step, before is None))

    # ------------------------------------------------------------------ facts
    def _again(self) -> None:
        self._begun += 1
        if self._begun > MOST_AGAIN:
            raise Tired("names of its objects change again and again")
        coverage = Coverage(self._follower.covered, complete=False)
        # Ranks advance together, when all of them have made a step: to the session they are one.
        self._session = LiveSession(self._program, coverage, world=1, most_violations=1)
        self._sampled.clear()
        self.counts.clear()

    def _feed(self, relation: str, columns: Mapping[str, Any]) -> None:
        number = len(next(iter(columns.values())))
        self._session.feed_columns(
            relation,
            [
                columns[column.name].tolist()
                if column.name in columns
                else [NEUTRAL[column.type.base]] * number
                for column in self._program.predicates[relation].columns
            ],
        )

    def _note(self, news: News) -> None:
        """Take over which facts are missing, and which of them are there after all."""
        for rank, first, last, whose in news.recorded:
            self._sampled.setdefault((rank, whose), {})[first] = last
        for gap in news.gaps:
            for name in self._watched if gap.relation == "*" else (gap.relation,):
                self._session.gap(Gap(name, gap.rank, gap.first_step, gap.last_step, gap.why))
        if not news.recorded and not news.gaps:
            return
        stretches = {whose: tuple(sorted(found.items())) for whose, found in self._sampled.items()}
        known = self._session.coverage
        gaps = ((gap, stretches.get((gap.rank, sampled_as(gap.relation, gap.why)), ())) for gap in known.gaps)
        self._session.coverage = replace(
            known, gaps=tuple(replace(gap, recorded=found) for gap, found in gaps)
        )

    def _forget(self, until: float) -> None:
        """No rule looks back to stretches that are over for so long."""
        for whose, found in self._sampled.items():
            self._sampled[whose] = {first: last for first, last in found.items() if last > until - LOOK_BACK}

    # ------------------------------------------------------------------ violations
    def _look_at(self, found: Sequence[Found]) -> None:
        """Count what was decided, but for what is meant, and tell of it."""
        if not found:
            return
        self._excuses.read(self._follower.files())
        broken: dict[str, list[Found]] = {}
        for each in found:
            if not self._is_meant(each):
                broken.setdefault(each.rule, []).append(each)
        for rule, cases in broken.items():
            self.counts[rule] = self.counts.get(rule, 0) + len(cases)
            before = self._told.get(rule)
            violation = self._violation(rule, cases) if before is None else before.violation
            step = max(self._step(case) for case in cases)
            self._say(Sighting(violation, self.counts[rule], step, before is None))

    def _step(self, case: Found) -> int:
        """The step of a breach; where it tells none, that which decided it."""
        step, _ = moment(self._rules[case.rule], case.binding)
        return case.step if step is None else step

    def _violation(self, rule: str, cases: Sequence[Found]) -> Violation:
        """The first of them, as the report at the end shows it."""
        invariant = self._rules[rule]
        ordered = sorted((case.binding for case in cases), key=lambda binding: order(invariant, binding))
        bindings = [_named(invariant, binding) for binding in ordered]
        return fold(invariant, bindings, self._source, self._location)[0]

    def _is_meant(self, case: Found) -> bool:
        invariant = self._rules[case.rule]

        def where() -> Location | None:
            return find_location(invariant, _named(invariant, case.binding), self._source, self._location)

        return self._excuses.means(case.rule, case.binding, where)

    def _say(self, sighting: Sighting) -> None:
        told = self._told.get(sighting.violation.rule)
        if told is None or sighting.count >= 10 * told.count:
            self._told[sighting.violation.rule] = sighting
            self._tell(sighting)


class _Source:
    """Facts of the run as a proof or a location wants them: looked up in the files when asked for."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def lookup(self, predicate: Predicate, bound: Mapping[int, Value]) -> Iterator[Stored]:
        """Facts whose column `i` equals `bound[i]`; of relations of the user none."""
        if predicate.name not in BY_NAME:
            return
        names = [column.name for column in predicate.columns]
        for fact in self._follower.lookup(predicate.name, {names[at]: value for at, value in bound.items()}):
            yield Stored(0, tuple(fact[name] for name in names))


def _named(invariant: Invariant, values: Binding) -> dict[str, Value]:
    return {variable.name: value for variable, value in zip(invariant.variables, values, strict=True)}
