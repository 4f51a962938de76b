"""Fourth pass, second half: reports terms whose types do not fit the places where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.analyse.expressions import Env, ExpressionChecker, type_of_value
from tcrules.engine.analyse.flat import Clause, FAny, FAtom, FCompare, FConst, FGroup, FVar, clause_literals
from tcrules.engine.analyse.lattice import NUMBERS, UNKNOWN, Lattice, describe
from tcrules.engine.values import BOOL

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from tcrules.engine.analyse.faults import Faults
    from tcrules.engine.analyse.symbols import Relation
    from tcrules.engine.analyse.types import Columns
    from tcrules.engine.ir import Type


def check_types(
    clause: Clause,
    env: Env,
    columns: Columns,
    relations: Mapping[str, Relation],
    lattice: Lattice,
    faults: Faults,
) -> None:
    """Report every mismatch in a clause."""
    checker = _Checker(env, columns, relations, lattice, faults)
    for literal in clause_literals(clause):
        if isinstance(literal, FAtom):
            checker.atom(literal)
        elif isinstance(literal, FCompare):
            checker.comparison(literal)
        elif isinstance(literal, FGroup):
            checker.group(literal)
    if clause.head is not None:
        checker.atom(clause.head)


def check_columns(
    columns: Columns, relations: Mapping[str, Relation], broken: Set[str], faults: Faults
) -> None:
    """Report columns that no rule gives a type, but not those of relations with `broken` rules."""
    for name, types in columns.items():
        span = relations[name].span
        if None in types and span is not None and name not in broken:
            column = relations[name].columns[types.index(None)]
            message = f"the type of `{name}.{column}` cannot be found"
            mend = f"declare it: `relation {name}({column}: …)`"
            faults.error("TCR206", message, span, "no rule gives it a value of a known type", mend=mend)


class _Checker:
    def __init__(
        self, env: Env, columns: Columns, relations: Mapping[str, Relation], lattice: Lattice, faults: Faults
    ) -> None:
        self.env = env
        self.columns = columns
        self.relations = relations
        self.lattice = lattice
        self.faults = faults
        self.expressions = ExpressionChecker(env, lattice, faults)

    def atom(self, atom: FAtom) -> None:
        names = self.relations[atom.predicate].columns
        for at, term in enumerate(atom.terms):
            wanted = self.columns[atom.predicate][at]
            if wanted is None or isinstance(term, FAny):
                continue
            place = f"{atom.predicate}.{names[at]}"
            if isinstance(term, FVar):
                self._variable(term, wanted, place)
            else:
                self._constant(term, wanted, place)

    def _variable(self, variable: FVar, wanted: Type, place: str) -> None:
        seen = self.env.get(variable.name)
        if seen is None or self.lattice.meet(seen.type, wanted) is not None:
            return
        what = "this value" if variable.made else f"`{variable.shown}`"
        message = f"{what} is {describe(seen.type)} ({seen.origin}), but {place} is {describe(wanted)}"
        more = [(seen.span, f"{seen.origin}: {describe(seen.type)}")]
        bases = {seen.type.base, wanted.base}
        mend = "values of two entity types are never equal; join over a relation that has both"
        if bases == {"int", "float"}:
            mend = "convert with `to_float` or `to_int`"
        elif len(bases) == 2:
            mend = None  # type: ignore[assignment]
        self.faults.error(
            "TCR205", message, variable.span, f"{place}: {describe(wanted)}", more=more, mend=mend
        )

    def _constant(self, constant: FConst, wanted: Type, place: str) -> None:
        found = type_of_value(constant.value)
        if wanted == UNKNOWN or found.base == wanted.base:
            return
        mend = f"write `{constant.value}.0`" if (found.base, wanted.base) == ("int", "float") else None
        message = f"{place} is {describe(wanted)}, not {found.name}"
        self.faults.error("TCR205", message, constant.span, f"a constant of type {found.name}", mend=mend)

    def comparison(self, literal: FCompare) -> None:
        left, right = self.expressions.check(literal.left), self.expressions.check(literal.right)
        if left is None or right is None or UNKNOWN in (left, right):
            return
        if literal.op not in ("=", "!=") and BOOL in (left, right):
            message = f"`{literal.op}` has no meaning for bool"
            self.faults.error("TCR205", message, literal.span, mend="compare with `=` or `!=`")
            return
        mixed = {left.name, right.name} <= NUMBERS
        if mixed or self.lattice.meet(left, right) is not None:
            return
        if isinstance(literal.right, FConst) and literal.right.span == literal.span:
            message = f"a literal of its own must be true or false; this is {describe(left)}"
            self.faults.error("TCR205", message, literal.span)
            return
        first, of_first = self.expressions.origin(literal.left)
        second, of_second = self.expressions.origin(literal.right)
        message = f"{describe(left)}{of_first} is never comparable with {describe(right)}{of_second}"
        mend = "only values of one type can be compared"
        self.faults.error("TCR205", message, literal.span, more=[*first, *second], mend=mend)

    def group(self, group: FGroup) -> None:
        for at, given in enumerate(group.values()):
            found = self.expressions.check(given)
            # What arg_min and arg_max return, and what is only counted, need not be compared.
            compared = group.kind != "distinct" and (group.key is None or at == 1)
            if found is None or found == UNKNOWN:
                continue
            if group.kind in ("sum", "mean") and found.base not in NUMBERS:
                message = f"`{group.kind}` needs numbers, not {describe(found)}"
                self.faults.error("TCR205", message, given.span)
            elif found == BOOL and compared:
                message = f"`{group.kind}` has no meaning for bool"
                self.faults.error("TCR205", message, given.span, mend="count { … } the bindings instead")
