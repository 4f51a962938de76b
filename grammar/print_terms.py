"""Literals and expressions as documents, with no more parentheses than the tree needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tcrules.grammar import ast
from tcrules.grammar.layout import HARD, LINE, Align, Doc, Group, Nest, fill, join, layout
from tcrules.grammar.words import BOOLEAN_FUNCTIONS, quote

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2}
_UNARY, _PRIMARY = 3, 4
_FLAT = 10**9
_BEFORE_DIVISION = re.compile(r"[A-Za-z0-9_)]\Z")
_AFTER_DIVISION = re.compile(r"[A-Za-z0-9_($?-]")


def constant_text(value: ast.Value) -> str:
    """A constant as it is written; `repr` of a float is the shortest text that reads back the same."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(value) if isinstance(value, str) else repr(value)


# ------------------------------------------------------------------------------------------------ literals


def literals_doc(literals: Sequence[ast.Literal]) -> Doc:
    """Literals with commas; a group around it puts all on one line or each on its own."""
    return join((",", LINE), [literal_doc(literal) for literal in literals])


def body_doc(body: Sequence[ast.Literal]) -> Doc:
    """A body where the braces around a disjunction that is all of it can be left out."""
    only = body[0]
    if len(body) == 1 and isinstance(only, ast.Disjunction) and not only.comments:
        return _alternatives(only)
    return literals_doc(body)


def _alternatives(disjunction: ast.Disjunction) -> Doc:
    first, *others = (Align(Group(literals_doc(body))) for body in disjunction.alternatives)
    return (first, *((LINE, "or ", other) for other in others))


def literal_doc(literal: ast.Literal, *, bare: bool = False) -> Doc:
    """A literal, below its comments unless it is to be `bare`."""
    if isinstance(literal, ast.Atom):
        doc = _call(literal.relation, [_argument(argument) for argument in literal.arguments])
    elif isinstance(literal, ast.Negation):
        doc = _negation(literal)
    elif isinstance(literal, ast.Comparison):
        doc = (expression_doc(literal.left), f" {literal.op} ", expression_doc(literal.right))
    elif isinstance(literal, ast.Disjunction):
        doc = Align(Group(("{", Nest(4, (LINE, _alternatives(literal))), LINE, "}")))
    else:
        doc = _test(literal.expression)
    return doc if bare else commented(literal, doc)


def commented(literal: ast.Literal, doc: Doc) -> Doc:
    """`doc` below the comments of `literal`."""
    lines: list[Doc] = [f"// {text}" if text else "//" for text in literal.comments]
    return Align(join(HARD, [*lines, doc])) if lines else doc


def _test(expression: ast.Expression) -> Doc:
    doc = expression_doc(expression)
    if isinstance(expression, ast.Apply) and expression.function not in BOOLEAN_FUNCTIONS:
        return ("(", doc, ")")  # without these it would be an atom
    return doc


def _negation(literal: ast.Negation) -> Doc:
    only = literal.body[0]
    if len(literal.body) == 1 and not only.comments and _is_call(only):
        return ("not ", literal_doc(only))
    return _braces("not", literal.body)


def _is_call(literal: ast.Literal) -> bool:
    if isinstance(literal, ast.Test):
        expression = literal.expression
        return isinstance(expression, ast.Apply) and expression.function in BOOLEAN_FUNCTIONS
    return isinstance(literal, ast.Atom)


def _braces(before: Doc, body: Sequence[ast.Literal]) -> Doc:
    return Align(Group((before, " {", Nest(4, (LINE, body_doc(body))), LINE, "}")))


def _argument(argument: ast.Argument) -> Doc:
    value = expression_doc(argument.value)
    return value if argument.name is None else (f"{argument.name}: ", value)


def _call(name: str, arguments: list[Doc]) -> Doc:
    return Group((f"{name}(", Align(fill(arguments)), ")"))


# --------------------------------------------------------------------------------------------- expressions


def expression_doc(expression: ast.Expression, level: int = 0) -> Doc:
    """An expression, in parentheses where it binds less than `level`."""
    if isinstance(expression, ast.Operation):
        own = _LEVELS[expression.op]
        return _parenthesised(_operation(expression, own), own < level)
    if isinstance(expression, ast.Negative):
        operand = expression.operand
        doc = expression_doc(operand, _UNARY)
        return ("-", _parenthesised(doc, _would_fold(operand)))
    return _primary(expression)


def _would_fold(operand: ast.Expression) -> bool:
    """Whether `-` before this constant would be read as part of it."""
    if not isinstance(operand, ast.Constant) or isinstance(operand.value, str | bool):
        return False
    return constant_text(operand.value)[0] in "0123456789i"


def _parenthesised(doc: Doc, needed: bool) -> Doc:
    return ("(", doc, ")") if needed else doc


def _operation(expression: ast.Operation, own: int) -> Doc:
    if expression.op == "//":
        return _integer_division(expression)
    left = expression_doc(expression.left, own)
    right = expression_doc(expression.right, own + 1)
    return (left, f" {expression.op} ", right)


def _integer_division(expression: ast.Operation) -> Doc:
    """`//` stands tightly between letters, digits and parentheses; anything else would make it a comment."""
    tight = isinstance(expression.left, ast.Operation) and expression.left.op == "//"
    left = expression_doc(expression.left, _LEVELS["//"] if tight else _UNARY)
    right = expression_doc(expression.right, _UNARY)
    left = _parenthesised(left, not _BEFORE_DIVISION.search(layout(left, _FLAT)))
    right = _parenthesised(right, not _AFTER_DIVISION.match(layout(right, _FLAT)))
    return (left, "//", right)


def _primary(expression: ast.Expression) -> Doc:
    if isinstance(expression, ast.Variable):
        return expression.name
    if isinstance(expression, ast.MetaVariable):
        return f"?{expression.name}"
    if isinstance(expression, ast.Wildcard):
        return "_"
    if isinstance(expression, ast.Parameter):
        return f"${expression.name}"
    if isinstance(expression, ast.Constant):
        return constant_text(expression.value)
    if isinstance(expression, ast.Apply):
        return _call(expression.function, [expression_doc(argument) for argument in expression.arguments])
    assert isinstance(expression, ast.Aggregate)
    if expression.value is None:
        return _braces(expression.kind, expression.body)
    values = [expression_doc(value) for value in (expression.value, expression.key) if value is not None]
    return _braces((f"{expression.kind}(", join(", ", values), ")"), expression.body)
