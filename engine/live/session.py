"""The face of live checking: facts come in while a run goes on, violations come out with the steps that decide them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from tcrules.engine.analyse.clocks import CLOCKS, Clock, observed_reach
from tcrules.engine.check import CheckResult, check
from tcrules.engine.facts import Coverage, Gap, MemoryFacts, Stored
from tcrules.engine.live.guards import Calls, Seen
from tcrules.engine.live.ordinals import Ordinals
from tcrules.engine.live.tables import Facts, normaliser
from tcrules.engine.live.watch import Watch
from tcrules.engine.verdict import MOST_VIOLATIONS, Binding, Counts, RuleVerdict, doubt, verdict

if TYPE_CHECKING:
    from tcrules.engine.ir import Fact, Invariant, Predicate, Program, Value
    from tcrules.engine.live.watch import Watcher

#: Decides rules at the end from all facts: (program, facts, coverage, rules) -> result.
Batch: TypeAlias = Callable[["Program", MemoryFacts, Coverage, Sequence["Invariant"]], CheckResult]


@dataclass(frozen=True, slots=True)
class Found:
    """A violation, and the step with whose end it was decided."""

    rule: str
    binding: Binding
    step: int


class LiveSession:
    """Checks rules while a run goes on. Not thread-safe: one thread feeds and advances.

    A step is closed when all ranks have advanced beyond it; then the instances are decided whose last step it is.
    `close` returns what `check` would return for the same facts. A rule is decided at the end, from facts that were
    kept, if it looks back without a bound, or if facts came after steps that they concern; if facts are not kept, it
    is unknown, with the reason.

    Args:
        program: the rules to begin with.
        coverage: what will be recorded (default: all relations of the rules); `gap` adds what turns out to be missing.
        world: number of ranks; while it is not known, no step is closed and facts wait. A fact of `process` tells it.
        keep: how many facts to keep for rules that are decided at the end; with more, none are kept.
        most_violations: how many violations of one rule are kept; all are counted.
        clocks: what objects count; a rule that no number of steps bounds may be bounded by one of them.

    Cost: a step takes time linear in its facts and instances. Memory: see `memory`.
    """

    def __init__(
        self,
        program: Program,
        coverage: Coverage | None = None,
        *,
        world: int | None = None,
        keep: int = 0,
        most_violations: int = MOST_VIOLATIONS,
        clocks: Sequence[Clock] = CLOCKS,
    ) -> None:
        self.coverage = coverage or Coverage(frozenset())
        self._all_recorded = coverage is None
        self._facts, self._seen, self._calls = Facts(), Seen(), Calls()
        self._ordinals = {clock: Ordinals(clock, self._facts) for clock in clocks}
        self._most, self._keep = most_violations, keep
        self._kept: dict[str, list[Fact]] | None = {} if keep else None
        self._number_kept = 0
        self._relations: dict[str, _Relation] = {}
        self._watches: list[Watch] = []
        self._added: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._ends: dict[int, float] = {}
        self._world = world
        self._closed, self._latest = -math.inf, -math.inf
        self._unsettled = False
        self.add(program)

    # -------------------------------------------------------------------------------------------- rules

    def add(self, program: Program) -> None:
        """More rules; they see the steps from the next one that opens, and are unknown for those before.

        Raises ValueError for a rule whose id is taken, or a relation with other columns than before.
        """
        taken = {invariant.id for watch in self._watches for invariant in watch.program.invariants}
        again = sorted(taken & {invariant.id for invariant in program.invariants})
        if again:
            raise ValueError(f"rule {again[0]} is in the session already")
        for name, predicate in program.predicates.items():
            if predicate.observed and self._relations.get(name, _Relation(predicate)).predicate != predicate:
                raise ValueError(f"relation {name} has other columns than in the rules of the session")
        since = None if self._latest == -math.inf else int(self._latest) + 1
        watch = Watch(program, self._facts, self._ordinals, (self._seen, self._calls), self._most, since)
        self._watches.append(watch)
        for name, predicate in program.predicates.items():
            if predicate.observed:
                self._relations.setdefault(name, _Relation(predicate))
        if self._all_recorded:
            self.coverage = replace(self.coverage, recorded=frozenset(self._relations))
        if since is not None:
            why = f"added at step {since}: earlier steps were not looked at"
            self._added.update({invariant.id: why for invariant in program.invariants})

    # -------------------------------------------------------------------------------------------- facts

    def feed(self, relation: str, rows: Iterable[Sequence[Value]]) -> None:
        """Facts of a relation, columns in declared order, in any portions. Relations that no rule reads are ignored."""
        known = self._relations.get(relation)
        if known is None:
            return
        facts = known.facts(rows)
        if not facts:
            return
        if self._kept is not None:
            self._keep_facts(relation, facts)
        if known.step is None:
            self._unsettled |= bool(self._facts.add_settled(relation, facts)) if known.settled else False
        else:
            self._feed_events(relation, known.step, facts)
        if relation == "process" and self._world is None and known.world is not None:
            self.world(max(int(row[known.world]) for row in facts))

    def feed_columns(self, relation: str, columns: Sequence[Sequence[Value]]) -> None:
        """The same facts by columns."""
        self.feed(relation, zip(*columns, strict=True))

    def world(self, size: int) -> None:
        """The number of ranks is known now."""
        self._world = size

    def gap(self, gap: Gap) -> None:
        """Facts are missing. A gap that reaches far back makes the rules that watch its relation unknown."""
        self.coverage = replace(self.coverage, gaps=(*self.coverage.gaps, gap))
        for watcher in self._watchers():
            watched = gap.relation in watcher.family.invariant.watched
            if watched and watcher.tally.reaches_back(gap.first_step):
                watcher.wrong = watcher.wrong or f"a gap in {gap.relation} was reported too late"

    def _feed_events(self, relation: str, column: int, facts: list[Fact]) -> None:
        steps: set[Any] = set(map(itemgetter(column), facts))
        self._latest = max(self._latest, *steps)
        if min(steps) > self._closed:
            self._facts.add_events(relation, column, facts, steps)
            return
        for watcher in self._watchers():
            if relation in watcher.reads:
                watcher.wrong = watcher.wrong or f"a fact of {relation} came after its step was closed"
        open_ = [row for row in facts if int(row[column]) > self._closed]
        self._facts.add_events(relation, column, open_, steps)

    def _keep_facts(self, relation: str, facts: list[Fact]) -> None:
        assert self._kept is not None, "the caller asks"
        self._kept.setdefault(relation, []).extend(facts)
        self._number_kept += len(facts)
        if self._number_kept > self._keep:
            self._kept = None

    # -------------------------------------------------------------------------------------------- time

    def advance(self, rank: int, step: int) -> list[Found]:
        """A rank has reported all facts up to the end of a step. Returns the violations that this decides."""
        self._ends[rank] = max(step, self._ends.get(rank, -math.inf))
        self._latest = max(self._latest, step)
        return self._decide(self._watermark())

    def end(self, rank: int) -> list[Found]:
        """A rank reports nothing more; others are not kept waiting for it."""
        self._ends[rank] = math.inf
        return self._decide(self._watermark())

    def _watermark(self) -> float:
        """The last step that every rank has closed."""
        if self._world is None:
            return -math.inf
        return min(
            (self._ends.get(rank, -math.inf) for rank in {*range(self._world), *self._ends}),
            default=-math.inf,
        )

    def _decide(self, until: float) -> list[Found]:
        if until <= self._closed:
            return []
        found: list[Found] = []
        ahead = {steps for watch in self._watches for steps in watch.steps_ahead()}
        back = max((watch.back for watch in self._watches), default=0)
        events = self._facts.steps(self._closed - max(ahead, default=0) - 1, until)
        steps = sorted(
            {step + more for step in events for more in ahead if self._closed < step + more <= until}
        )
        self._settle()
        for step in steps:
            for watch in self._watches:
                for watcher in watch.by(None):
                    decided = watcher.decide(step, step, self.coverage)
                    found += [Found(invariant.id, binding, step) for invariant, binding in decided]
        for step in sorted(step for step in events if step > self._closed):
            self._note(step)
            found += self._count(step)
        if until == math.inf:
            found += self._count(max(events, default=0), end=True)
        self._closed = until
        if until != math.inf:
            self._facts.forget(int(until) + 1)
            for watch in self._watches:
                watch.forget(int(until) + 1 - back)
        return found

    def _count(self, step: int, *, end: bool = False) -> list[Found]:
        """Decide the ordinals that objects have left with a step; `end`: all that are open."""
        found: list[Found] = []
        for clock, ordinals in self._ordinals.items():
            if not ordinals.back:
                continue
            for relation, why in ordinals.take(step).items() if not end else ():
                for watcher in (watcher for watch in self._watches for watcher in watch.by(clock)):
                    if relation in watcher.reads:
                        watcher.wrong = watcher.wrong or why
            for moments in ordinals.close(end=end):
                for watch in self._watches:
                    for moment, watcher in ((m, watcher) for m in moments for watcher in watch.by(clock)):
                        decided = watcher.decide(moment, step, self.coverage)
                        found += [Found(invariant.id, binding, step) for invariant, binding in decided]
                    watch.forget(math.inf, clock)
        return found

    def _note(self, step: int) -> None:
        """A step is decided: remember what must agree with later facts, see whether it agrees with earlier ones."""
        self._seen.note(self._facts, step)
        for relation, why in self._calls.note(self._facts, step).items():
            for watcher in self._watchers():
                if watcher.by_call and relation in watcher.reads:
                    watcher.wrong = watcher.wrong or why

    def _settle(self) -> None:
        """Settled facts are new: what is derived from them changes, and rules that read them too early are marked."""
        if not self._unsettled:
            return
        self._unsettled = False
        new = self._facts.take_new()
        for watch in self._watches:
            watch.unsettle(new, self._seen)

    def _watchers(self) -> Iterable[Watcher]:
        return (watcher for watch in self._watches for watcher in watch.watchers)

    # -------------------------------------------------------------------------------------------- the end

    def close(self, *, complete: bool = True, batch: Batch | None = None) -> CheckResult:
        """End the run: what is still open is decided, and all verdicts are returned, in the order of the rules.

        Args:
            complete: every process ended by itself; else the run was cut off.
            batch: decides the rules that no step could decide, from the facts that were kept (default: DuckDB).
        """
        self.coverage = replace(self.coverage, complete=self.coverage.complete and complete)
        self._decide(math.inf)
        verdicts: dict[str, RuleVerdict] = {}
        violations: dict[str, tuple[Binding, ...]] = {}
        for watch in self._watches:
            left = dict(watch.late)
            for watcher in watch.watchers:
                if watcher.horizon.first_steps == ():
                    watcher.decide(0, 0, self.coverage)  # it reads no events
                for found, broken in watcher.tally.verdicts(self.coverage):
                    if watcher.wrong:
                        left[found.rule] = watcher.wrong
                        continue
                    why = watcher.failed or self._added.get(found.rule, "")
                    verdicts[found.rule] = _partly(found, why) if why else found
                    violations[found.rule] = broken
            self._at_end(watch, left, verdicts, violations, batch or self._in_store)
        order = [invariant for watch in self._watches for invariant in watch.program.invariants]
        evaluated = sum(not doubt(invariant, self.coverage).rule for invariant in order)
        shown = {
            invariant.id: violations[invariant.id] for invariant in order if violations.get(invariant.id)
        }
        return CheckResult(tuple(verdicts[invariant.id] for invariant in order), shown, evaluated)

    def _at_end(
        self,
        watch: Watch,
        left: Mapping[str, str],
        verdicts: dict[str, RuleVerdict],
        violations: dict[str, tuple[Binding, ...]],
        batch: Batch,
    ) -> None:
        """Rules that no step decided."""
        rules = [invariant for invariant in watch.program.invariants if invariant.id in left]
        known = [invariant for invariant in rules if invariant.id not in self._added]
        if self._kept is not None and known:
            stored = {name: tuple(Stored(0, row) for row in rows) for name, rows in self._kept.items()}
            result = batch(watch.program, MemoryFacts(stored, self.coverage), self.coverage, known)
            verdicts.update({found.rule: found for found in result.verdicts})
            violations.update(result.violations)
            rules = [invariant for invariant in rules if invariant.id in self._added]
        for invariant in rules:
            missing = doubt(invariant, self.coverage)
            why = left[invariant.id] if invariant.id not in watch.late else _unbounded(left[invariant.id])
            unknown = RuleVerdict(invariant.id, "unknown", reasons=(why,))
            verdicts[invariant.id] = verdict(invariant, missing, Counts()) if missing.rule else unknown

    def _in_store(
        self, program: Program, facts: MemoryFacts, coverage: Coverage, rules: Sequence[Invariant]
    ) -> CheckResult:
        from tcrules.engine.duckdb_store import DuckDBStore

        with DuckDBStore.from_memory(facts, program) as store:
            return check(program, store, coverage, rules, most_violations=self._most)

    # -------------------------------------------------------------------------------------------- memory

    def held(self) -> dict[str, int]:
        """How many facts are held now, by relation; those kept for the end are not counted."""
        held = Counter(self._facts.held())
        for ordinals in self._ordinals.values():
            held.update(ordinals.held())
        return {name: number for name, number in held.items() if number}

    def late_rules(self) -> dict[str, str]:
        """The rules that no step decides, each with the literal that looks back without a bound."""
        return {rule: literal for watch in self._watches for rule, literal in watch.late.items()}

    def reads(self) -> frozenset[str]:
        """The recorded relations that rules which are decided by steps read: others need not be fed."""
        names = (watcher.reads for watcher in self._watchers())
        return frozenset().union(*names) & self._relations.keys()

    def memory(self) -> str:
        """What is remembered, as text: computed from the rules alone.

        Facts of steps and ordinals that are not closed on all ranks are held besides, and settled facts that only a
        rule that is added later may read.
        """
        back = sorted(self._facts.back.items())
        lines = [f"{name}: {_steps(steps)}" for name, steps in back]
        for clock, ordinals in self._ordinals.items():
            kept = sorted(ordinals.back.items())
            lines += [f"{name}: {_ordinals(number)} of each {clock.of}" for name, number in kept]
        read = {name for watcher in self._watchers() for name in watcher.reads & self._relations.keys()}
        lines += [f"{name}: all" for name in sorted(read) if self._relations[name].settled]
        lines += [f"{rule}: at the end, because of {why}" for rule, why in sorted(self.late_rules().items())]
        return "\n".join(lines)


class _Relation:
    """How to read the rows of an observed relation."""

    def __init__(self, predicate: Predicate) -> None:
        reach = observed_reach(predicate)
        self.predicate = predicate
        self.settled = reach is not None and reach.settled
        self.step = reach.moments[0] if reach is not None and not reach.settled else None
        names = [column.name for column in predicate.columns]
        self.world = names.index("world_size") if "world_size" in names else None
        self._normalise = normaliser(predicate)

    def facts(self, rows: Iterable[Sequence[Value]]) -> list[Fact]:
        """Rows as tuples with normal values."""
        return self._normalise(rows)


def _partly(found: RuleVerdict, why: str) -> RuleVerdict:
    """The verdict on a rule that did not see all of the run: what it found violated is; nothing is held."""
    return replace(found, status="violated" if found.violated else "unknown", reasons=(*found.reasons, why))


def _unbounded(literal: str) -> str:
    return f"is decided only at the end, from facts that were not kept: {literal} looks back without a bound"


def _steps(back: int) -> str:
    return "the step itself" if back == 0 else f"the step itself and {back} before"


def _ordinals(back: int) -> str:
    return "1 ordinal" if back == 0 else f"{back + 1} ordinals"
