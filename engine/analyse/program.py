"""All passes in their order: `analyse` makes a typed program of syntax trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.analyse.decide import Decider, moment_types
from tcrules.engine.analyse.expressions import Env, type_of
from tcrules.engine.analyse.faults import Faults
from tcrules.engine.analyse.flat import Clause, FExpr, FVar, own_variables
from tcrules.engine.analyse.interface import (
    about,
    check_interface,
    check_metavariables,
    first_of_type,
    mentioned,
    severity,
    tags,
)
from tcrules.engine.analyse.lattice import UNKNOWN
from tcrules.engine.analyse.lower import Lowerer
from tcrules.engine.analyse.normalise import normalise_invariant, normalise_rule
from tcrules.engine.analyse.polarity import Polarity
from tcrules.engine.analyse.reach import Reaches
from tcrules.engine.analyse.resolve import Statement, resolve
from tcrules.engine.analyse.safety import order_clause, warn_unused
from tcrules.engine.analyse.stamping import stamped
from tcrules.engine.analyse.stratify import stratify
from tcrules.engine.analyse.suppress import suppressions
from tcrules.engine.analyse.symbols import SourceProgram, Symbols, collect
from tcrules.engine.analyse.typecheck import check_columns, check_types
from tcrules.engine.analyse.types import Columns, infer
from tcrules.grammar import ast
from tcrules.grammar.records import collector_paused, dataclass, replace
from tcrules.instrument.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tcrules.engine.ir import Value
    from tcrules.grammar.diagnostics import Diagnostic
    from tcrules.instrument import schema


@dataclass(frozen=True, slots=True)
class Analysis:
    """`program` is None where a diagnostic is an error; warnings come beside a program."""

    program: ir.Program | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _Typed:
    """A resolved statement with its ordered clause and the types of its variables."""

    statement: Statement
    clause: Clause
    env: Env


def analyse(
    programs: Sequence[SourceProgram],
    parameters: Mapping[str, Value | ast.Constant] | None = None,
    elsewhere: Collection[str] = (),
    recorded: Mapping[str, schema.Relation] = BY_NAME,
) -> Analysis:
    """Analyse parsed files together; every fault of every file is reported. Imports were followed by `load`.

    Args:
        programs: the parsed files.
        parameters: values that override the defaults of `param` declarations; as constants, with their places.
        elsewhere: ids of rules that exist but are not loaded; suppressing them is no fault.
        recorded: relations that files need not declare: those of recorded runs; none for rules about other data.
    """
    apart = frozenset[str]()
    given = {
        name: value if isinstance(value, ast.Constant) else ast.Constant(value)
        for name, value in (parameters or {}).items()
    }
    with collector_paused():
        while True:
            part = stamped(programs, given, apart)
            program, faults = _passes(part.programs, given, recorded)
            concerned = part.concerned(faults.sorted())
            if not concerned:
                break
            apart |= concerned
        program = part.expand(program)
        meant = suppressions(programs, program.invariants, elsewhere, faults)
    found = faults.sorted()
    failed = any(diagnostic.severity == "error" for diagnostic in found)
    return Analysis(None if failed else replace(program, suppressions=meant), found)


def _passes(
    programs: Sequence[SourceProgram],
    parameters: Mapping[str, ast.Constant],
    recorded: Mapping[str, schema.Relation],
) -> tuple[ir.Program, Faults]:
    """What the passes make of the files; statements with faults are missing in it."""
    faults = Faults()
    symbols = collect(programs, parameters, faults, recorded)
    statements = [s for source in programs for s in source.program.statements if isinstance(s, Statement)]
    resolved = [(statement, resolve(statement, symbols, faults)) for statement in statements]
    typed, columns = _typed([r for _, r in resolved if r is not None], symbols, faults)
    program = _lower(typed, columns, symbols, faults)
    rules = [s for s in statements if isinstance(s, ast.Rule)]
    broken = {rule.head.relation for rule in rules if faults.within(rule.span)}
    check_columns(columns, symbols.relations, broken, faults)
    return program, faults


def _typed(statements: Sequence[Statement], symbols: Symbols, faults: Faults) -> tuple[list[_Typed], Columns]:
    clauses = [normalise_rule(s) if isinstance(s, ast.Rule) else normalise_invariant(s) for s in statements]
    typing = infer(clauses, symbols.relations, symbols.lattice)
    typed = []
    for statement, clause, env in zip(statements, clauses, typing.variables, strict=True):
        check_types(clause, env, typing.columns, symbols.relations, symbols.lattice, faults)

        def assignable(variable: FVar, value: FExpr, env: Env = env) -> bool:
            found, wanted = type_of(value, env, symbols.lattice), env.get(variable.name)
            bases = (found.base if found else "?", wanted.type.base if wanted else "?")
            return bases[0] == bases[1] or bases == ("int", "float") or "?" in bases

        ordered = order_clause(clause, assignable, faults)
        names = set() if isinstance(statement, ast.Rule) else mentioned(statement) | _reported(clause, env)
        warn_unused(clause, names, faults)
        typed.append(_Typed(statement, ordered, env))
    return typed, typing.columns


def _reported(clause: Clause, env: Env) -> set[str]:
    """Variables that tell where an instance happened: reports use them although the rule does not."""
    own = (variable for literal in clause.body for variable in own_variables(literal))
    typed = ((variable.name, env.get(variable.name)) for variable in own)
    return {
        name for name, found in typed if found is not None and found.type.name in ("rank", "step", "call")
    }


def _lower(typed: Sequence[_Typed], columns: Columns, symbols: Symbols, faults: Faults) -> ir.Program:
    predicates = {name: _predicate(name, columns, symbols) for name in symbols.relations}
    rules = []
    for item in typed:
        if item.clause.head is not None:
            lowerer = Lowerer(item.env, predicates, symbols.lattice, faults)
            names = {v.name for v in own_variables(item.clause.head)}
            ways = lowerer.ways(lowerer.body(item.clause.body, names), item.clause.span)
            rules += [ir.Rule(lowerer.atom(item.clause.head), body, item.clause.span) for body in ways]
    strata = stratify(predicates, rules, faults)
    decider = Decider(rules, moment_types(symbols.lattice.parents))
    polarity = Polarity(decider.rules)
    reaches = Reaches(strata, decider, polarity)
    invariants: list[ir.Invariant] = []
    templates: list[ir.Template] = []
    for item in typed:
        statement = item.statement
        if isinstance(statement, ast.Rule):
            continue
        lowerer = Lowerer(item.env, predicates, symbols.lattice, faults)
        invariant = _invariant(statement, item.clause, lowerer, decider, reaches, polarity, faults)
        if isinstance(statement, ast.Template):
            check_metavariables(statement, symbols.lattice.types, faults)
            templates.append(_template(statement, invariant, lowerer))
        else:
            invariants.append(invariant)
    return ir.Program(predicates, strata, tuple(invariants), tuple(templates))


def _predicate(name: str, columns: Columns, symbols: Symbols) -> ir.Predicate:
    relation = symbols.relations[name]
    pairs = zip(relation.columns, columns[name], strict=True)
    typed = tuple(ir.Column(column, kind or UNKNOWN) for column, kind in pairs)
    return ir.Predicate(name, typed, relation.observed, relation.best)


def _invariant(
    statement: ast.Invariant | ast.Template,
    clause: Clause,
    lowerer: Lowerer,
    decider: Decider,
    reaches: Reaches,
    polarity: Polarity,
    faults: Faults,
) -> ir.Invariant:
    names = dict.fromkeys(v.name for literal in clause.body for v in own_variables(literal) if not v.made)
    variables = tuple(lowerer.variable(name) for name in names)
    check_interface(statement, {variable.name: variable.type for variable in variables}, faults)
    around = {*names, *(name for name, _ in clause.given)}
    each = lowerer.body(clause.body, around)
    lowerer.ways(each, clause.span)  # proofs go through them
    alternatives = (lowerer.body(alternative, around) for alternative in clause.expect)
    expect = tuple(way for alternative in alternatives for way in lowerer.ways(alternative, clause.span))
    reading = decider.reading(each, expect)
    known = {variable.name for variable in variables}
    step, rank = (first_of_type(statement, variables, kind) for kind in ("step", "rank"))
    return ir.Invariant(
        id=statement.id,
        severity=severity(statement),
        tags=tags(statement),
        doc="\n".join(statement.doc),
        each=each,
        variables=variables,
        expect=expect,
        about=about(statement, variables) if {v.name for v in statement.about} <= known else (),
        message=statement.message or "",
        step=step,
        rank=rank,
        needs=reading.needs,
        watched=reading.watched,
        saves=polarity.saves(each, expect, (step, rank)),
        spoils=polarity.spoils(expect),
        monotone=reading.monotone,
        window=reading.window,
        reach=reaches.reach(each, expect, step, rank),
        span=statement.span,
    )


def _template(statement: ast.Template, invariant: ir.Invariant, lowerer: Lowerer) -> ir.Template:
    bound = {variable.name: variable for variable in invariant.variables}
    metas = [f"?{meta.name}" for meta in statement.metavariables]
    return ir.Template(
        invariant,
        tuple(bound[name] for name in metas if name in bound),
        tuple(lowerer.variable(name) for name in metas if name not in bound),
        tuple(bound[variable.name] for variable in statement.guard if variable.name in bound),
    )
