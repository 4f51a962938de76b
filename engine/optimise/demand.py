"""Demand (magic sets): rules that derive only what a goal asks for.

For each way in which a relation is asked with some columns bound, `$p:bf` holds what of `p` is asked for and
`$demand:p:bf` the values asked about. Relations under negations and in aggregates, those that keep the best fact, and
everything that these read stay whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tcrules.engine.analyse.faults import Faults
from tcrules.engine.analyse.stratify import reads, stratify
from tcrules.engine.ir import Atom, Body, Compare, Const, Literal, Predicate, Program, Rule, Term, Var
from tcrules.engine.optimise.order import Statistics, binds, makes, order

if TYPE_CHECKING:
    from collections.abc import Iterable


def demanded(program: Program, goal: Body, statistics: Statistics) -> tuple[Program, Body]:
    """A program that derives what the goal needs, and the goal over its relations.

    The same answers as the program's; other relations of the program are there as before.
    """
    rewriter = _Rewriter(_rules(program), _whole(program, goal), statistics)
    rewritten = rewriter.body(goal, (), None)
    while rewriter.waiting:
        rewriter.relation(*rewriter.waiting.pop())
    rules = [rule for stratum in program.strata for rule in stratum.rules] + rewriter.made
    predicates = program.predicates | {
        rule.head.predicate.name: rule.head.predicate for rule in rewriter.made
    }
    strata = stratify(predicates, rules, Faults())
    return replace(program, predicates=predicates, strata=strata), rewritten


def _rules(program: Program) -> dict[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for stratum in program.strata:
        for rule in stratum.rules:
            found.setdefault(rule.head.predicate.name, []).append(rule)
    return found


def _whole(program: Program, goal: Body) -> set[str]:
    """Relations that are derived completely."""
    edges: dict[str, set[str]] = {}
    whole = {name for name, predicate in program.predicates.items() if predicate.observed or predicate.best}
    bodies: list[tuple[str | None, Body]] = [(None, goal)]
    bodies += [(rule.head.predicate.name, rule.body) for rules in _rules(program).values() for rule in rules]
    for head, body in bodies:
        for atom, negated in reads(body):
            if head is not None:
                edges.setdefault(head, set()).add(atom.predicate.name)
            if negated:
                whole.add(atom.predicate.name)
    waiting = list(whole)
    while waiting:
        for name in edges.get(waiting.pop(), ()):
            if name not in whole:
                whole.add(name)
                waiting.append(name)
    return whole


@dataclass(slots=True)
class _Rewriter:
    rules: dict[str, list[Rule]]
    whole: set[str]
    statistics: Statistics
    made: list[Rule] = field(default_factory=list)
    waiting: list[tuple[Predicate, str]] = field(default_factory=list)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def body(self, body: Body, bound: Iterable[Var], demand: Atom | None) -> Body:
        """A body over relations as they are asked; what it asks for becomes rules, given the demand for its head."""
        known = set(bound)
        done: list[Atom] = [] if demand is None else [demand]
        result = list(done)
        literals = [body[place] for place in order(body, self.statistics, bound=known)]
        rewritten: list[Literal] = []
        for literal in literals:
            if isinstance(literal, Atom) and literal.predicate.name not in self.whole:
                asked = "".join(_asked(term, known) for term in literal.arguments)
                self._demand(literal, asked, (*result, *rewritten))
                literal = replace(literal, predicate=_answers(literal.predicate, asked))
            rewritten.append(literal)
            known |= binds(literal)
        return (*result, *rewritten)

    def _demand(self, atom: Atom, asked: str, before: Body) -> None:
        """A rule for what is asked of an atom's relation, once the literals before it hold."""
        key = (atom.predicate.name, asked)
        if key not in self._seen:
            self._seen.add(key)
            self.waiting.append((atom.predicate, asked))
        head = _asking(atom, asked)
        if before != (head,):
            self.made.append(Rule(head, before, atom.span))

    def relation(self, predicate: Predicate, asked: str) -> None:
        """The rules of a relation as it is asked."""
        for rule in self.rules.get(predicate.name, ()):
            demand, later = _given(_asking(rule.head, asked), rule.body)
            bound = [term for term in demand.arguments if isinstance(term, Var)]
            body = self.body((*rule.body, *later), bound, demand)
            head = replace(rule.head, predicate=_answers(predicate, asked))
            self.made.append(replace(rule, head=head, body=body))


def _given(demand: Atom, body: Body) -> tuple[Atom, tuple[Compare, ...]]:
    """The demand with other names for variables that the body makes of an expression, and that both are equal."""
    made = {variable for literal in body for variable in makes(literal)}
    terms: list[Term] = []
    later = []
    for term in demand.arguments:
        if isinstance(term, Var) and term in made:
            other = Var(f"#d{term.name}", term.type)
            later.append(Compare("=", term, other))
            terms.append(other)
        else:
            terms.append(term)
    return replace(demand, arguments=tuple(terms)), tuple(later)


def _asked(term: object, known: set[Var]) -> str:
    return "b" if isinstance(term, Const) or term in known else "f"


def _answers(predicate: Predicate, asked: str) -> Predicate:
    return Predicate(f"${predicate.name}:{asked}", predicate.columns, observed=False)


def _asking(atom: Atom, asked: str) -> Atom:
    """The atom that says which values are asked about."""
    places = [place for place, mark in enumerate(asked) if mark == "b"]
    columns = tuple(atom.predicate.columns[place] for place in places)
    predicate = Predicate(f"$demand:{atom.predicate.name}:{asked}", columns, observed=False)
    return Atom(predicate, tuple(atom.arguments[place] for place in places))
