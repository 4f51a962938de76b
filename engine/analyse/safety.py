"""Fifth pass: order literals so that each finds bound what it needs, and report variables that nothing binds.

An atom binds its variables. `X = expression` binds X where the expression is bound and X is not.
Comparisons, negations and aggregates need their variables bound - of negations and aggregates those they
share with the scope around them. A disjunction binds what all of its alternatives bind, and needs bound what
only some of them do. Among the literals that are ready the first in the text is taken, disjunctions last.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from tcrules.engine.analyse.faults import Faults
from tcrules.engine.analyse.flat import (
    Clause,
    FAtom,
    FBind,
    FBody,
    FCompare,
    FEither,
    FExpr,
    FGroup,
    FLiteral,
    FNot,
    FVar,
    deep,
    expression_variables,
    inner_variables,
    own_variables,
)
from tcrules.grammar.records import replace

if TYPE_CHECKING:
    from tcrules.grammar.ast import Span

#: Whether values of the expression can be bound to the variable, by their types.
Assignable = Callable[[FVar, FExpr], bool]


def order_clause(clause: Clause, assignable: Assignable, faults: Faults) -> Clause:
    """The clause with its bodies in order; unsafe variables are reported."""
    orderer = _Orderer(assignable, faults)
    mentioned = {v.name for literal in clause.body for v in own_variables(literal)}
    if clause.head is not None:
        mentioned |= {v.name for v in own_variables(clause.head)}
    given = {name for name, _ in clause.given}
    body, bound = orderer.body(clause.body, frozenset(), frozenset(mentioned | given))
    expect = []
    for alternative in clause.expect:
        ordered, after = orderer.body(alternative, frozenset(bound), frozenset(bound | given))
        expect.append(ordered)
        for name in sorted(given - after - orderer.said):
            message = f"metavariable `{name}` is bound neither by `each` nor by this alternative of `expect`"
            place = alternative[0].span if alternative else clause.span
            faults.error("TCR306", message, place)
    if not clause.expect:
        for name in sorted(given - bound - orderer.said):
            faults.error("TCR306", f"nothing binds the metavariable `{name}`", clause.span)
    if clause.head is not None:
        orderer.head(clause.head, bound)
    return replace(clause, body=body, expect=tuple(expect))


class _Orderer:
    def __init__(self, assignable: Assignable, faults: Faults) -> None:
        self.assignable = assignable
        self.faults = faults
        self.said: set[str] = set()
        self.stuck = False

    def body(self, body: FBody, given: Set[str], outer: Set[str]) -> tuple[FBody, set[str]]:
        """The ordered body and the variables bound after it.

        `given` are bound before it; `outer` are all variables of the scopes around it.
        """
        bound = set(given)
        around = frozenset(outer) | {v.name for literal in body for v in own_variables(literal)}
        waiting = list(body)
        ordered: list[FLiteral] = []
        while waiting:
            for literal in sorted(waiting, key=lambda literal: isinstance(literal, FEither)):
                ready = self._ready(literal, bound, around)
                if ready is not None:
                    waiting.remove(literal)
                    ordered.append(ready)
                    bound |= {v.name for v in own_variables(ready)}
                    break
            else:
                self.stuck = True
                self._report(waiting, bound, around)
                # As if they were bound from here on: one unsafe variable is one fault.
                bound |= {v.name for literal in waiting for v in own_variables(literal)}
                break
        return tuple(ordered), bound

    def _ready(self, literal: FLiteral, bound: Set[str], around: Set[str]) -> FLiteral | None:
        """The literal as it runs now, or None where it still waits for a variable."""
        if isinstance(literal, FAtom | FBind):
            return literal
        if isinstance(literal, FCompare):
            return self._comparison(literal, bound)
        if isinstance(literal, FEither):
            return self._either(literal, bound, around)
        if {v.name for v in inner_variables(literal)} & around - bound:
            return None
        inner, after = self.body(literal.body, frozenset(bound), around)
        if isinstance(literal, FNot):
            return replace(literal, body=inner)
        for value in literal.values():
            for variable in expression_variables(value):
                if variable.name not in after:
                    message = f"the body of the aggregate does not bind `{variable.shown}`"
                    self.faults.error("TCR307", message, variable.span)
        return replace(literal, body=inner, over=tuple(name for name in literal.over if name in after))

    def _either(self, either: FEither, bound: Set[str], around: Set[str]) -> FEither | None:
        """Tries the alternatives; where one of them is not ready, nothing is said yet."""
        trial = _Orderer(self.assignable, Faults())
        ways = [trial.body(body, frozenset(bound), around) for body in either.alternatives]
        if trial.stuck or any({v.name for v in either.outer} - after for _, after in ways):
            return None
        self.faults.add(trial.faults)
        binds = tuple(v.name for v in either.outer if v.name not in bound)
        return replace(either, alternatives=tuple(body for body, _ in ways), binds=binds)

    def _comparison(self, literal: FCompare, bound: Set[str]) -> FLiteral | None:
        missing = [v for v in own_variables(literal) if v.name not in bound]
        if not missing:
            return literal
        if literal.op != "=" or len({v.name for v in missing}) > 1:
            return None
        for side, other in ((literal.left, literal.right), (literal.right, literal.left)):
            if isinstance(side, FVar) and side.name not in bound and len(missing) == 1:
                return FBind(side, other, literal.span) if self.assignable(side, other) else None
        return None

    def _report(self, waiting: list[FLiteral], bound: Set[str], around: Set[str]) -> None:
        for literal in waiting:
            if isinstance(literal, FEither):
                self._report_either(literal, bound, around)
                continue
            if isinstance(literal, FCompare):
                needed = self._needed(literal, bound)
            else:
                needed = [v for v in inner_variables(literal) if v.name in around]
            for variable in needed:
                if variable.name not in bound | self.said and not variable.made:
                    self.said.add(variable.name)
                    self._unsafe(variable, self._kind(literal))

    def _report_either(self, either: FEither, bound: Set[str], around: Set[str]) -> None:
        for body in either.alternatives:
            _, after = self.body(body, frozenset(bound), around)
            for variable in either.outer:
                if variable.name not in after | self.said and not variable.made:
                    self.said.add(variable.name)
                    self._not_in_all(variable, body)

    def _not_in_all(self, variable: FVar, body: FBody) -> None:
        notes = ("it is used outside of the braces, so each alternative must bind it",)
        mend = f"bind `{variable.shown}` in this alternative too, or outside of the braces"
        message = f"an alternative does not bind `{variable.shown}`"
        self.faults.error("TCR301", message, body[0].span, "this alternative", notes=notes, mend=mend)

    def _needed(self, literal: FCompare, bound: Set[str]) -> list[FVar]:
        """The variables that a comparison waits for; an equation would bind the variable on one side itself."""
        if literal.op == "=":
            for side, other in ((literal.left, literal.right), (literal.right, literal.left)):
                waits_for = [v for v in expression_variables(other) if v.name not in bound]
                if isinstance(side, FVar) and waits_for and not isinstance(other, FVar):
                    return waits_for
                if isinstance(side, FVar) and any(v.made for v in waits_for):
                    return waits_for
        return list(own_variables(literal))

    def _kind(self, literal: FLiteral) -> str:
        if isinstance(literal, FNot):
            return "a negation only tests; it cannot bind a variable that is also used outside of it"
        if isinstance(literal, FGroup):
            return "an aggregate cannot bind a variable that is also used outside of it"
        return "a comparison only tests; `X = expression` binds X where the expression is bound"

    def _unsafe(self, variable: FVar, why: str) -> None:
        if variable.name.startswith("?"):
            message = f"nothing binds the metavariable `{variable.shown}` before it is tested"
            self.faults.error("TCR306", message, variable.span)
            return
        message = f"nothing binds `{variable.shown}`"
        mend = "add an atom that has it as an argument"
        self.faults.error("TCR301", message, variable.span, "in this literal", notes=(why,), mend=mend)

    def head(self, head: FAtom, bound: Set[str]) -> None:
        """Report variables of the head that the body does not bind."""
        for variable in own_variables(head):
            if variable.name not in bound | self.said and not variable.made:
                message = f"nothing in the body binds `{variable.shown}`"
                mend = "add an atom that has it as an argument"
                self.faults.error("TCR301", message, variable.span, "in the head", mend=mend)


def warn_unused(clause: Clause, mentioned: Set[str], faults: Faults) -> None:
    """Warn of variables that occur once; `mentioned` are named by message, about or guard."""
    places: dict[str, list[Span]] = {}
    counted: set[str] = set(mentioned)
    for body in (clause.body, *clause.expect):
        for literal in deep(body):
            for variable in own_variables(literal) if not isinstance(literal, FEither) else ():
                places.setdefault(variable.name, []).append(variable.span)
            if isinstance(literal, FGroup):
                counted |= set(literal.over)
                counted |= {v.name for value in literal.values() for v in expression_variables(value)}
    if clause.head is not None:
        counted |= {v.name for v in own_variables(clause.head)}
    for name, spans in places.items():
        if len(spans) == 1 and name not in counted and not name.startswith(("#", "?")):
            shown = name.split("#")[0]
            faults.warning("TCR304", f"`{shown}` is used only once", spans[0], mend="write `_`")
