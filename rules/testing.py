"""Runs `.tcr-test` files: imagined facts, and the verdicts that rules must give on them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tcrules.engine import naive
from tcrules.engine.check import CheckResult, naive_check
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.grammar import parse_tests
from tcrules.grammar.ast import Atom, Constant, Expectation, Span, TestCase, TestFile
from tcrules.grammar.diagnostics import Diagnostic, Label, TcrError, did_you_mean
from tcrules.rules.catalogue import library_tests
from tcrules.rules.loading import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcrules.engine.ir import Invariant, Predicate, Program, Value

NEUTRAL: Mapping[str, Value] = {"int": 0, "float": 0.0, "bool": False, "string": ""}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one test gave; `faults` say where it failed, none = passed."""

    file: Path
    name: str
    rules: frozenset[str]
    verdicts: frozenset[tuple[str, str]]
    faults: tuple[Diagnostic, ...]
    sources: Mapping[str, str]

    @property
    def passed(self) -> bool:
        return not self.faults


def run_tests(paths: Iterable[Path] | None = None) -> tuple[Outcome, ...]:
    """Run rule tests; default: those of the shipped library.

    Raises `TcrError` for files that do not parse or speak of unknown rules, relations or columns, and `OSError` for
    those that cannot be read.
    """
    outcomes: list[Outcome] = []
    for path in library_tests() if paths is None else paths:
        text = Path(path).read_text(encoding="utf-8")
        tests = parse_tests(text, str(path))
        program = program_of(tests, Path(path))
        outcomes.extend(_run(case, program, Path(path), text) for case in tests.tests)
    return tuple(outcomes)


def program_of(tests: TestFile, path: Path) -> Program:
    """The rules that a file of tests speaks of: those that it imports, or the shipped ones."""
    imports = [os.path.normpath(path.parent / item.path) for item in tests.imports]
    return load_rules(imports, library=not imports).program


def _run(case: TestCase, program: Program, path: Path, text: str) -> Outcome:
    sources = {str(path): text}
    facts, faults = facts_of(case, program)
    known = {invariant.id: invariant for invariant in program.invariants}
    faults += [_unknown("rule", e.rule, e.span, known) for e in case.expectations if e.rule not in known]
    if faults:
        raise TcrError(tuple(faults), sources)
    asked = tuple(known[rule] for rule in dict.fromkeys(e.rule for e in case.expectations))
    result = _check(program, facts, asked)
    failed = [f for e in case.expectations if (f := _compare(e, known[e.rule], result)) is not None]
    verdicts = frozenset((e.rule, e.verdict) for e in case.expectations)
    return Outcome(path, case.name, frozenset(known), verdicts, tuple(failed), sources)


def _check(program: Program, facts: MemoryFacts, asked: tuple[Invariant, ...]) -> CheckResult:
    model = naive.evaluate(program, facts)
    return naive_check(program, lambda invariant: naive.instances(invariant, model), facts.coverage, asked)


def facts_of(case: TestCase, program: Program) -> tuple[MemoryFacts, list[Diagnostic]]:
    """The facts of a test, with ids in their order, and what is wrong with them."""
    observed = {name: p for name, p in program.predicates.items() if p.observed}
    faults = [
        _unknown("relation", name, case.span, observed) for name in case.unrecorded if name not in observed
    ]
    relations: dict[str, list[Stored]] = {}
    for number, atom in enumerate(case.facts, start=1):
        predicate = observed.get(atom.relation)
        if predicate is None:
            faults.append(_unknown("relation", atom.relation, atom.span, observed))
            continue
        values, wrong = _values(atom, predicate)
        faults += wrong
        relations.setdefault(atom.relation, []).append(Stored(number, values))
    coverage = Coverage(frozenset(observed) - set(case.unrecorded))
    return MemoryFacts({name: tuple(stored) for name, stored in relations.items()}, coverage), faults


def _values(atom: Atom, predicate: Predicate) -> tuple[tuple[Value, ...], list[Diagnostic]]:
    """A fact's values in column order; columns that it leaves out are neutral."""
    bases = {column.name: column.type.base for column in predicate.columns}
    values = {name: NEUTRAL[base] for name, base in bases.items()}
    faults = []
    for position, argument in enumerate(atom.arguments):
        name = argument.name or (predicate.columns[position].name if position < len(bases) else "")
        value = argument.value
        if name not in bases:
            faults.append(_unknown("column", name, argument.span, bases))
        elif not isinstance(value, Constant):
            faults.append(_fault("TCR303", "a fact of a test consists of constants", argument.span))
        elif not _fits(value.value, bases[name]):
            message = f"`{name}` is of base type {bases[name]}"
            faults.append(_fault("TCR205", message, argument.span))
        else:
            values[name] = float(value.value) if bases[name] == "float" else value.value
    return tuple(values.values()), faults


def _fits(value: Value, base: str) -> bool:
    if base == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value).__name__ == {"string": "str"}.get(base, base)


def _compare(expected: Expectation, invariant: Invariant, result: CheckResult) -> Diagnostic | None:
    verdict = next(v for v in result.verdicts if v.rule == expected.rule)
    reasons = tuple(verdict.reasons)
    if verdict.status != expected.verdict:
        message = f"expected {expected.rule} to be {expected.verdict}, but it is {verdict.status}"
        return _fault("TCR402", message, expected.span, reasons)
    wanted = dict(expected.bindings)
    names = [variable.name for variable in invariant.variables]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        help = f"variables of {expected.rule}: {', '.join(names)}"
        return _fault("TCR402", f"{expected.rule} has no variable {unknown[0]}", expected.span, (help,))
    found = [dict(zip(names, binding, strict=True)) for binding in result.violations.get(expected.rule, ())]
    if wanted and not any(all(b[name] == value for name, value in wanted.items()) for b in found):
        shown = tuple(", ".join(f"{n}: {b[n]!r}" for n in wanted) for b in found[:5])
        return _fault(
            "TCR402", f"{expected.rule} is violated, but not with these values", expected.span, shown
        )
    return None


def _unknown(kind: str, name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    code = {"relation": "TCR201", "column": "TCR202", "rule": "TCR401"}[kind]
    mend = did_you_mean(name, known)
    help = mend and f"did you mean `{mend}`?"
    return Diagnostic(code, "error", f"unknown {kind} `{name}`", (Label(span, ""),), (), help)


def _fault(code: str, message: str, span: Span, notes: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code, "error", message, (Label(span, ""),), notes, None)
