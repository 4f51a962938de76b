"""Fourth pass: one type for every variable and every column.

Columns that no declaration types take the most general type that the rules derive for them, found by
repeating until nothing changes. A variable takes the most special type of the places where it stands;
places whose types have no common order (`param` and `module`) are a fault. Integers meet floats in
comparisons and arithmetic only.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tcrules.engine.analyse.expressions import Env, Seen, type_of
from tcrules.engine.analyse.flat import (
    Clause,
    FAny,
    FAtom,
    FCompare,
    FExpr,
    FGroup,
    FLiteral,
    FVar,
    clause_literals,
)
from tcrules.engine.analyse.lattice import NUMBERS, UNKNOWN, Lattice
from tcrules.engine.ir import Type
from tcrules.engine.values import FLOAT, INT
from tcrules.grammar.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.analyse.symbols import Relation

#: A type None is not known yet, or at the end: no rule tells.
Columns = dict[str, tuple[Type | None, ...]]


@dataclass(frozen=True, slots=True)
class Typing:
    """`columns` of every relation, and for each clause the types of its variables."""

    columns: Columns
    variables: tuple[Env, ...]


def infer(clauses: Sequence[Clause], relations: Mapping[str, Relation], lattice: Lattice) -> Typing:
    """Types without complaints; `typecheck` reports what does not fit."""
    columns: Columns = {name: relation.types for name, relation in relations.items()}
    inference = _Inference(columns, relations, lattice)
    heads = [clause for clause in clauses if clause.head and not relations[clause.head.predicate].observed]
    readers: dict[str, list[Clause]] = {}
    for clause in heads:
        for name in {literal.predicate for literal in clause_literals(clause) if isinstance(literal, FAtom)}:
            readers.setdefault(name, []).append(clause)
    waiting = deque(heads)
    while waiting:
        clause = waiting.popleft()
        if clause.head is not None and inference.widen(clause, clause.head):
            waiting.extend(readers.get(clause.head.predicate, ()))
    return Typing(columns, tuple(inference.environment(clause) for clause in clauses))


@dataclass(frozen=True, slots=True)
class _Inference:
    columns: Columns
    relations: Mapping[str, Relation]
    lattice: Lattice

    def widen(self, clause: Clause, head: FAtom) -> bool:
        """Make the undeclared columns of the head's relation general enough; whether that changed them."""
        env = self.environment(clause)
        name = head.predicate
        after = list(self.columns[name])
        for at, (term, declared) in enumerate(zip(head.terms, self.relations[name].types, strict=True)):
            found = None if declared is not None else type_of(term, env, self.lattice)
            old = after[at]
            if found is not None:
                after[at] = found if old is None else (self.lattice.join(old, found) or old)
        changed = tuple(after) != self.columns[name]
        self.columns[name] = tuple(after)
        return changed

    def environment(self, clause: Clause) -> Env:
        """The types of a clause's variables, given the columns."""
        env: Env = {}
        for name, kind in clause.given:
            env[name] = Seen(self.lattice.types.get(kind, UNKNOWN), "its declaration", clause.span)
        literals = list(clause_literals(clause))
        for literal in literals:
            if isinstance(literal, FAtom):
                self._atom(literal, env)
        before: dict[str, Type] | None = None
        while before != (now := {name: seen.type for name, seen in env.items()}):
            before = now
            for literal in literals:
                self._other(literal, env)
        return env

    def _atom(self, atom: FAtom, env: Env) -> None:
        names = self.relations[atom.predicate].columns
        for at, term in enumerate(atom.terms):
            kind = self.columns[atom.predicate][at]
            if isinstance(term, FVar) and kind is not None:
                self._merge(term, Seen(kind, f"{atom.predicate}.{names[at]}", term.span), env)

    def _merge(self, variable: FVar, seen: Seen, env: Env) -> None:
        old = env.get(variable.name)
        if old is None or self.lattice.meet(old.type, seen.type) not in (None, old.type):
            env[variable.name] = seen

    def _other(self, literal: FLiteral, env: Env) -> None:
        if isinstance(literal, FCompare) and literal.op == "=":
            self._equation(literal.left, literal.right, env)
            self._equation(literal.right, literal.left, env)
        elif isinstance(literal, FGroup):
            kind = self._result(literal, env)
            if kind is not None:
                self._merge(literal.result, Seen(kind, f"the {literal.kind}", literal.span), env)

    def _equation(self, side: FExpr | FAny, other: FExpr, env: Env) -> None:
        found = type_of(other, env, self.lattice)
        if not isinstance(side, FVar) or found is None:
            return
        old = env.get(side.name)
        if old is not None and old.type.base != found.base and {old.type.base, found.base} <= NUMBERS:
            return  # compared as floats
        known = env.get(other.name) if isinstance(other, FVar) else None
        self._merge(side, Seen(found, known.origin if known else "an expression", other.span), env)

    def _result(self, group: FGroup, env: Env) -> Type | None:
        if group.kind in ("count", "distinct") or group.value is None:
            return INT
        found = type_of(group.value, env, self.lattice)
        if group.kind == "mean":
            return FLOAT
        if group.kind == "sum" and found is not None and found != UNKNOWN:
            return FLOAT if found.base == "float" else INT
        return found
