"""Part of the seventh pass: a relation that keeps the best fact may be recursive only in ways that a better fact
never spoils.

Within its own stratum such a value may become, plus or minus something else, the best value of a head of the same
direction, and be compared so that the comparison stays true when the value gets better. Then the facts that are found
do not depend on the order in which they are found, and what was derived from a value that was replaced still follows.
Outside of its stratum the relation is like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine import ir
from tcrules.engine.plan.build import body_variables, expression_variables
from tcrules.engine.show import show_expression
from tcrules.grammar.records import dataclass, field

if TYPE_CHECKING:
    from tcrules.engine.analyse.faults import Faults

#: Operators that stay true when their left side gets smaller, or larger.
_STAYS_TRUE = {"min": ("<", "<="), "max": (">", ">=")}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def check_monotone(stratum: ir.Stratum, faults: Faults) -> None:
    """Report uses of a best value in its own stratum that are not monotone."""
    members = {predicate.name for predicate in stratum.predicates}
    if stratum.recursive and any(predicate.best for predicate in stratum.predicates):
        for rule in stratum.rules:
            _Rule(members, faults).check(rule)


@dataclass(slots=True)
class _Rule:
    """Follows best values through one rule; `direction` is that of each variable that depends on one."""

    members: set[str]
    faults: Faults
    direction: dict[ir.Var, str] = field(default_factory=dict)

    def check(self, rule: ir.Rule) -> None:
        """Report the first misuse."""
        for literal in rule.body:
            if (
                isinstance(literal, ir.Atom)
                and literal.predicate.best
                and literal.predicate.name in self.members
            ):
                value = literal.arguments[-1]
                if isinstance(value, ir.Const) or value in self.direction:
                    return self._fault(literal, literal.predicate.best, "is tested for equality here")
                if isinstance(value, ir.Var):
                    self.direction[value] = literal.predicate.best
        if self.direction and all(self._literal(literal) for literal in rule.body):
            self._head(rule.head)
        return None

    def _literal(self, literal: ir.Literal) -> bool:
        """Follow the values through a literal; False where it was reported."""
        if isinstance(literal, ir.Atom):
            return self._atom(literal)
        if isinstance(literal, ir.Bind):
            found = self._of(literal.value)
            if found == "?":
                self._fault(
                    literal, self._any(literal.value), "is computed with here in a way that is not monotone"
                )
                return False
            if found:
                self.direction[literal.variable] = found
            return True
        if isinstance(literal, ir.Compare):
            return self._compare(literal)
        if body_variables((literal,)) & self.direction.keys():
            kind = "a negation" if isinstance(literal, ir.Not) else "an aggregate"
            self._fault(literal, self._first(literal), f"is read by {kind} here")
            return False
        return True

    def _atom(self, atom: ir.Atom) -> bool:
        own = len(atom.arguments) - 1 if atom.predicate.best and atom.predicate.name in self.members else None
        for at, term in enumerate(atom.arguments):
            if at != own and term in self.direction:
                self._fault(atom, self.direction[term], "is tested for equality here")
                return False
        return True

    def _compare(self, test: ir.Compare) -> bool:
        left, right = self._of(test.left), self._of(test.right)
        if not left and not right:
            return True
        op = test.op if left else _TURNED.get(test.op, test.op)
        if not (left and right) and op in _STAYS_TRUE.get(left or right, ()):
            return True
        self._fault(
            test, self._any(test.left, test.right), "is compared here in a way that a better value can spoil"
        )
        return False

    def _head(self, head: ir.Atom) -> None:
        best = head.predicate.best
        for at, term in enumerate(head.arguments):
            found = self.direction.get(term, "") if isinstance(term, ir.Var) else ""
            if found and not (best and at == len(head.arguments) - 1):
                return self._fault(head, found, f"becomes `{head.predicate.columns[at].name}` of the head")
            if found and found != best:
                return self._fault(head, found, f"becomes a value of which the {best} is kept")
        return None

    def _of(self, value: ir.Expr) -> str:
        """The direction in which an expression gets better with the values in it; "": none in it; "?": neither."""
        if isinstance(value, ir.Var):
            return self.direction.get(value, "")
        if isinstance(value, ir.Const):
            return ""
        found = [self._of(argument) for argument in value.arguments]
        if not any(found):
            return ""
        plain = value.name in ("+", "min_of", "max_of", "to_float") or (value.name == "-" and not found[1])
        same = set(found) - {""}
        return same.pop() if plain and len(same) == 1 else "?"

    def _any(self, *values: ir.Expr) -> str:
        """The direction of some value in the expressions."""
        return next(
            self.direction[v] for value in values for v in expression_variables(value) if v in self.direction
        )

    def _first(self, literal: ir.Literal) -> str:
        return next(self.direction[v] for v in body_variables((literal,)) if v in self.direction)

    def _fault(
        self, literal: ir.Atom | ir.Compare | ir.Bind | ir.Not | ir.Group | ir.Either, best: str, what: str
    ) -> None:
        shown = ", ".join(f"`{show_expression(v)}`" for v in self.direction if self.direction[v] == best)
        names = f" ({shown})" if shown else ""
        message = f"the {best} that this recursion is finding{names} {what}"
        op, better = ("<", "smaller") if best == "min" else (">", "larger")
        notes = (f"the value may still get {better}, and what was derived from it must stay true",)
        mend = (
            f"in the recursion only add to it, subtract from it, use min_of or max_of, and compare it with `{op}` or "
            f"`{op}=`; everything else belongs into a rule of another relation that reads the finished one"
        )
        self.faults.error("TCR308", message, literal.span, notes=notes, mend=mend)
