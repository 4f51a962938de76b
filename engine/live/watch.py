"""The rules of one program under live checking: families that are decided step by step, and rules that are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.horizon import Horizons, atoms
from tcrules.engine.families import Family, families, singles
from tcrules.engine.live.compile import Compiled, compile_invariant
from tcrules.engine.live.derived import Derived
from tcrules.engine.live.guards import Guard, called, guards
from tcrules.engine.live.tally import Tally
from tcrules.engine.values import normalise
from tcrules.engine.verdict import doubt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tcrules.engine.analyse.clocks import Clock
    from tcrules.engine.analyse.horizon import Horizon
    from tcrules.engine.facts import Coverage
    from tcrules.engine.ir import Fact, Invariant
    from tcrules.engine.live.guards import Calls, Seen
    from tcrules.engine.live.ordinals import Ordinals
    from tcrules.engine.live.tables import Facts
    from tcrules.engine.verdict import Binding, Doubt


@dataclass(slots=True)
class Watcher:
    """One rule family. `since`: the first step that it sees. `wrong`: why its verdicts cannot be trusted.

    `failed`: why it was given up at some step; what it found violated before remains so. `driver`: the event relation
    that an instance needs, with its step relative to the decision; None where that is a derived one.
    """

    family: Family
    horizon: Horizon
    compiled: Compiled
    tally: Tally
    derived: Derived
    driver: tuple[str, int] | None
    guards: tuple[Guard, ...]
    reads: frozenset[str]
    #: Whether events are placed by the calls that they are about.
    by_call: bool
    since: int | None = None
    active: bool = False
    wrong: str = ""
    failed: str = ""
    _doubt: tuple[Coverage, Doubt] | None = None

    def decide(self, moment: int, step: int, coverage: Coverage) -> Sequence[tuple[Invariant, Binding]]:
        """Evaluate the instances that are decided with the end of a step; returns the certain violations.

        `moment`: the step, or the ordinal that closed with it.
        """
        driver, facts = self.driver, self.derived.facts
        if self.failed or (driver and not facts.at(driver[0], moment + driver[1]).rows):
            return ()
        if self.since is not None and moment - max(self.horizon.back.values(), default=0) < self.since:
            return ()
        self.active = True
        try:
            found = self.compiled.evaluate(lambda source: self.derived.index(source, moment))
        except Exception as fault:  # a rule must not end the session, whatever is wrong with it
            self.failed = f"could not be evaluated at step {step}: {type(fault).__name__}: {fault}"
            return ()
        if not found:
            return ()
        if self._doubt is None or self._doubt[0] is not coverage:
            self._doubt = (coverage, doubt(self.family.invariant, coverage))
        missing = self._doubt[1]
        return () if missing.rule else self.tally.add(step, found, missing)


class Watch:
    """What live checking does with one program. `late`: rules that no step decides, with the literal that is why.

    `ordinals`: clocks that may be used besides the step, with the facts by them. A rule that is added later has the
    step alone: what an object counted before is not known.
    """

    def __init__(
        self,
        program: ir.Program,
        facts: Facts,
        ordinals: Mapping[Clock, Ordinals],
        noted: tuple[Seen, Calls],
        most: int,
        since: int | None = None,
    ) -> None:
        self.program = program
        self.late: dict[str, str] = {}
        self._watchers: dict[Clock | None, list[Watcher]] = {None: []}
        self._derived: dict[Clock | None, Derived] = {}
        analyses = Analyses(program, ordinals if since is None else ())
        for family, horizon in bounded(program, analyses):
            if not horizon.bounded:
                self.late.update({member.id: horizon.because for member in family.members})
                continue
            clock, horizons = horizon.clock, analyses.by(horizon.clock)
            if clock not in self._derived:
                given = facts if clock is None else ordinals[clock]
                self._derived[clock] = Derived(program, horizons, given)
            watcher = self._watcher(family, horizon, horizons, noted, most, since)
            self._watchers.setdefault(clock, []).append(watcher)
            for name, back in horizon.back.items():
                facts.watch(name, back if clock is None else 0)
                if clock is not None:
                    ordinals[clock].watch(program.predicates[name], back, set(horizon.first_steps))

    def _watcher(
        self,
        family: Family,
        horizon: Horizon,
        horizons: Horizons,
        noted: tuple[Seen, Calls],
        most: int,
        since: int | None,
    ) -> Watcher:
        invariant, (seen, calls) = family.invariant, noted
        compiled = compile_invariant(
            invariant.each, invariant.expect, invariant.variables, horizons, horizon.root, horizon.last
        )
        derived = self._derived[horizon.clock]
        if family.constants is not None:
            rows = [tuple(map(normalise, row)) for row in family.facts]
            derived.give(family.constants.predicate.name, rows)
        bodies = [(invariant.each, invariant.expect)]
        reached = _reached(self.program, (invariant.each, *invariant.expect))
        bodies += [(rule.body, ()) for rule in reached]
        found, places = guards(bodies, horizons)
        for place in places:
            seen.watch(place)
        by_call = called(bodies, horizons)
        for place in by_call:
            calls.watch(place)
        reads = frozenset(
            atom.predicate.name for body, more in bodies for part in (body, *more) for atom in atoms(part)
        )
        driver = _driver(invariant, horizon, horizons)
        tally = Tally(family, most)
        return Watcher(family, horizon, compiled, tally, derived, driver, found, reads, bool(by_call), since)

    @property
    def watchers(self) -> Iterator[Watcher]:
        """All of them, those of the step first."""
        return (watcher for watchers in self._watchers.values() for watcher in watchers)

    def by(self, clock: Clock | None) -> Sequence[Watcher]:
        """Those that are decided by a clock; None: by the step."""
        return self._watchers.get(clock, ())

    def forget(self, before: float, clock: Clock | None = None) -> None:
        """Drop what was derived by a clock for earlier moments."""
        if clock in self._derived:
            self._derived[clock].forget(before)

    @property
    def back(self) -> int:
        """How many steps before the one that is decided are read at most."""
        by_step = self._watchers[None]
        return max((back for watcher in by_step for back in watcher.horizon.back.values()), default=0)

    def steps_ahead(self) -> set[int]:
        """How many steps after an event instances may be decided that need it."""
        return {ahead for watcher in self._watchers[None] for ahead in watcher.horizon.first_steps}

    def unsettle(self, new: Mapping[str, Sequence[Fact]], seen: Seen) -> None:
        """Settled facts came after steps had been decided: rules that they could have changed are not trusted."""
        changed, faults = dict(new), dict[str, str]()
        for derived in self._derived.values():
            more, wrong = derived.settle_again()
            changed.update(more)
            faults.update(wrong)
        for watcher in self.watchers:
            for guard in watcher.guards if watcher.active and not watcher.wrong else ():
                if guard.relation in faults:
                    watcher.wrong = f"{guard.relation} could not be derived again: {faults[guard.relation]}"
                    break
                if any(not guard.harmless(fact, seen) for fact in changed.get(guard.relation, ())):
                    watcher.wrong = f"facts of {guard.relation} came after steps that they concern"
                    break


class Analyses:
    """The horizons of one program by the step and by other clocks, each made when first asked for."""

    def __init__(self, program: ir.Program, clocks: Iterable[Clock]) -> None:
        self._program, self._clocks = program, (None, *clocks)
        self._made: dict[Clock | None, Horizons] = {}

    def by(self, clock: Clock | None) -> Horizons:
        """Those by one clock."""
        if clock not in self._made:
            self._made[clock] = Horizons(self._program.strata, clock)
        return self._made[clock]

    def horizon(self, invariant: Invariant) -> Horizon:
        """By the first clock that bounds the invariant; if none does, why the step does not."""
        found = [self.by(None).horizon(invariant.each, invariant.expect)]
        for clock in self._clocks[1:] if not found[0].bounded else ():
            found.append(self.by(clock).horizon(invariant.each, invariant.expect))
            if found[-1].bounded:
                return found[-1]
        return found[0]


def bounded(program: ir.Program, analyses: Analyses) -> Iterator[tuple[Family, Horizon]]:
    """The program's rule families with their horizons.

    A family that has no bound is taken apart: constants that its members do not share may be offsets of steps.
    """
    for family in families(program.invariants):
        horizon = analyses.horizon(family.invariant)
        if horizon.bounded or len(family.members) == 1:
            yield family, horizon
            continue
        for single in singles(family.members):
            yield single, analyses.horizon(single.invariant)


def _driver(invariant: Invariant, horizon: Horizon, horizons: Horizons) -> tuple[str, int] | None:
    """The first event of a body, which is at the horizon's root, if it is observed."""
    for literal in invariant.each:
        if isinstance(literal, ir.Atom):
            reach = horizons.reach(literal.predicate)
            if reach is None or not reach.settled:
                return (literal.predicate.name, -horizon.last) if literal.predicate.observed else None
    return None


def _reached(program: ir.Program, bodies: Iterable[ir.Body]) -> list[ir.Rule]:
    """The rules that bodies read, directly or through others."""
    rules: dict[str, list[ir.Rule]] = {}
    for stratum in program.strata:
        for rule in stratum.rules:
            rules.setdefault(rule.head.predicate.name, []).append(rule)
    waiting = [atom.predicate.name for body in bodies for atom in atoms(body)]
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += [atom.predicate.name for rule in rules.get(name, ()) for atom in atoms(rule.body)]
    return [rule for name in sorted(names) for rule in rules.get(name, ())]
