"""Body -> plan. One mechanism serves all nesting: a body is compiled onto the plan of the bindings it starts from.

A negated block or an aggregate starts from the distinct outer bindings of the variables that it reads; whatever it
finds is then set against the outer plan (anti-join, grouping). So inner bodies are never evaluated for bindings that
the outer body does not reach, and comparisons with outer variables need no special case.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from tcrules.engine.ir import (
    Any_,
    Atom,
    Bind,
    Body,
    Compare,
    Either,
    Expr,
    Group,
    Literal,
    Not,
    Op,
    Rule,
    Var,
)
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
    SemiJoin,
    Union,
    Unit,
    Version,
    columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NO_VERSIONS: Mapping[int, Version] = {}


def compile_body(
    body: Body, start: Plan | None = None, versions: Mapping[int, Version] = _NO_VERSIONS
) -> Plan:
    """The bindings of `start` (none: the empty one) extended by those of `body`.

    `versions` says which version of its relation the atom at a position of the body reads (default: total).
    """
    plan: Plan = Unit() if start is None else start
    # Sets of variables that one source binds together.
    together = [frozenset(columns(plan))]
    for literal, version in _filters_last(body, versions):
        if isinstance(literal, Atom) and _filters(literal, together):
            plan = SemiJoin(plan, Scan(literal.predicate, literal.arguments, version))
        else:
            plan = _add(plan, literal, version)
        if isinstance(literal, Atom):
            together.append(_variables(literal))
    return plan


def _filters(atom: Atom, together: Iterable[frozenset[Var]]) -> bool:
    """Whether an atom says no more than that such a fact exists for what one other source binds.

    Joined, each of these facts would repeat the binding: `backward(rank: R)` as often as there are backwards.
    An atom that links two sources stays a join, so that the optimiser can start from it.
    """
    wildcard = any(isinstance(term, Any_) for term in atom.arguments)
    return wildcard and any(_variables(atom) <= bound for bound in together)


def _filters_last(body: Body, versions: Mapping[int, Version]) -> list[tuple[Literal, Version]]:
    """The body, in each run of atoms those last that only filter another one of the run."""
    ordered: list[tuple[Literal, Version]] = []
    for _, group in groupby(enumerate(body), key=lambda item: isinstance(item[1], Atom)):
        run = list(group)
        # Atoms that filter are those for which the key is true.
        for place, literal in sorted(run, key=partial(_filters_in, run)):
            ordered.append((literal, versions.get(place, Version.TOTAL)))
    return ordered


def _filters_in(run: Sequence[tuple[int, Literal]], item: tuple[int, Literal]) -> bool:
    place, literal = item
    if not isinstance(literal, Atom):
        return False
    own = _variables(literal)
    others = [(other, _variables(atom)) for other, atom in run if isinstance(atom, Atom) and other != place]
    # Of two atoms with the same variables the first is the source.
    return _filters(literal, [bound for other, bound in others if bound != own or other < place])


def _variables(atom: Atom) -> frozenset[Var]:
    return frozenset(term for term in atom.arguments if isinstance(term, Var))


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
        case Either():
            return _either(plan, literal)


def _negate(plan: Plan, negation: Not) -> Plan:
    simple = _simple_negation(negation.body)
    if simple is not None:
        atom, tests = simple
        return AntiJoin(plan, Unit() if atom is None else Scan(atom.predicate, atom.arguments), tests)
    shared = _bound(plan, negation.shared)
    inner = compile_body(negation.body, Project(plan, shared) if shared else None)
    return AntiJoin(plan, Project(inner, shared))


def _simple_negation(body: Body) -> tuple[Atom | None, tuple[Compare, ...]] | None:
    """At most one atom, and comparisons: the anti-join tests them itself, without restricting the right side first."""
    atoms = [literal for literal in body if isinstance(literal, Atom)]
    tests = tuple(literal for literal in body if isinstance(literal, Compare))
    if len(atoms) > 1 or len(atoms) + len(tests) < len(body):
        return None
    return (atoms[0] if atoms else None), tests


def _either(plan: Plan, either: Either) -> Plan:
    """The union of the alternatives, each compiled onto the outer bindings that one of them reads, joined back."""
    read = body_variables((either,))
    shared = _bound(plan, tuple(variable for variable in columns(plan) if variable in read))
    start = Project(plan, shared) if shared else None
    wanted = tuple(dict.fromkeys((*shared, *either.binds)))
    parts = tuple(Project(compile_body(body, start), wanted) for body in either.alternatives)
    found = Union(parts)
    if isinstance(plan, Unit):
        return found
    return Join(plan, found) if set(wanted) - set(shared) else SemiJoin(plan, found)


def _group(plan: Plan, group: Group) -> Plan:
    values = [value for value in (group.value, group.key) if value is not None]
    read = set(group.shared).union(*map(expression_variables, values))
    shared = _bound(plan, tuple(variable for variable in columns(plan) if variable in read))
    inner = compile_body(group.body, Project(plan, shared) if shared else None)
    return GroupBy(plan, inner, shared, group.kind, group.value, group.over, group.result, group.key)


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
            case Group(result=result, body=inner):
                found |= {result} | body_variables(inner)
                for given in (literal.value, literal.key):
                    found |= expression_variables(given) if given is not None else set()
            case Either(alternatives):
                found = found.union(*map(body_variables, alternatives))
    return found
