"""Second pass: names become what they mean.

Atoms get all arguments in the order of the relation's columns (no names, `_` where none was given),
parameters become constants, metavariables become variables called `?A`. A statement with a fault is left
out of later passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.engine import patterns
from tcrules.engine.analyse.faults import Faults, counted, suggest
from tcrules.engine.values import FUNCTIONS
from tcrules.grammar import ast
from tcrules.grammar.records import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcrules.engine.analyse.symbols import Relation, Symbols

Statement: TypeAlias = ast.Rule | ast.Invariant | ast.Template


def resolve(statement: Statement, symbols: Symbols, faults: Faults) -> Statement | None:
    """The statement with all names resolved, or None where it has faults."""
    resolver = _Resolver(symbols, faults, statement)
    if isinstance(statement, ast.Rule):
        resolved: Statement = replace(
            statement, head=resolver.head(statement.head), body=resolver.body(statement.body)
        )
    else:
        resolved = replace(
            statement,
            each=resolver.body(statement.each),
            expect=tuple(resolver.body(alternative) for alternative in statement.expect),
        )
    return None if resolver.broken else resolved


class _Resolver:
    """Resolves one statement; `broken` says that it has a fault."""

    def __init__(self, symbols: Symbols, faults: Faults, statement: ast.Statement) -> None:
        self.symbols = symbols
        self.faults = faults
        self.broken = False
        self.metavariables: frozenset[str] = frozenset()
        self.template = isinstance(statement, ast.Template)
        if isinstance(statement, ast.Template):
            self.metavariables = frozenset(meta.name for meta in statement.metavariables)

    def _fault(
        self, code: str, message: str, span: ast.Span, text: str = "", mend: str | None = None
    ) -> None:
        self.broken = True
        self.faults.error(code, message, span, text, mend=mend)

    # -------------------------------------------------------------------------------------------- literals

    def body(self, literals: Iterable[ast.Literal]) -> tuple[ast.Literal, ...]:
        return tuple(self._literal(literal) for literal in literals)

    def _literal(self, literal: ast.Literal) -> ast.Literal:
        if isinstance(literal, ast.Atom):
            if literal.relation not in self.symbols.relations and literal.relation in FUNCTIONS:
                return ast.Test(self._call_as_test(literal), literal.span, literal.comments)
            return self._atom(literal)
        if isinstance(literal, ast.Negation):
            return replace(literal, body=self.body(literal.body))
        if isinstance(literal, ast.Comparison):
            return replace(
                literal, left=self._expression(literal.left), right=self._expression(literal.right)
            )
        if isinstance(literal, ast.Disjunction):
            return replace(literal, alternatives=tuple(map(self.body, literal.alternatives)))
        return replace(literal, expression=self._expression(literal.expression))

    def _call_as_test(self, atom: ast.Atom) -> ast.Expression:
        for argument in atom.arguments:
            if argument.name is not None:
                self._fault("TCR202", f"the function `{atom.relation}` has no named arguments", argument.span)
        call = ast.Apply(atom.relation, tuple(argument.value for argument in atom.arguments), atom.span)
        return self._expression(call)

    def head(self, atom: ast.Atom) -> ast.Atom:
        resolved = self._atom(atom)
        relation = self.symbols.relations.get(atom.relation)
        named = {argument.name for argument in atom.arguments}
        if (
            relation is not None
            and not relation.observed
            and atom.arguments
            and atom.arguments[0].name is not None
        ):
            missing = [column for column in relation.columns if column not in named]
            if missing:
                columns = ", ".join(f"`{column}`" for column in missing)
                self._fault(
                    "TCR203", f"the head leaves out {columns}", atom.span, "a head gives every column"
                )
        for argument in atom.arguments:
            if isinstance(argument.value, ast.Wildcard):
                message = "`_` cannot stand in a head"
                self._fault("TCR303", message, argument.span, "a derived fact has a value here")
        return resolved

    def _atom(self, atom: ast.Atom) -> ast.Atom:
        values = [(argument, self._argument(argument.value)) for argument in atom.arguments]
        relation = self.symbols.relations.get(atom.relation)
        if relation is None:
            self._unknown_relation(atom)
            return atom
        if values and values[0][0].name is not None:
            ordered = self._by_name(values, relation)
        else:
            ordered = self._by_position(atom, [value for _, value in values], relation)
        return replace(atom, arguments=tuple(ast.Argument(None, value, value.span) for value in ordered))

    def _unknown_relation(self, atom: ast.Atom) -> None:
        name = atom.relation
        mend = suggest(name, {*self.symbols.relations, *FUNCTIONS})
        if mend is None:
            mend = f"declare it (`relation {name}(…)`) if a program emits such facts, or derive it by a rule"
        self._fault("TCR201", f"unknown relation `{name}`", atom.span, mend=mend)

    def _by_name(
        self, values: list[tuple[ast.Argument, ast.Expression]], relation: Relation
    ) -> list[ast.Expression]:
        found: dict[str, ast.Argument] = {}
        given: dict[str, ast.Expression] = {}
        for argument, value in values:
            name = argument.name or ""
            if name in found:
                self._fault("TCR204", f"column `{name}` is given twice", argument.span)
            elif name not in relation.columns:
                columns = ", ".join(relation.columns)
                mend = suggest(name, relation.columns) or f"its columns are {columns}"
                self._fault("TCR202", f"`{relation.name}` has no column `{name}`", argument.span, mend=mend)
            found[name] = argument
            given[name] = value
        return [given.get(column, ast.Wildcard()) for column in relation.columns]

    def _by_position(
        self, atom: ast.Atom, values: list[ast.Expression], relation: Relation
    ) -> list[ast.Expression]:
        wanted = len(relation.columns)
        if len(values) != wanted and (values or not wanted or relation.columns[0].startswith("$")):
            message = f"`{relation.name}` has {counted(wanted, 'column')}, {len(values)} given"
            mend = f"its columns are {', '.join(relation.columns)}"
            if not relation.columns or relation.columns[0].startswith("$"):
                mend = "all heads and uses of a relation have as many arguments"
            self._fault("TCR203", message, atom.span, mend=mend)
        return [*values, *(ast.Wildcard() for _ in relation.columns[len(values) :])][:wanted]

    # -------------------------------------------------------------------------------------------- expressions

    def _argument(self, value: ast.Expression) -> ast.Expression:
        return value if isinstance(value, ast.Wildcard) else self._expression(value)

    def _expression(self, expression: ast.Expression) -> ast.Expression:
        if isinstance(expression, ast.Variable | ast.Constant):
            return expression
        if isinstance(expression, ast.Operation):
            left, right = self._expression(expression.left), self._expression(expression.right)
            return replace(expression, left=left, right=right)
        if isinstance(expression, ast.Negative):
            return replace(expression, operand=self._expression(expression.operand))
        if isinstance(expression, ast.Apply):
            return self._apply(expression)
        if isinstance(expression, ast.Aggregate):
            value, key = (
                None if given is None else self._expression(given)
                for given in (expression.value, expression.key)
            )
            return replace(expression, value=value, key=key, body=self.body(expression.body))
        return self._name(expression)

    def _name(self, name: ast.Wildcard | ast.Parameter | ast.MetaVariable) -> ast.Expression:
        if isinstance(name, ast.Wildcard):
            self._fault("TCR303", "`_` has no value", name.span, mend="it may only be an argument of an atom")
        elif isinstance(name, ast.Parameter):
            if name.name in self.symbols.parameters:
                return ast.Constant(self.symbols.parameters[name.name], name.span)
            mend = (
                suggest(name.name, self.symbols.parameters, "$")
                or f"declare it: `param {name.name}: type = value`"
            )
            self._fault("TCR208", f"unknown parameter `${name.name}`", name.span, mend=mend)
        elif name.name in self.metavariables:
            return ast.Variable(f"?{name.name}", name.span)
        elif self.template:
            mend = suggest(name.name, self.metavariables, "?") or "declare it in the head of the template"
            self._fault("TCR306", f"the template has no metavariable `?{name.name}`", name.span, mend=mend)
        else:
            message = f"metavariable `?{name.name}` outside of a template"
            self._fault("TCR211", message, name.span, mend=f"write the variable `{name.name}`")
        return name

    def _apply(self, call: ast.Apply) -> ast.Expression:
        arguments = tuple(self._expression(argument) for argument in call.arguments)
        function = FUNCTIONS.get(call.function)
        if function is None:
            mend = suggest(call.function, FUNCTIONS)
            if call.function in self.symbols.relations:
                mend = "this is a relation; it can be a literal of its own, not a value"
            self._fault("TCR207", f"unknown function `{call.function}`", call.span, mend=mend)
        elif len(arguments) != len(function.parameters):
            wanted = counted(len(function.parameters), "argument")
            message = f"`{call.function}` takes {wanted}, {len(arguments)} given"
            self._fault("TCR203", message, call.span, mend=function.doc)
        elif call.function == "matches":
            self._pattern(arguments[0])
        return replace(call, arguments=arguments)

    def _pattern(self, pattern: ast.Expression) -> None:
        if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
            message = "the pattern of `matches` is not a text constant"
            self._fault("TCR205", message, pattern.span, mend="use `glob` for patterns that are computed")
            return
        try:
            patterns.regex(pattern.value)
        except patterns.PatternError as error:
            self._fault("TCR205", f"invalid regular expression: {error}", pattern.span)
