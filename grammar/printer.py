"""Tree to text, in the one canonical layout: what `tcrules fmt` writes.

`parse(print_program(tree))` gives the same tree, and printing that gives the same text. For this the tree must be
one that text can say: names and ids of the right shape, comments without line breaks or blanks at the end, no
comments on the head of a rule, no docs where comments follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tcrules.grammar import ast
from tcrules.grammar.layout import HARD, LINE, Align, Doc, Group, Nest, fill, join, layout
from tcrules.grammar.print_terms import (
    body_doc,
    commented,
    constant_text,
    expression_doc,
    literal_doc,
    literals_doc,
)
from tcrules.grammar.words import ANNOTATION_WORD, CONSTANT_WORDS, quote

if TYPE_CHECKING:
    from collections.abc import Sequence

Top: TypeAlias = ast.Statement | ast.TestCase


def print_program(program: ast.Program) -> str:
    """The canonical text of a file; the empty text for an empty one."""
    return _file(program.statements, program.trailing)


def print_tests(tests: ast.TestFile) -> str:
    """The canonical text of a `.tcr-test` file."""
    return _file((*tests.imports, *tests.tests), tests.trailing)


def print_statement(statement: ast.Statement) -> str:
    """The canonical text of one statement, with its comments and docs, without a line break at the end."""
    return layout(_statement(statement))


def print_literal(literal: ast.Literal) -> str:
    """The canonical text of one literal, with its comments."""
    return layout(literal_doc(literal))


def print_expression(expression: ast.Expression) -> str:
    """The canonical text of one expression."""
    return layout(expression_doc(expression))


# ------------------------------------------------------------------------------------------------ files


def _file(statements: Sequence[Top], trailing: tuple[str, ...]) -> str:
    out: list[str] = []
    previous: Top | None = None
    for statement in statements:
        if previous is not None and not _together(previous, statement):
            out.append("")
        out.append(layout(_statement(statement)))
        previous = statement
    if trailing:
        out += [*([""] if out else []), *(comment_line(text) for text in trailing)]
    return "".join(line + "\n" for line in out)


def comment_line(text: str) -> str:
    """A comment as one line."""
    return f"// {text}" if text else "//"


def _together(first: Top, second: Top) -> bool:
    """Whether two statements stand without a blank line between them."""
    if second.comments or (not isinstance(second, ast.Import | ast.TestCase) and second.doc):
        return False
    if isinstance(first, ast.Rule) and isinstance(second, ast.Rule):
        return first.head.relation == second.head.relation or not (first.body or second.body)
    if isinstance(first, ast.Invariant | ast.Template | ast.TestCase):
        return False
    return type(first) is type(second)


def _statement(statement: Top) -> Doc:
    lines: list[Doc] = [comment_line(text) for text in statement.comments]
    if not isinstance(statement, ast.Import | ast.TestCase):
        lines += [f"/// {text}" if text else "///" for text in statement.doc]
    return join(HARD, [*lines, _plain(statement)])


def _plain(statement: Top) -> Doc:
    """A statement without its comments and docs."""
    if isinstance(statement, ast.Import):
        return f"import {quote(statement.path)}"
    if isinstance(statement, ast.TypeDeclaration):
        return f"type {statement.name} <: {statement.base}"
    if isinstance(statement, ast.ParameterDeclaration):
        default = constant_text(statement.default)
        return f"param {statement.name}: {statement.type} = {default}"
    if isinstance(statement, ast.RelationDeclaration):
        columns: list[Doc] = [_column(column) for column in statement.columns]
        return Group((f"relation {statement.name}(", Align(join((",", LINE), columns)), ")"))
    if isinstance(statement, ast.Rule):
        return _rule(statement)
    if isinstance(statement, ast.TestCase):
        return _test(statement)
    if isinstance(statement, ast.Suppression):
        return _suppression(statement)
    return _block(statement)


def _column(column: ast.ColumnDeclaration) -> str:
    return f"{column.name}: {column.best + ' ' if column.best else ''}{column.type}"


def _rule(rule: ast.Rule) -> Doc:
    head = literal_doc(rule.head)
    if not rule.body:
        return (head, ".")
    return Group((head, " :-", Nest(4, (LINE, body_doc(rule.body))), "."))


def _suppression(suppression: ast.Suppression) -> Doc:
    opening = f"suppress {suppression.rule}"
    bindings: list[Doc] = [
        f"{given.variable}: {constant_text(given.value)}" for given in suppression.bindings
    ]
    which: Doc = (opening, " (", Align(fill(bindings)), ")") if bindings else opening
    why: Doc = f"because {quote(suppression.reason)}"
    if suppression.until is not None:
        why = (why, LINE, f"until {quote(suppression.until)}")
    return Group((which, Nest(4, (LINE, why))))


# --------------------------------------------------------------------------------- invariants, templates


def _block(block: ast.Invariant | ast.Template) -> Doc:
    annotations = "".join(f" {_annotation(annotation)}" for annotation in block.annotations)
    opening: Doc = f"invariant {block.id}{annotations} {{"
    if isinstance(block, ast.Template):
        metas: list[Doc] = [f"?{meta.name}: {meta.type}" for meta in block.metavariables]
        names = Group((f"template {block.id}(", Align(join((",", LINE), metas)), ")"))
        opening = (names, f"{annotations} {{")
    return (opening, Nest(4, (HARD, join(HARD, _sections(block)))), HARD, "}")


def _sections(block: ast.Invariant | ast.Template) -> list[Doc]:
    guard = block.guard if isinstance(block, ast.Template) else ()
    forbid = _is_never(block.expect)
    lines = [_section("forbid" if forbid else "each", block.each)]
    if guard:
        lines.append(_variables("guard", guard))
    if not forbid:
        first, *others = block.expect
        lines.append(_section("expect", first))
        lines += [_section("   or", other) for other in others]
    if block.about:
        lines.append(_variables("about", block.about))
    if block.message is not None:
        lines.append(f"{'message':8}{quote(block.message)}")
    return lines


def _section(keyword: str, literals: tuple[ast.Literal, ...]) -> Doc:
    return (f"{keyword:8}", Align(Group(literals_doc(literals))))


def _variables(keyword: str, variables: tuple[ast.Variable, ...]) -> Doc:
    return (f"{keyword:8}", Align(Group(join((",", LINE), [variable.name for variable in variables]))))


def _is_never(expect: tuple[tuple[ast.Literal, ...], ...]) -> bool:
    """Whether this is exactly what `forbid` says."""
    if len(expect) != 1 or len(expect[0]) != 1:
        return False
    only = expect[0][0]
    if not isinstance(only, ast.Test) or only.comments or not isinstance(only.expression, ast.Constant):
        return False
    return only.expression.value is False


def _annotation(annotation: ast.Annotation) -> str:
    if not annotation.arguments:
        return f"@{annotation.name}"
    return f"@{annotation.name}({', '.join(_annotation_argument(value) for value in annotation.arguments)})"


def _annotation_argument(value: ast.Value) -> str:
    if isinstance(value, str) and ANNOTATION_WORD.fullmatch(value) and value not in CONSTANT_WORDS:
        return value
    return constant_text(value)


# ------------------------------------------------------------------------------------------------ tests


def _test(case: ast.TestCase) -> Doc:
    parts: list[Doc] = []
    if case.facts:
        parts.append(
            _braced("facts {", [commented(fact, (literal_doc(fact, bare=True), ".")) for fact in case.facts])
        )
    if case.unrecorded:
        names: list[Doc] = list(case.unrecorded)
        parts.append(("unrecorded ", Align(Group(join((",", LINE), names)))))
    parts.append(_braced("expect {", [_expectation(expectation) for expectation in case.expectations]))
    return _braced(f"test {quote(case.name)} {{", parts)


def _braced(opening: str, lines: list[Doc]) -> Doc:
    return (opening, Nest(4, (HARD, join(HARD, lines))), HARD, "}") if lines else f"{opening}}}"


def _expectation(expectation: ast.Expectation) -> str:
    bindings = ", ".join(f"{name}: {constant_text(value)}" for name, value in expectation.bindings)
    return f"{expectation.verdict} {expectation.rule}" + (f" ({bindings})" if bindings else "")
