"""Definitions put where they are used: a relation with one plain rule need not be made first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tcrules.engine.ir import (
    Any_,
    Atom,
    Body,
    Compare,
    Const,
    Either,
    Group,
    Literal,
    Not,
    Program,
    Rule,
    Term,
    Var,
)
from tcrules.engine.optimise.substitute import substitute
from tcrules.engine.reads import read_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def inline(program: Program) -> Program:
    """The program with plain definitions inlined. The definitions stay, for whoever asks for their relations."""
    plain = _definitions(program)
    if not plain:
        return program
    inliner = _Inliner(plain)
    strata = tuple(
        replace(
            stratum,
            rules=tuple(replace(rule, body=inliner.body(rule.body)) for rule in stratum.rules),
        )
        for stratum in program.strata
    )
    invariants = tuple(
        replace(
            invariant,
            each=inliner.body(invariant.each),
            expect=tuple(inliner.body(alternative) for alternative in invariant.expect),
        )
        for invariant in program.invariants
    )
    return replace(program, strata=strata, invariants=invariants)


def _definitions(program: Program) -> dict[str, Rule]:
    """Rules of the relations that may be inlined, by relation."""
    bodies = [rule.body for stratum in program.strata for rule in stratum.rules]
    bodies += [body for invariant in program.invariants for body in (invariant.each, *invariant.expect)]
    uses = Counter(name for body in bodies for name in read_by(body))
    found = {}
    for stratum in program.strata:
        if stratum.recursive or len(stratum.rules) != 1 or stratum.predicates[0].best:
            continue
        rule = stratum.rules[0]
        if _plain(rule) and (len(rule.body) == 1 or uses[rule.head.predicate.name] == 1):
            found[rule.head.predicate.name] = rule
    return found


def _plain(rule: Rule) -> bool:
    """Atoms and comparisons whose variables the head has, each once.

    With other variables each use would meet a binding as often as they have values.
    """
    head = [term for term in rule.head.arguments if isinstance(term, Var)]
    if len(set(head)) < len(rule.head.arguments):
        return False
    if not all(isinstance(literal, Atom | Compare) for literal in rule.body):
        return False
    inside = {term for literal in rule.body if isinstance(literal, Atom) for term in literal.arguments}
    own = {term for term in inside if isinstance(term, Var)}
    return own == set(head)


@dataclass(slots=True)
class _Inliner:
    definitions: Mapping[str, Rule]
    number: int = 0

    def body(self, body: Body) -> Body:
        return tuple(found for literal in body for found in self._literal(literal))

    def _literal(self, literal: Literal) -> Iterator[Literal]:
        match literal:
            case Atom(predicate) if predicate.name in self.definitions:
                rule = self.definitions[predicate.name]
                if len(rule.body) > 1 and any(isinstance(term, Any_) for term in literal.arguments):
                    yield literal
                else:
                    # A definition may use another one.
                    yield from self.body(self._opened(literal, rule))
            case Not(inner):
                yield replace(literal, body=self.body(inner))
            case Group(body=inner):
                yield replace(literal, body=self.body(inner))
            case Either(alternatives):
                yield replace(literal, alternatives=tuple(map(self.body, alternatives)))
            case _:
                yield literal

    def _opened(self, atom: Atom, rule: Rule) -> Body:
        given: dict[Var, Term] = {}
        for term, argument in zip(rule.head.arguments, atom.arguments, strict=True):
            assert isinstance(term, Var)
            given[term] = argument
        self.number += 1
        mark = f"#i{self.number}"

        def becomes(variable: Var) -> Var | Const:
            value = given.get(variable)
            if isinstance(value, Var | Const):
                return value
            return Var(f"{mark}{variable.name}", variable.type)

        opened = substitute(rule.body, becomes)
        return tuple(_without_marks(literal, mark, opened) for literal in opened)


def _without_marks(literal: Literal, mark: str, body: Body) -> Literal:
    """A single atom's columns that do not matter to the caller matter to nobody."""
    if not isinstance(literal, Atom) or len(body) > 1:
        return literal
    counts = Counter(term for term in literal.arguments if isinstance(term, Var))
    terms = tuple(
        Any_() if isinstance(term, Var) and term.name.startswith(mark) and counts[term] == 1 else term
        for term in literal.arguments
    )
    return replace(literal, arguments=terms)
