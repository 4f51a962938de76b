"""Rules and facts -> verdicts: each rule family is evaluated once, and its instances are counted in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine.families import Family, families
from tcrules.engine.ir import Atom, Body, Column, Invariant, Predicate, Program, Type, Var
from tcrules.engine.optimise.share import Shared, share
from tcrules.engine.plan.build import compile_body, violated
from tcrules.engine.plan.plan import AntiJoin, Plan, Project, Scan
from tcrules.engine.reads import read_by
from tcrules.engine.verdict import MOST_VIOLATIONS, Binding, Counts, Doubt, RuleVerdict, doubt, judge, verdict
from tcrules.grammar.records import collector_paused, dataclass, field, replace

if TYPE_CHECKING:
    from tcrules.engine.facts import Coverage
    from tcrules.engine.gaps import Hole
    from tcrules.engine.naive import Instance
    from tcrules.engine.store import Store

_INT = Type("int", "int")
#: Called with the number of rules that are done and the number of all.
Progress: TypeAlias = Callable[[int, int], None]
Grouping: TypeAlias = Callable[[Iterable[Invariant]], Sequence[Family]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A verdict for each rule that was asked for, and the violations by rule id, earliest first.

    `evaluated` is the number of rules whose body could be evaluated. If it is 0, nothing is known about the run.
    """

    verdicts: tuple[RuleVerdict, ...]
    violations: Mapping[str, tuple[Binding, ...]]
    evaluated: int


def check(
    program: Program,
    store: Store,
    coverage: Coverage,
    invariants: Sequence[Invariant] | None = None,
    progress: Progress | None = None,
    *,
    most_violations: int = MOST_VIOLATIONS,
    grouping: Grouping = families,
    sharing: bool = True,
) -> CheckResult:
    """Check rules against the facts of a store.

    Args:
        program: the analysed rules.
        store: facts, opened for the same program.
        coverage: what was recorded of them.
        invariants: which rules (default: all of the program).
        progress: called after each family.
        most_violations: how many violations of a rule are returned; all are counted.
        grouping: how rules are put together; `families.singles` evaluates rule by rule.
        sharing: whether what several bodies begin with is evaluated once.
    """
    chosen = program.invariants if invariants is None else tuple(invariants)
    verdicts: dict[str, RuleVerdict] = {}
    found: dict[str, tuple[Binding, ...]] = {}
    evaluated = 0
    with collector_paused():
        groups, common = _shared(grouping(chosen)) if sharing else (grouping(chosen), _Common({}))
    for family in groups:
        missing = doubt(family.invariant, coverage).rule
        if missing:
            for member in family.members:
                verdicts[member.id] = verdict(member, doubt(member, coverage), Counts())
        else:
            evaluated += len(family.members)
            common.make(store, family.invariant.each)
            _check_family(family, store, coverage, most_violations, verdicts, found)
        if progress is not None:
            progress(len(verdicts), len(chosen))
    common.drop(store)
    violations = {invariant.id: found[invariant.id] for invariant in chosen if found.get(invariant.id)}
    return CheckResult(tuple(verdicts[invariant.id] for invariant in chosen), violations, evaluated)


def naive_check(
    program: Program,
    instances: Callable[[Invariant], Iterable[Instance]],
    coverage: Coverage,
    invariants: Sequence[Invariant] | None = None,
    *,
    most_violations: int = MOST_VIOLATIONS,
) -> CheckResult:
    """What `check` must return, from a function that lists the instances of a rule and whether each holds."""
    chosen = program.invariants if invariants is None else tuple(invariants)
    verdicts = []
    violations = {}
    evaluated = 0
    for invariant in chosen:
        missing = bool(doubt(invariant, coverage).rule)
        evaluated += not missing
        listed = () if missing else instances(invariant)
        found, broken = judge(invariant, coverage, listed, most_violations)
        verdicts.append(found)
        if broken:
            violations[invariant.id] = broken
    return CheckResult(tuple(verdicts), violations, evaluated)


# ------------------------------------------------------------------------------------------------ common beginnings


@dataclass(slots=True)
class _Common:
    """Relations that several bodies begin with, by name; made when the first of them is evaluated."""

    relations: dict[str, Shared]
    _made: list[Shared] = field(default_factory=list)

    def make(self, store: Store, body: Body) -> None:
        for name in read_by(body):
            if (shared := self.relations.pop(name, None)) is not None:
                store.evaluate([shared.body])
                store.create_from(shared.atom, store.plan(shared.body))
                self._made.append(shared)

    def drop(self, store: Store) -> None:
        for shared in self._made:
            store.drop_relation(shared.atom.predicate)


def _shared(groups: Sequence[Family]) -> tuple[Sequence[Family], _Common]:
    """The families over relations for what the bodies of several of them begin with."""
    found = share([family.invariant.each for family in groups])
    renewed = [
        replace(family, invariant=replace(family.invariant, each=body))
        for family, body in zip(groups, found.bodies, strict=True)
    ]
    return renewed, _Common({shared.atom.predicate.name: shared for shared in found.relations})


# ------------------------------------------------------------------------------------------------ one family


def relation(name: str, variables: Sequence[Var]) -> Atom:
    """An atom over a table of bindings; as such it is an ordinary derived relation to everything below."""
    columns = tuple(Column(variable.name, variable.type) for variable in variables)
    return Atom(Predicate(name, columns, observed=False), tuple(variables))


def _check_family(
    family: Family,
    store: Store,
    coverage: Coverage,
    most: int,
    verdicts: dict[str, RuleVerdict],
    found: dict[str, tuple[Binding, ...]],
) -> None:
    invariant = family.invariant
    trigger, broken = relation("$trigger", invariant.variables), relation("$violated", invariant.variables)
    constants = () if family.constants is None else (family.constants,)
    for atom in constants:
        store.give(atom.predicate, family.facts)
    store.evaluate([invariant.each])
    instances = store.create_from(trigger, store.plan(invariant.each))
    if instances:
        store.evaluate(invariant.expect)
    # The constants again: alternatives read slots, which the table of instances does not repeat.
    rest = violated(invariant.expect, compile_body((trigger, *constants)))
    bad = broken if instances and store.create_from(broken, rest) else None
    _judge(family, store, coverage, most, trigger if instances else None, bad, verdicts, found)
    for atom in (trigger, broken if instances else None, *constants):
        if atom is not None:
            store.drop_relation(atom.predicate)


@collector_paused()
def _judge(
    family: Family,
    store: Store,
    coverage: Coverage,
    most: int,
    some: Atom | None,
    bad: Atom | None,
    verdicts: dict[str, RuleVerdict],
    found: dict[str, tuple[Binding, ...]],
) -> None:
    """Verdicts and violations from the tables of all and of violated instances; None: there are none."""
    doubts = _doubts(family, coverage)
    saved = moments_in(store, "$saved", family.invariant, bad, doubts[0].saving)
    spoiled = moments_in(store, "$spoiled", family.invariant, some, doubts[0].spoiling)
    numbers = [
        _numbers(store, family, atoms)
        for atoms in ((some,), (bad,), (some, spoiled), (bad, spoiled), (bad, saved))
    ]
    for member, missing, *counts in zip(family.members, doubts, *numbers, strict=True):
        total, violated, all_spoiled, bad_spoiled, bad_saved = counts
        verdicts[member.id] = verdict(
            member, missing, Counts(total, violated, all_spoiled - bad_spoiled, bad_saved)
        )
    if bad is not None and not doubts[0].violated:
        rows = _violations(store, family, bad, saved, most)
        found.update((member.id, own) for member, own in zip(family.members, rows, strict=True))
    for atom in (saved, spoiled):
        if atom is not None:
            store.drop_relation(atom.predicate)


def _doubts(family: Family, coverage: Coverage) -> list[Doubt]:
    """The doubt of each member; members differ at most by the literal that their windows name."""
    known: dict[str, Doubt] = {}
    for member in family.members:
        if member.window.because not in known:
            known[member.window.because] = doubt(member, coverage)
    return [known[member.window.because] for member in family.members]


def moments_in(
    store: Store, name: str, invariant: Invariant, instances: Atom | None, holes: Sequence[Hole]
) -> Atom | None:
    """A table of the steps and ranks of instances that lie in holes; None if there are none. The caller drops it."""
    if instances is None or not holes:
        return None
    shown = tuple(variable for variable in (invariant.step, invariant.rank) if variable is not None)
    moments = []
    for values in store.select(Project(compile_body((instances,)), shown), shown):
        at = dict(zip(shown, values, strict=True))
        step = int(at[invariant.step]) if invariant.step is not None else None
        rank = int(at[invariant.rank]) if invariant.rank is not None else None
        if any(hole.covers(step, rank) for hole in holes):
            moments.append(values)
    if not moments:
        return None
    # A relation without columns could not be joined; the column `$gap` makes it one.
    gap = Var("$gap", _INT)
    atom = relation(name, (*shown, gap))
    store.give(atom.predicate, [(*values, 0) for values in moments])
    return atom


def _numbers(store: Store, family: Family, atoms: tuple[Atom | None, ...]) -> list[int]:
    """For each member how many bindings the join of the tables has; None stands for an empty one."""
    numbers = [0] * len(family.members)
    body = tuple(atom for atom in atoms if atom is not None)
    if len(body) == len(atoms):
        keys = () if family.member is None else (family.member,)
        for row in store.count(compile_body(body), keys):
            numbers[int(row[0]) if keys else 0] = int(row[-1])
    return numbers


def _violations(
    store: Store, family: Family, broken: Atom, gaps: Atom | None, most: int
) -> list[tuple[Binding, ...]]:
    """For each member its violations outside of gaps, earliest first, at most `most`."""
    invariant = family.invariant
    plan: Plan = compile_body((broken,))
    if gaps is not None:
        plan = AntiJoin(plan, Scan(gaps.predicate, gaps.arguments))
    first = (invariant.step,) if invariant.step is not None else ()
    if family.member is None:
        rows = store.select(plan, invariant.variables, most, first=first)
        return [tuple(rows)]
    grouped: list[list[Binding]] = [[] for _ in family.members]
    for row in store.select(plan, invariant.variables, most, first=first, within=family.member):
        grouped[int(row[0])].append(row[1:])
    return [tuple(rows) for rows in grouped]
