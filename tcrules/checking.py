"""From a run folder and rules to a report: what commands and the Python interface share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from tcrules.engine.check import Progress, check
from tcrules.engine.profile import Entry, Profile
from tcrules.engine.provenance import explain_violation
from tcrules.engine.recorded import open_store
from tcrules.engine.store import Store, StoreFault
from tcrules.instrument.runs import ALL_RELATIONS, RunFolder, coverage, open_run
from tcrules.report.explaining import missing_graph, violation_graph
from tcrules.report.fold import fold, location_predicate
from tcrules.report.graph import GraphBuilder
from tcrules.report.links import object_links, single_component
from tcrules.report.model import GapNote, Report, RuleText, Suppressed, Violation
from tcrules.report.roots import OBJECT_TYPES, Witness, mark_roots, phase, site
from tcrules.rules.catalogue import read_documentation
from tcrules.rules.coverage import known_facts, spelled_out
from tcrules.selection import Selection, load_query, load_selection
from tcrules.suppressing import Sorted, sort_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tcrules.engine.facts import Coverage
    from tcrules.engine.ir import Body, Fact, Invariant, Program, Value
    from tcrules.engine.verdict import Binding
    from tcrules.instrument import runs
    from tcrules.report.graph import Graph
    from tcrules.report.parting import Parting


@dataclass(frozen=True, slots=True)
class Checked:
    """A report with what it was made from; the store is open as long as the context that gave it."""

    report: Report
    program: Program
    store: Store
    coverage: Coverage
    breaches: Mapping[str, tuple[Binding, ...]]
    folder: RunFolder
    profile: tuple[Entry, ...] = ()

    def invariant(self, violation: Violation) -> Invariant:
        """The rule that is violated."""
        return next(i for i in self.program.invariants if i.id == violation.rule)


@contextmanager
def check_run(
    path: Path, selection: Selection, progress: Progress | None = None, *, profile: bool = False
) -> Iterator[Checked]:
    """Check a run against rules; with `profile`, measure what each rule costs.

    Raises:
        TcrError, SelectionError: the rules cannot be used.
        RunError, StoreFault: the run cannot be read.
    """
    program = load_selection(selection)
    with check_loaded(path, program, progress, profile=profile, every_rule=not selection.only) as checked:
        yield checked


@contextmanager
def check_loaded(
    path: Path,
    program: Program,
    progress: Progress | None = None,
    *,
    profile: bool = False,
    every_rule: bool = True,
) -> Iterator[Checked]:
    """Check a run against rules that are loaded: for many runs they need to be loaded once.

    With `every_rule`, reports say which suppressions nothing needs.

    Raises:
        RunError, StoreFault: the run cannot be read.
    """
    run = open_run(path)
    found = coverage(run)
    known = spelled_out(found)
    with open_store(run.facts, program) as store:
        if profile:
            measured = Profile(program)
            result = check(
                program, measured.watch(store), known, progress=measured.progress, grouping=measured.grouping
            )
            entries = tuple(measured.entries(result))
        else:
            result, entries = check(program, store, known, progress=progress), ()
        breaches = sort_out(program, store, known, result, every_rule=every_rule)
        report = _report(run, found, program, store, breaches)
        yield Checked(report, program, store, known, breaches.result.violations, run, entries)


def query_run(
    path: Path, body: str, selection: Selection, limit: int | None = None
) -> tuple[tuple[str, ...], list[Fact]]:
    """The bindings of literals in a run: names of the variables, then rows of values."""
    with ask_run(path, body, selection) as (_, store, goal):
        return store.query(goal, limit)


@contextmanager
def ask_run(path: Path, literals: str, selection: Selection) -> Iterator[tuple[Program, Store, Body]]:
    """The rules, the facts of a run, and literals to ask them."""
    run = open_run(path)
    program, query = load_query(literals, selection, run.user_relations())
    with open_store(run.facts, program) as store:
        yield program, store, query.each


def causal_graph(checked: Checked, violation: Violation, parted: Parting | None = None) -> tuple[Graph, str]:
    """The causal graph of the first breach of a violation, and the key of its node.

    With `parted`, where the run parts from a reference run is part of it.
    """
    invariant = checked.invariant(violation)
    binding = _named(invariant, checked.breaches[violation.rule][violation.instance])
    proof = explain_violation(checked.program, checked.store, invariant, binding)
    if proof is None:
        raise StoreFault(f"{violation.rule}: the store found a breach that its facts do not show")
    builder = GraphBuilder(checked.program, checked.store)
    links = object_links(checked.program.predicates, checked.store)
    return violation_graph(builder, violation, proof, links, parted)


def why_not_in(path: Path, literals: str, selection: Selection) -> tuple[tuple[Graph, str] | None, int]:
    """Why no facts of a run satisfy literals: a graph and its root; None, and the number of bindings, if some do."""
    run = open_run(path)
    program, query = load_query(literals, selection, run.user_relations())
    with open_store(run.facts, program) as store:
        found = missing_graph(program, store, query.each, literals, known_facts(run))
        return found, 0 if found is not None else len(store.query(query.each)[1])


def _report(run: RunFolder, found: runs.Coverage, program: Program, store: Store, breaches: Sorted) -> Report:
    steps = _steps_by_rank(program, store)
    return Report(
        run=str(run.path),
        violations=tuple(_violations(program, store, breaches)),
        verdicts={verdict.rule: verdict for verdict in breaches.result.verdicts},
        notes=(*run.notes, *_uneven(steps)),
        gaps=tuple(_gap_note(gap) for gap in found.gaps),
        steps=max(steps.values(), default=0),
        processes=max(1, sum(process.get("role") == "trainer" for process in run.manifest.processes)),
        suppressed=tuple(_suppressed(program, store, breaches)),
        cautions=breaches.cautions,
        rules={invariant.id: _rule_text(invariant) for invariant in program.invariants},
    )


def _rule_text(invariant: Invariant) -> RuleText:
    return RuleText(invariant.severity, invariant.tags, *read_documentation(invariant.doc.splitlines()))


def _violations(program: Program, store: Store, breaches: Sorted) -> list[Violation]:
    links = object_links(program.predicates, store) if breaches.counted else {}
    everything = single_component(links)
    witnesses = []
    for invariant in program.invariants:
        found = breaches.result.violations.get(invariant.id, ())
        for violation in _folded(program, store, invariant, found, breaches.counted.get(invariant.id, ())):
            objects = _objects(invariant, _named(invariant, found[violation.instance]))
            if not objects and everything is not None:
                objects = frozenset({everything})
            missing = bool(invariant.expect)
            learned = "learned" in invariant.tags
            witnesses.append(Witness(violation, objects, phase(invariant), site(invariant), missing, learned))
    order = {invariant.id: place for place, invariant in enumerate(program.invariants)}
    return mark_roots(witnesses, links, order)


def _suppressed(program: Program, store: Store, breaches: Sorted) -> Iterator[Suppressed]:
    rules = {invariant.id: invariant for invariant in program.invariants}
    number = count(1)
    for excuse, places in breaches.excused.items():
        found = breaches.result.violations[excuse.rule]
        for violation in _folded(program, store, rules[excuse.rule], found, places):
            yield Suppressed(replace(violation, id=f"S{next(number)}"), excuse)


def _folded(
    program: Program,
    store: Store,
    invariant: Invariant,
    breaches: Sequence[Binding],
    places: Sequence[int],
) -> Iterator[Violation]:
    """Violations made of some of a rule's breaches; they point at the breaches by their place among all."""
    bindings = [_named(invariant, breaches[place]) for place in places]
    for violation in fold(invariant, bindings, store, location_predicate(program.predicates)):
        yield replace(violation, instance=places[violation.instance])


def _named(invariant: Invariant, values: Binding) -> dict[str, Value]:
    return {variable.name: value for variable, value in zip(invariant.variables, values, strict=True)}


def _objects(invariant: Invariant, binding: Mapping[str, Value]) -> frozenset[str]:
    return frozenset(
        str(binding[variable.name])
        for variable in invariant.variables
        if variable.type.name in OBJECT_TYPES and binding[variable.name] != ""
    )


def _steps_by_rank(program: Program, store: Store) -> dict[int, int]:
    step = program.predicates["step"]
    rank, number = (
        next(i for i, c in enumerate(step.columns) if c.name == name) for name in ("rank", "step")
    )
    found: dict[int, set[int]] = {}
    for fact in store.lookup(step, {}):
        found.setdefault(int(fact.values[rank]), set()).add(int(fact.values[number]))
    return {name: len(steps) for name, steps in found.items()}


def _uneven(steps: Mapping[int, int]) -> list[str]:
    if len(set(steps.values())) < 2:
        return []
    shortest, longest = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
    return [
        f"ranks are of different length: rank {shortest} made {steps[shortest]} steps, "
        f"rank {longest} made {steps[longest]}"
    ]


def _gap_note(gap: runs.Gap) -> GapNote:
    steps = f"from step {gap.first_step} on"
    return GapNote(
        relation="all relations" if gap.relation == ALL_RELATIONS else gap.relation,
        ranks="all ranks" if gap.rank == -1 else f"rank {gap.rank}",
        steps=steps if gap.last_step == -1 else f"steps {gap.first_step}–{gap.last_step}",
        why=gap.why,
    )
