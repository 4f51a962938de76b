"""Turns the parse tree of one statement into `ast` nodes, and checks what the grammar cannot say."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias, cast

from tcrules.grammar import ast
from tcrules.grammar.diagnostics import Diagnostic, Label, did_you_mean
from tcrules.grammar.machine import Token
from tcrules.grammar.records import dataclass, replace
from tcrules.grammar.words import (
    BOOLEAN_FUNCTIONS,
    INT_MAX,
    KEY_AGGREGATES,
    VALUE_AGGREGATES,
    BadEscape,
    unquote,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.grammar.scan import Source


_UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Call:
    """`name(…)` before it is known whether it is an atom or a function call."""

    name: str
    arguments: tuple[ast.Argument, ...]
    span: ast.Span


@dataclass(frozen=True, slots=True)
class Body:
    literals: tuple[ast.Literal, ...]
    span: ast.Span


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Bodies with `or` between them; one body is the usual case."""

    bodies: tuple[tuple[ast.Literal, ...], ...]
    span: ast.Span

    def as_body(self) -> tuple[ast.Literal, ...]:
        """One body: several ones make a disjunction of their own."""
        return self.bodies[0] if len(self.bodies) == 1 else (ast.Disjunction(self.bodies, self.span),)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a block: `name` is its keyword, `content` what follows it."""

    name: str
    content: tuple[object, ...]
    span: ast.Span


Child: TypeAlias = (
    "Token | ast.Expression | ast.Literal | ast.Argument | Call | Body | Alternatives | Section"
)
Children: TypeAlias = "list[Child]"


class Builder:
    """Bottom-up construction for one statement that begins at `offset` of `source`.

    `machine.run` calls the method of a rule's name with the rule's children.
    """

    def __init__(self, source: Source, offset: int) -> None:
        self.source = source
        self.offset = offset
        self.diagnostics: list[Diagnostic] = []
        self.hosts: list[ast.Literal] = []

    # -------------------------------------------------------------------------------------- places

    def at(self, child: Child) -> ast.Span:
        """The span of a token or node."""
        if isinstance(child, Token):
            return self.source.span(self.offset + child.start_pos, self.offset + child.end_pos)
        return child.span

    def over(self, children: Sequence[Child | None]) -> ast.Span:
        """The span from the first to the last child."""
        present = [child for child in children if child is not None]
        first, last = self.at(present[0]), self.at(present[-1])
        return replace(first, end=last.end)

    def fault(
        self, code: str, span: ast.Span, message: str, label: str = "", help: str | None = None
    ) -> None:
        """Report an error at `span`; the statement is then not used."""
        self.diagnostics.append(Diagnostic(code, "error", message, (Label(span, label),), (), help))

    # ----------------------------------------------------------------------------------- constants

    def integer(self, children: list[Token]) -> ast.Constant:
        span = self.at(children[0])
        text = children[0].lstrip("0") or "0"
        # int() refuses, and is slow for, thousands of digits
        value = int(text) if len(text) <= 20 else INT_MAX + 2
        negated = self.source.text[max(span.start - 200, 0) : span.start].rstrip().endswith("-")
        if value > INT_MAX + negated:
            help = "write a float, or a smaller number"
            self.fault("TCR113", span, "integer out of range", "integers have 64 bits", help)
            value = 0
        return ast.Constant(value, span)

    def float(self, children: list[Token]) -> ast.Constant:
        span = self.at(children[0])
        if children[0] == "nan":
            return ast.Constant(math.nan, span)
        value = float(children[0])
        if math.isinf(value) and children[0] != "inf":
            self.fault(
                "TCR113", span, "float out of range", "larger than 1.8e308", "write `inf` for infinity"
            )
        return ast.Constant(value, span)

    def string(self, children: list[Token]) -> ast.Constant:
        return ast.Constant(self.text(children[0]), self.at(children[0]))

    def text(self, token: Token) -> str:
        """The text of a string token."""
        span = self.at(token)
        raw = _UNSEEN.search(token)
        if raw is not None:
            place = self.source.span(span.start + raw.start(), span.start + raw.end())
            code = f"{ord(raw.group()):x}"
            help = (
                f"write it as `\\u{{{code}}}`"
                if not 0xD800 <= ord(raw.group()) < 0xE000
                else "is this UTF-8?"
            )
            self.fault("TCR105", place, f"a string contains the raw character U+{code.upper():0>4}", "", help)
        try:
            return unquote(token)
        except BadEscape as bad:
            place = self.source.span(span.start + bad.start, span.start + bad.end)
            help = 'escapes are `\\"`, `\\\\`, `\\n`, `\\t` and `\\u{2192}`; a backslash itself is `\\\\`'
            self.fault("TCR112", place, f"`{bad}` is not an escape", "", help)
            return ""

    def boolean(self, children: list[Token]) -> ast.Constant:
        return ast.Constant(children[0] == "true", self.at(children[0]))

    def constant(self, children: list[Token | ast.Constant]) -> ast.Constant:
        last = cast("ast.Constant", children[-1])
        if len(children) == 1:
            return last
        number = cast("float", last.value)
        return ast.Constant(-number, self.over(children))

    # --------------------------------------------------------------------------------------- terms

    def variable(self, children: list[Token]) -> ast.Variable:
        return ast.Variable(str(children[0]), self.at(children[0]))

    def wildcard(self, children: list[Token]) -> ast.Wildcard:
        return ast.Wildcard(self.at(children[0]))

    def meta_variable(self, children: list[Token]) -> ast.MetaVariable:
        return ast.MetaVariable(children[0][1:], self.at(children[0]))

    def parameter(self, children: list[Token]) -> ast.Parameter:
        return ast.Parameter(children[0][1:], self.at(children[0]))

    def parenthesis(self, children: Children) -> ast.Expression:
        """The span grows by the parentheses: that is how the callers see that they were there."""
        return replace(self.expression(children[1]), span=self.over(children))

    def expression(self, child: Child) -> ast.Expression:
        """A child that stands where a value is needed."""
        if not isinstance(child, Call):
            return cast("ast.Expression", child)
        for argument in child.arguments:
            if argument.name is not None:
                message = f"`{child.name}` is used as a function, and functions take no named arguments"
                help = "a relation stands alone as a literal; bind its column to a variable there"
                self.fault("TCR114", argument.span, message, "", help)
                break
        return ast.Apply(child.name, tuple(argument.value for argument in child.arguments), child.span)

    def sum(self, children: Children) -> ast.Operation:
        left, right = self.expression(children[0]), self.expression(children[2])
        return ast.Operation(str(children[1]), left, right, self.over(children))

    product = sum

    def negative(self, children: Children) -> ast.Expression:
        operand = self.expression(children[1])
        span = self.over(children)
        if isinstance(operand, ast.Constant) and not isinstance(operand.value, bool | str):
            written = self.source.text[operand.span.start]
            if written.isdigit() or written == "i":  # not `(3)`, not `-3`, not `nan`
                return ast.Constant(-operand.value, span)
        return ast.Negative(operand, span)

    def argument(self, children: Children) -> ast.Argument:
        name = str(children[0]) if len(children) == 3 else None
        return ast.Argument(name, self.expression(children[-1]), self.over(children))

    def call(self, children: Children) -> Call:
        arguments = tuple(child for child in children if isinstance(child, ast.Argument))
        named = [argument for argument in arguments if argument.name is not None]
        if named and len(named) != len(arguments):
            odd = next(argument for argument in arguments if argument.name is None)
            help = f"name every argument, as in `{named[0].name}: …`, or none"
            self.fault("TCR114", odd.span, "positional and named arguments are mixed", "has no name", help)
        return Call(str(children[0]), arguments, self.over(children))

    def aggregate(self, children: Children) -> ast.Aggregate:
        kind, body = str(children[0]), next(child for child in children if isinstance(child, Alternatives))
        given = [child for child in children if isinstance(child, ast.Argument)]
        self.check_aggregate(kind, self.at(children[0]), given)
        value, key = (given[at].value if len(given) > at else None for at in (0, 1))
        return ast.Aggregate(kind, value, body.as_body(), self.over(children), key)

    def check_aggregate(self, kind: str, span: ast.Span, given: list[ast.Argument]) -> None:
        """Report an unknown aggregate, and values that it does not take or lacks."""
        known = ("count", *VALUE_AGGREGATES, *KEY_AGGREGATES)
        wanted = 2 if kind in KEY_AGGREGATES else 1
        shape = f"{kind}(V, K) {{ … }}" if wanted == 2 else f"{kind}(V) {{ … }}"
        if kind not in known:
            guess = did_you_mean(kind, known)
            help = f"did you mean `{guess}`?" if guess else "aggregates are " + ", ".join(known)
            self.fault("TCR115", span, f"unknown aggregate `{kind}`", "", help)
        elif not given and kind != "count":
            why = "the value, and the key to compare" if wanted == 2 else "the value to aggregate"
            self.fault("TCR115", span, f"`{kind}` needs {why}", "", f"write `{shape}`")
        elif given and len(given) != wanted:
            takes = "a value and a key" if wanted == 2 else "one value"
            self.fault("TCR115", span, f"`{kind}` takes {takes}, {len(given)} given", "", f"write `{shape}`")
        named = next((argument for argument in given if argument.name is not None), None)
        if named is not None:
            message = f"the values of `{kind}` have no names"
            self.fault("TCR114", named.span, message, "", f"write `{shape}`")

    # ------------------------------------------------------------------------------------ literals

    def host(self, literal: ast.Literal) -> ast.Literal:
        """Remember a literal: comments may belong to it."""
        self.hosts.append(literal)
        return literal

    def literal(self, children: Children) -> ast.Literal:
        return self.host(self.bare(children[0]))

    def bare(self, child: Child) -> ast.Literal:
        """An expression that stands alone: an atom, unless it is a built-in or in parentheses."""
        if isinstance(child, Call) and not self.is_function(child):
            return ast.Atom(child.name, child.arguments, child.span)
        expression = self.expression(child)
        return ast.Test(expression, expression.span)

    def is_function(self, call: Call) -> bool:
        """Whether a call in the place of a literal is a built-in."""
        return call.name in BOOLEAN_FUNCTIONS and all(argument.name is None for argument in call.arguments)

    def comparison(self, children: Children) -> ast.Literal:
        left, right = self.expression(children[0]), self.expression(children[2])
        return self.host(ast.Comparison(str(children[1]), left, right, self.over(children)))

    def negation(self, children: Children) -> ast.Literal:
        last = children[1]
        single = isinstance(last, Call)
        body = (self.bare(last),) if single else cast("Alternatives", children[2]).as_body()
        return self.host(ast.Negation(body, self.over(children)))

    def disjunction(self, children: Children) -> ast.Literal:
        bodies = cast("Alternatives", children[1]).bodies
        if len(bodies) == 1:
            help = "write alternatives, `{ a(X) or b(X) }`, or leave out the braces"
            message = "braces around a single alternative"
            self.fault("TCR123", self.over(children), message, "", help)
        return self.host(ast.Disjunction(bodies, self.over(children)))

    def alternatives(self, children: Children) -> Alternatives:
        bodies = tuple(child.literals for child in children if isinstance(child, Body))
        return Alternatives(bodies, self.over(children))

    def body(self, children: Children) -> Body:
        literals = tuple(cast("ast.Literal", child) for child in children if not isinstance(child, Token))
        return Body(literals, self.over(children))
