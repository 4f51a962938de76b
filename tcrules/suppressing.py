"""Takes out of the violations of a run what somebody says is meant, in rule files or in the training script."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from tcrules.engine.check import CheckResult, check
from tcrules.grammar.diagnostics import did_you_mean
from tcrules.grammar.records import replace
from tcrules.report.fold import call_variables, find_location, location_predicate
from tcrules.report.locating import KnownPlaces, files_of
from tcrules.report.model import Caution, Excuse, Location
from tcrules.rules.catalogue import catalogue
from tcrules.rules.ignores import Ignore, read_ignores
from tcrules.rules.suppress import Matcher, expired, matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from tcrules.engine.facts import Coverage, FactSource
    from tcrules.engine.ir import Invariant, Predicate, Program
    from tcrules.engine.store import Store
    from tcrules.engine.verdict import Binding, RuleVerdict

#: Rule -> which of its breaches, by their place among all of them.
Places = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Sorted:
    """Breaches of rules: those that count, and those for which there is an excuse."""

    result: CheckResult
    counted: Mapping[str, Sequence[int]]
    excused: Mapping[Excuse, Sequence[int]]
    cautions: tuple[Caution, ...]


@dataclass(slots=True)
class _Known:
    """What excuses the breaches of one rule; `used` grows while they are looked at."""

    by_value: list[tuple[Excuse, Matcher]] = field(default_factory=list)
    by_line: list[tuple[Excuse, Ignore]] = field(default_factory=list)
    used: set[Excuse] = field(default_factory=set)


class Excuses:
    """The suppressions of a program, asked for one breach at a time while a run goes on.

    What is meant here is what `sort_out` takes out; nothing is told about the suppressions themselves.
    """

    def __init__(self, program: Program, today: date | None = None) -> None:
        self._rules = {invariant.id: invariant for invariant in program.invariants}
        self._known: dict[str, _Known] = {}
        self._read: set[str] = set()
        _from_files(program, self._rules, self._known, today or date.today())

    def read(self, files: Iterable[str]) -> None:
        """Read the comments of training scripts, of each once."""
        for file in files:
            if file not in self._read:
                self._read.add(file)
                _from_comments(read_ignores(file), self._rules, self._known, every_rule=False)

    def means(self, rule: str, breach: Binding, where: Callable[[], Location | None]) -> bool:
        """Whether a breach is meant; `where` tells the line that a report would name, where that matters."""
        known = self._known.get(rule)
        if known is None:
            return False
        if any(means(breach) for _, means in known.by_value):
            return True
        at = where() if known.by_line else None
        return at is not None and any(ignore.covers(at.file, at.line) for _, ignore in known.by_line)


def sort_out(
    program: Program,
    store: Store,
    coverage: Coverage,
    result: CheckResult,
    *,
    every_rule: bool,
    today: date | None = None,
) -> Sorted:
    """Tell apart the breaches that count from those that are meant.

    Args:
        program: rules and suppressions.
        store: the facts that the rules were checked on; tells the scripts, which are read for comments.
        coverage: what was recorded.
        result: the verdicts, and the breaches of each rule.
        every_rule: the program has all rules that were loaded, so that other ids in comments are mistakes.
        today: decides what has expired (default: by the clock).
    """
    rules = {invariant.id: invariant for invariant in program.invariants}
    location = location_predicate(program.predicates)
    known: dict[str, _Known] = {}
    cautions = _from_files(program, rules, known, today or date.today())
    if location is not None:
        found = [ignore for file in files_of(store, location) for ignore in read_ignores(file)]
        cautions += _from_comments(found, rules, known, every_rule=every_rule)
    result = _complete(program, store, coverage, result, known)
    counted: Places = {}
    excused: dict[Excuse, list[int]] = {}
    for rule, breaches in result.violations.items():
        if rule in known:
            sorter = _sort(known[rule], rules[rule], breaches, store, location)
            for place, excuse in enumerate(sorter):
                (counted.setdefault(rule, []) if excuse is None else excused.setdefault(excuse, [])).append(
                    place
                )
        else:
            counted[rule] = list(range(len(breaches)))
    verdicts = {verdict.rule: verdict for verdict in result.verdicts}
    cautions += [c for rule, some in known.items() for c in _unused(some, verdicts[rule])]
    return Sorted(
        result, counted, excused, tuple(sorted(cautions, key=lambda c: (c.place.file, c.place.line)))
    )


def _from_files(
    program: Program, rules: Mapping[str, Invariant], known: dict[str, _Known], today: date
) -> list[Caution]:
    cautions = []
    for suppression in program.suppressions:
        rule, place = suppression.rule, Location(suppression.span.source, suppression.span.line)
        if rule not in rules:
            continue
        if expired(suppression, today):
            said = f"the suppression of {rule} counted until {suppression.until}: mend the cause, or set another day"
            cautions.append(Caution("TCR404", said, place))
        else:
            # Two suppressions may stand on one line: the column tells them apart.
            excuse = Excuse(rule, suppression.reason, place, suppression.span.column)
            known.setdefault(rule, _Known()).by_value.append((excuse, matcher(suppression, rules[rule])))
    return cautions


def _from_comments(
    comments: Iterable[Ignore], rules: Mapping[str, Invariant], known: dict[str, _Known], *, every_rule: bool
) -> list[Caution]:
    cautions = []
    for comment in comments:
        place = Location(comment.file, comment.line)
        fault = _fault(comment)
        if fault:
            cautions.append(Caution("TCR405", fault, place))
            continue
        for rule in comment.rules:
            if rule in rules:
                entry = (Excuse(rule, comment.reason, place), comment)
                known.setdefault(rule, _Known()).by_line.append(entry)
            elif every_rule and rule not in {entry.id for entry in catalogue()}:
                near = did_you_mean(rule, rules)
                mend = f"; did you mean {near}?" if near else ""
                cautions.append(Caution("TCR405", f"no loaded rule is called {rule}{mend}", place))
    return cautions


def _fault(comment: Ignore) -> str:
    """Why a comment suppresses nothing, "" if it may."""
    if not comment.rules:
        return "the comment names no rule and suppresses nothing: write `# tcr: ignore[rule-id] reason`"
    if not comment.reason:
        names = ", ".join(comment.rules)
        return f"the comment gives no reason and suppresses nothing: write `# tcr: ignore[{names}] reason`"
    return ""


def _complete(
    program: Program, store: Store, coverage: Coverage, result: CheckResult, rules: Collection[str]
) -> CheckResult:
    """The result with all breaches of some rules: what is beyond the usual limit may not be meant."""
    cut = {v.rule: v.violated for v in result.verdicts if v.violated > len(result.violations.get(v.rule, ()))}
    short = [i for i in program.invariants if i.id in rules and i.id in cut and i.id in result.violations]
    if not short:
        return result
    most = max(cut[invariant.id] for invariant in short)
    again = check(program, store, coverage, short, most_violations=most)
    return replace(result, violations={**result.violations, **again.violations})


def _sort(
    known: _Known,
    invariant: Invariant,
    breaches: Sequence[Binding],
    store: Store,
    location: Predicate | None,
) -> Iterable[Excuse | None]:
    """For each breach its excuse, None if it counts.

    Where comments name a rule without a variable for a call, each breach costs a look-up of its evidence.
    """
    calls = {variable.name for variable in call_variables(invariant)}
    places = [place for place, variable in enumerate(invariant.variables) if variable.name in calls]
    facts: FactSource = store
    if known.by_line and location is not None and places:
        facts = KnownPlaces(store, location, {breach[place] for breach in breaches for place in places})
    names = [variable.name for variable in invariant.variables]
    for breach in breaches:
        hits = [excuse for excuse, means in known.by_value if means(breach)]
        if not hits and known.by_line:
            at = find_location(invariant, dict(zip(names, breach, strict=True)), facts, location)
            hits = [e for e, ignore in known.by_line if at is not None and ignore.covers(at.file, at.line)]
        known.used.update(hits)
        yield hits[0] if hits else None


def _unused(known: _Known, verdict: RuleVerdict) -> Iterable[Caution]:
    """Cautions for excuses that nothing needs; where the rule was not decided throughout, none can be told."""
    if verdict.status not in ("held", "violated") or verdict.unknown:
        return
    for excuse, _ in (*known.by_value, *known.by_line):
        if excuse not in known.used:
            said = f"no violation of {excuse.rule} needs this suppression: remove it"
            yield Caution("TCR403", said, excuse.place)
