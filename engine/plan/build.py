"""Body -> plan. One mechanism serves all nesting: a body is compiled onto the plan of the bindings it starts from.

A negated block or an aggregate starts from the distinct outer bindings of the variables that it reads; whatever it
finds is then set against the outer plan (anti-join, grouping). So inner bodies are never evaluated for bindings that
the outer body does not reach, and comparisons with outer variables need no special case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.ir import Atom, Bind, Body, Compare, Expr, Group, Literal, Not, Op, Rule, Var
from tcrules.engine.plan.plan import (
    AntiJoin,
    Difference,
    Extend,
    GroupBy,
    Join,
    Plan,
    Project,
    Scan,
    Select,
    Union,
    Unit,
    Version,
    columns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_VERSIONS: Mapping[int, Version] = {}


def compile_body(
    body: Body, start: Plan | None = None, versions: Mapping[int, Version] = _NO_VERSIONS
) -> Plan:
    """The bindings of `start` (none: the empty one) extended by those of `body`.

    `versions` says which version of its relation the atom at a position of the body reads (default: total).
    """
    plan: Plan = Unit() if start is None else start
    for position, literal in enumerate(body):
        plan = _add(plan, literal, versions.get(position, Version.TOTAL))
    return plan


def compile_rule(rule: Rule, versions: Mapping[int, Version] = _NO_VERSIONS) -> Plan:
    """The bindings of the head's variables that the rule derives."""
    head = tuple(dict.fromkeys(term for term in rule.head.arguments if isinstance(term, Var)))
    return Project(compile_body(rule.body, versions=versions), head)


def held(alternatives: tuple[Body, ...], trigger: Plan) -> Plan:
    """The bindings of `trigger` for which an alternative holds."""
    found = columns(trigger)
    return Union(tuple(Project(compile_body(body, trigger), found) for body in alternatives))


def violated(alternatives: tuple[Body, ...], trigger: Plan) -> Plan:
    """The bindings of `trigger` for which no alternative holds.

    Each alternative is set against the trigger like a negated block, so that one that reads few variables is
    evaluated for the distinct values of these only.
    """
    bound = columns(trigger)
    plan = trigger
    for body in alternatives:
        read = body_variables(body)
        plan = _negate(plan, Not(body, tuple(variable for variable in bound if variable in read)))
    return plan


def violated_by_difference(alternatives: tuple[Body, ...], trigger: Plan) -> Plan:
    """Same bindings as `violated`, by the definition: all without those that hold. States the meaning in tests."""
    return Difference(trigger, held(alternatives, trigger)) if alternatives else trigger


def _add(plan: Plan, literal: Literal, version: Version) -> Plan:
    match literal:
        case Atom(predicate, arguments):
            scan = Scan(predicate, arguments, version)
            return scan if isinstance(plan, Unit) else Join(plan, scan)
        case Compare():
            return Select(plan, literal)
        case Bind(variable, value):
            return Extend(plan, variable, value)
        case Not():
            return _negate(plan, literal)
        case Group():
            return _group(plan, literal)


def _negate(plan: Plan, negation: Not) -> Plan:
    simple = _simple_negation(negation.body)
    if simple is not None:
        atom, tests = simple
        return AntiJoin(plan, Scan(atom.predicate, atom.arguments), tests)
    shared = _bound(plan, negation.shared)
    inner = compile_body(negation.body, Project(plan, shared) if shared else None)
    return AntiJoin(plan, Project(inner, shared))


def _simple_negation(body: Body) -> tuple[Atom, tuple[Compare, ...]] | None:
    """One atom and comparisons: the anti-join itself can test them, without restricting the right side first."""
    atoms = [literal for literal in body if isinstance(literal, Atom)]
    tests = tuple(literal for literal in body if isinstance(literal, Compare))
    return (atoms[0], tests) if len(atoms) == 1 and len(atoms) + len(tests) == len(body) else None


def _group(plan: Plan, group: Group) -> Plan:
    read = set(group.shared) | (expression_variables(group.value) if group.value is not None else set())
    shared = _bound(plan, tuple(variable for variable in columns(plan) if variable in read))
    inner = compile_body(group.body, Project(plan, shared) if shared else None)
    return GroupBy(plan, inner, shared, group.kind, group.value, group.over, group.result)


def _bound(plan: Plan, wanted: tuple[Var, ...]) -> tuple[Var, ...]:
    bound = set(columns(plan))
    return tuple(variable for variable in wanted if variable in bound)


def expression_variables(expression: Expr) -> set[Var]:
    """The variables that occur in an expression."""
    match expression:
        case Var():
            return {expression}
        case Op(arguments=arguments):
            return set().union(*(expression_variables(argument) for argument in arguments))
        case _:
            return set()


def body_variables(body: Body) -> set[Var]:
    """The variables that a body binds or reads, those of nested bodies that reach out of them included."""
    found: set[Var] = set()
    for literal in body:
        match literal:
            case Atom(arguments=arguments):
                found |= {term for term in arguments if isinstance(term, Var)}
            case Compare(left=left, right=right):
                found |= expression_variables(left) | expression_variables(right)
            case Bind(variable, value):
                found |= {variable} | expression_variables(value)
            case Not(body=inner):
                found |= body_variables(inner)
            case Group(result=result, value=value, body=inner):
                found |= {result} | body_variables(inner)
                found |= expression_variables(value) if value is not None else set()
    return found
