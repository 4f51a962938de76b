"""Why a conjunction does not hold: the best partial match, what it lacks, and facts that come near."""

from __future__ import annotations

import math
from itertools import combinations, islice
from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.absence import notes_on
from tcrules.engine.directed import satisfiable, solutions
from tcrules.engine.naive import Solution, extend
from tcrules.engine.show import show_literal
from tcrules.engine.values import equal, evaluate
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcrules.engine.facts import Coverage, FactSource, Stored
    from tcrules.engine.ir import Value

#: Partial matches that are tried, facts that are compared for nearness, near facts that are told.
MOST_MATCHES = 20_000
MOST_COMPARED = 2_000
MOST_NEAR = 3
_BEST = {"min": "least", "max": "greatest"}
#: Types that say when something happened.
_MOMENTS = frozenset({"step", "time", "call"})
#: Derived relations are followed this deep.
DEPTH = 4


@dataclass(frozen=True, slots=True)
class Near:
    """A fact of the missing relation; `differences` are (column, wanted, found)."""

    predicate: ir.Predicate
    fact: Stored
    differences: tuple[tuple[str, Value, Value], ...]


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The furthest that a body came.

    The first `matched` of its `total` literals hold under `binding`, with `facts`; `missing` does not, `text` is that
    literal with values filled in. `near` are facts that almost satisfy a missing atom, or facts that a missing
    negation forbids. `rules` says for a missing derived atom why each of its rules does not derive it. `notes` tell
    why such facts may have been there all the same, which relations are empty, and that a better fact is kept.
    """

    matched: int
    total: int
    binding: tuple[tuple[str, Value], ...]
    facts: tuple[tuple[ir.Atom, Stored], ...]
    missing: ir.Literal
    text: str
    near: tuple[Near, ...]
    rules: tuple[tuple[ir.Rule, WhyNot], ...] = ()
    notes: tuple[str, ...] = ()


def why_not(
    body: ir.Body,
    source: FactSource,
    binding: Mapping[str, Value],
    program: ir.Program | None = None,
    depth: int = DEPTH,
    coverage: Coverage | None = None,
) -> WhyNot | None:
    """Why no extension of `binding` satisfies the body; None if one does.

    With `program` a missing derived atom is followed into its rules, `depth` levels deep. With `coverage` it is told
    where the absence of facts says nothing.
    """
    best = _furthest(body, source, binding)
    if best is None:
        return None
    matched, solution = best
    literal = body[matched]
    near: tuple[Near, ...] = ()
    rules: tuple[tuple[ir.Rule, WhyNot], ...] = ()
    if isinstance(literal, ir.Atom):
        near = _near(literal, source, solution.binding)
        if program is not None and depth > 0 and not literal.predicate.observed:
            rules = why_not_atom(literal, source, solution.binding, program, depth - 1, coverage)
    elif isinstance(literal, ir.Not):
        found = next(solutions(literal.body, source, solution.binding))
        near = tuple(Near(atom.predicate, stored, ()) for atom, stored in found.facts[:MOST_NEAR])
    elif isinstance(literal, ir.Group):
        nothing = why_not(literal.body, source, solution.binding, program, depth, coverage)
        near = () if nothing is None else nothing.near
    elif isinstance(literal, ir.Either):
        ways = [
            why_not(way, source, solution.binding, program, depth, coverage) for way in literal.alternatives
        ]
        nearest = max((way for way in ways if way is not None), key=lambda way: way.matched - way.total)
        near, rules = nearest.near, nearest.rules
    text = show_literal(literal, solution.binding) + _where(literal, body[:matched], solution.binding)
    values = tuple(solution.binding.items())
    notes = notes_on(body[: matched + 1], source, solution.binding, coverage)
    if (
        isinstance(literal, ir.Atom)
        and program is not None
        and _replaced(literal, source, solution.binding, program)
    ):
        notes += (
            f"a rule derives it, but {literal.predicate.name} keeps only the {_BEST[literal.predicate.best]}",
        )
    return WhyNot(matched, len(body), values, solution.facts, literal, text, near, rules, notes)


def why_not_atom(
    atom: ir.Atom,
    source: FactSource,
    binding: Mapping[str, Value],
    program: ir.Program,
    depth: int = DEPTH,
    coverage: Coverage | None = None,
) -> tuple[tuple[ir.Rule, WhyNot], ...]:
    """For each rule of a derived relation, why it derives no fact that the atom matches."""
    found = []
    for stratum in program.strata:
        for rule in stratum.rules:
            if rule.head.predicate.name != atom.predicate.name:
                continue
            start = _head_binding(rule.head, atom, binding)
            if start is not None:
                reason = why_not(rule.body, source, start, program, depth, coverage)
                if reason is not None:
                    found.append((rule, reason))
    return tuple(found)


def _replaced(atom: ir.Atom, source: FactSource, binding: Mapping[str, Value], program: ir.Program) -> bool:
    """Whether a rule derives a fact that the atom matches, of a relation that keeps the best: there is a better one."""
    if not atom.predicate.best:
        return False
    rules = (rule for stratum in program.strata for rule in stratum.rules)
    for rule in rules:
        if rule.head.predicate.name == atom.predicate.name:
            start = _head_binding(rule.head, atom, binding)
            if start is not None and satisfiable(rule.body, source, start):
                return True
    return False


def _head_binding(head: ir.Atom, atom: ir.Atom, binding: Mapping[str, Value]) -> dict[str, Value] | None:
    """Values of the head's variables for which it is the wanted fact; None where a constant differs."""
    values: dict[str, Value] = {}
    for term, wanted in zip(head.arguments, atom.arguments, strict=True):
        value = wanted.value if isinstance(wanted, ir.Const) else None
        if isinstance(wanted, ir.Var):
            value = binding.get(wanted.name)
        if value is None:
            continue
        if isinstance(term, ir.Const) and not equal(term.value, value):
            return None
        if isinstance(term, ir.Var) and not equal(values.setdefault(term.name, value), value):
            return None
    return values


def _furthest(body: ir.Body, source: FactSource, binding: Mapping[str, Value]) -> tuple[int, Solution] | None:
    """How many literals hold at most, in their order, and the way to satisfy so many that comes nearest to the next.

    None: all hold. Of ways that are equally near the first counts.
    """
    if satisfiable(body, source, binding):
        return None
    best = (0, Solution(dict(binding), ()))
    nearest = _short_of(body[0], best[1])
    waiting = [iter([best[1]])]
    tried = 0
    while waiting and tried < MOST_MATCHES:
        solution = next(waiting[-1], None)
        if solution is None:
            waiting.pop()
            continue
        tried += 1
        depth = len(waiting) - 1
        if depth >= best[0]:
            short = _short_of(body[depth], solution)
            if depth > best[0] or short < nearest:
                best, nearest = (depth, solution), short
        waiting.append(iter(extend(body[depth], source, solution)))
    return best


def _short_of(literal: ir.Literal, solution: Solution) -> float:
    """By how much numbers fail a comparison; nothing is known of other literals."""
    if not isinstance(literal, ir.Compare):
        return math.inf
    sides = [evaluate(term, solution.binding) for term in (literal.left, literal.right)]
    numbers = [float(value) for value in sides if value is not None and not isinstance(value, str)]
    short = abs(numbers[0] - numbers[1]) if len(numbers) == 2 else math.inf
    return math.inf if math.isnan(short) else short


def _where(literal: ir.Literal, before: ir.Body, binding: Mapping[str, Value]) -> str:
    """What computed values in a comparison stand for."""
    if not isinstance(literal, ir.Compare):
        return ""
    names = {term.name for term in (literal.left, literal.right) if isinstance(term, ir.Var)}
    said = []
    for other in before:
        if isinstance(other, ir.Group) and other.result.name in names:
            said.append(show_literal(other, binding))
        elif isinstance(other, ir.Bind) and other.variable.name in names:
            if isinstance(other.value, ir.Var):
                return _where(ir.Compare("=", other.value, literal.right), before, binding)
            said.append(show_literal(other, binding))
    return f" where {', '.join(said)}" if said else ""


# ------------------------------------------------------------------------------------------------ near facts


def _near(atom: ir.Atom, source: FactSource, binding: Mapping[str, Value]) -> tuple[Near, ...]:
    """Facts that differ from the atom in as few columns as possible.

    Of those, what was there at the wanted moment comes before what was there at another one, then nearest numbers.
    """
    wanted: dict[int, Value] = {}
    for at, term in enumerate(atom.arguments):
        if isinstance(term, ir.Const):
            wanted[at] = term.value
        elif isinstance(term, ir.Var) and term.name in binding:
            wanted[at] = binding[term.name]
    if not wanted:  # a variable that stands in it twice
        return tuple(
            Near(atom.predicate, stored, ())
            for stored in islice(source.lookup(atom.predicate, {}), MOST_NEAR)
        )
    for count in range(1, len(wanted) + 1):
        found: dict[tuple[Value, ...], Near] = {}
        for dropped in combinations(wanted, count):
            kept = {at: value for at, value in wanted.items() if at not in dropped}
            for stored in islice(source.lookup(atom.predicate, kept), MOST_COMPARED):
                found.setdefault(stored.values, _differing(atom.predicate, stored, wanted))
        if found:
            return tuple(sorted(found.values(), key=_distance)[:MOST_NEAR])
    return ()


def _differing(predicate: ir.Predicate, stored: Stored, wanted: Mapping[int, Value]) -> Near:
    differences = tuple(
        (predicate.columns[at].name, value, stored.values[at])
        for at, value in wanted.items()
        if not equal(value, stored.values[at])
    )
    return Near(predicate, stored, differences)


def _distance(near: Near) -> tuple[int, int, float]:
    """Fewest differences first, then those not in the moment, then the nearest numbers; text is further than any."""
    total = 0.0
    for _, wanted, found in near.differences:
        if isinstance(wanted, str) or isinstance(found, str) or wanted != wanted or found != found:
            total += 1e300
        else:
            total += abs(float(wanted) - float(found))
    kinds = {column.name: column.type.name for column in near.predicate.columns}
    moments = sum(kinds[name] in _MOMENTS for name, _, _ in near.differences)
    return (len(near.differences), moments, total)
