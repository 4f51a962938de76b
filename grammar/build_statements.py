"""The second half of `build.py`: statements, their sections, and the cases of a test file."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar, cast

from tcrules.grammar import ast
from tcrules.grammar.build import Alternatives, Body, Builder, Call, Section
from tcrules.grammar.machine import Token
from tcrules.grammar.words import is_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.grammar.build import Child

    Children = list[Child]

Node = TypeVar("Node")

_ALLOWED = {
    "invariant": ("each", "forbid", "expect", "about", "message"),
    "template": ("each", "forbid", "guard", "expect", "about", "message"),
}


def _only(children: Sequence[object], kind: type[Node]) -> tuple[Node, ...]:
    return tuple(child for child in children if isinstance(child, kind))


class StatementBuilder(Builder):
    """Builds the node of one statement; `doc` is added by the parser, which knows the comments."""

    # -------------------------------------------------------------------------------- declarations

    def import_statement(self, children: list[Token]) -> ast.Import:
        return ast.Import(self.text(children[1]), self.over(children))

    def type_statement(self, children: list[Token]) -> ast.TypeDeclaration:
        return ast.TypeDeclaration(str(children[1]), str(children[3]), span=self.over(children))

    def column(self, children: list[Token]) -> ast.ColumnDeclaration:
        best = str(children[2]) if len(children) == 4 else ""
        return ast.ColumnDeclaration(str(children[0]), str(children[-1]), self.over(children), best)

    def relation_statement(self, children: Children) -> ast.RelationDeclaration:
        columns = _only(children, ast.ColumnDeclaration)
        return ast.RelationDeclaration(str(children[1]), columns, span=self.over(children))

    def param_statement(self, children: Children) -> ast.ParameterDeclaration:
        default = cast("ast.Constant", children[5]).value
        span = self.over(children)
        return ast.ParameterDeclaration(str(children[1]), str(children[3]), default, span=span)

    def rule_statement(self, children: Children) -> ast.Rule:
        head = self.head(cast("Call", children[0]))
        body = next(iter(_only(children, Alternatives)), None)
        return ast.Rule(head, body.as_body() if body else (), span=self.over(children))

    def head(self, call: Call) -> ast.Atom:
        """The atom that a rule or fact states."""
        if self.is_function(call):
            message = f"`{call.name}` is a built-in function and cannot be defined"
            self.fault("TCR120", call.span, message, "", "choose another name for the relation")
        return ast.Atom(call.name, call.arguments, call.span)

    # ---------------------------------------------------------------------- invariants, templates

    def annotation_argument(self, children: list[Token | ast.Constant]) -> ast.Constant:
        child = children[0]
        return ast.Constant(str(child), self.at(child)) if isinstance(child, Token) else child

    def annotation(self, children: Children) -> ast.Annotation:
        arguments = tuple(constant.value for constant in _only(children, ast.Constant))
        return ast.Annotation(str(children[1]), arguments, self.over(children))

    def meta(self, children: list[Token]) -> ast.MetaDeclaration:
        return ast.MetaDeclaration(children[0][1:], str(children[2]), self.over(children))

    def variables(self, children: list[Token]) -> tuple[ast.Variable, ...]:
        names = [token for token in children if token.type == "VARIABLE"]
        return tuple(ast.Variable(str(token), self.at(token)) for token in names)

    def each_section(self, children: Children) -> Section:
        return self.section(children, tuple(body.literals for body in _only(children, Body)))

    forbid_section = each_section

    def expect_section(self, children: Children) -> Section:
        return self.section(children, cast("Alternatives", children[1]).bodies)

    def guard_section(self, children: Children) -> Section:
        return self.section(children, cast("tuple[ast.Variable, ...]", children[1]))

    about_section = guard_section

    def message_section(self, children: list[Token]) -> Section:
        return self.section(children, (self.text(children[1]),))

    def section(self, children: Sequence[object], content: tuple[object, ...]) -> Section:
        """A section named by its first token."""
        keyword = cast("Token", children[0])
        return Section(str(keyword), content, self.at(keyword))

    def sections(self, children: Children, allowed: Sequence[str]) -> dict[str, Section]:
        """The sections by name; reports those that are given twice or do not belong here."""
        found: dict[str, Section] = {}
        block = str(children[0])
        for section in _only(children, Section):
            name = section.name
            if name not in allowed:
                message = f"`{name}` does not belong in this {block}"
                self.fault("TCR118", section.span, message, "", "its sections are " + ", ".join(allowed))
            elif name in found:
                join = "`or`" if name == "expect" else "commas"
                self.fault(
                    "TCR111", section.span, f"`{name}` is given twice", "", f"join the two with {join}"
                )
            found.setdefault(name, section)
        return found

    def claim(
        self, children: Children, sections: dict[str, Section]
    ) -> tuple[tuple[ast.Literal, ...], tuple[tuple[ast.Literal, ...], ...]]:
        """What holds for each binding, and the alternatives that are expected of it."""
        block, place = str(children[0]), self.at(children[1])
        each, forbid, expect = sections.get("each"), sections.get("forbid"), sections.get("expect")
        if forbid is not None:
            for other in (each, expect):
                if other is not None:
                    help = "`forbid a, b` alone means `each a, b expect false`"
                    self.fault("TCR111", other.span, f"`{other.name}` beside `forbid`", "", help)
            never = ast.Test(ast.Constant(False))
            return cast("tuple[tuple[ast.Literal, ...]]", forbid.content)[0], ((never,),)
        if each is None:
            self.fault(
                "TCR110", place, f"this {block} has no `each`", "", "say what it is about: `each a(x: X), …`"
            )
        if expect is None:
            help = "say what must hold: `expect b(x: X)`; for what must never happen write `forbid a(x: X)`"
            self.fault("TCR110", place, f"this {block} has no `expect`", "", help)
        if each is None or expect is None:
            return (), ()
        body = cast("tuple[tuple[ast.Literal, ...]]", each.content)[0]
        return body, cast("tuple[tuple[ast.Literal, ...], ...]", expect.content)

    def invariant_statement(self, children: Children) -> ast.Invariant:
        sections = self.sections(children, _ALLOWED["invariant"])
        each, expect = self.claim(children, sections)
        return ast.Invariant(
            str(children[1]),
            each,
            expect,
            about=_variables(sections.get("about")),
            message=_message(sections.get("message")),
            annotations=_only(children, ast.Annotation),
            span=self.over(children),
        )

    def template_statement(self, children: Children) -> ast.Template:
        sections = self.sections(children, _ALLOWED["template"])
        each, expect = self.claim(children, sections)
        return ast.Template(
            str(children[1]),
            _only(children, ast.MetaDeclaration),
            each,
            expect,
            guard=_variables(sections.get("guard")),
            about=_variables(sections.get("about")),
            message=_message(sections.get("message")),
            annotations=_only(children, ast.Annotation),
            span=self.over(children),
        )

    # -------------------------------------------------------------------------------- suppressions

    def binding(self, children: Children) -> ast.Binding:
        value = cast("ast.Constant", children[2]).value
        return ast.Binding(str(children[0]), value, self.over(children))

    def suppress_statement(self, children: Children) -> ast.Suppression:
        because, until = _after(children, "BECAUSE"), _after(children, "UNTIL")
        reason = self.text(because) if because else ""
        if not reason.strip():
            help = 'say why the violations are meant: `because "…"`'
            self.fault("TCR124", self.at(because or children[1]), "a suppression needs a reason", "", help)
        day = self.text(until) if until else None
        if until is not None and day is not None and not is_date(day):
            help = 'write year, month and day: `until "2027-01-31"`'
            self.fault("TCR125", self.at(until), f"`{day}` is not a date", "", help)
        bindings = _only(children, ast.Binding)
        return ast.Suppression(str(children[1]), bindings, reason, day, span=self.over(children))

    # ---------------------------------------------------------------------------------- test files

    def fact(self, children: Children) -> ast.Atom:
        atom = self.head(cast("Call", children[0]))
        for argument in atom.arguments:
            if not isinstance(argument.value, ast.Constant):
                help = "write a number, a string, `true` or `false`"
                self.fault("TCR120", argument.span, "a fact of a test consists of constants", "", help)
                break
        return cast("ast.Atom", self.host(atom))

    def expectation(self, children: Children) -> ast.Expectation:
        verdict, span = str(children[0]), self.over(children)
        bindings = tuple((given.variable, given.value) for given in _only(children, ast.Binding))
        if bindings and verdict != "violated":
            self.fault("TCR120", span, f"`{verdict}` takes no bindings", "", "only `violated` does")
        return ast.Expectation(verdict, str(children[1]), bindings, span)

    def facts_section(self, children: Children) -> Section:
        return self.section(children, _only(children, ast.Atom))

    def expectations_section(self, children: Children) -> Section:
        return self.section(children, _only(children, ast.Expectation))

    def unrecorded_section(self, children: list[Token]) -> Section:
        return self.section(children, tuple(str(token) for token in children[1:] if token.type == "NAME"))

    def test_statement(self, children: Children) -> ast.TestCase:
        sections = self.sections(children, ("facts", "unrecorded", "expect"))
        expect = sections.get("expect")
        if expect is None:
            help = "say what the rules should find: `expect { violated rule-id }`"
            self.fault("TCR110", self.at(children[1]), "this test has no `expect`", "", help)
        facts, unrecorded = sections.get("facts"), sections.get("unrecorded")
        return ast.TestCase(
            self.text(cast("Token", children[1])),
            cast("tuple[ast.Atom, ...]", facts.content) if facts else (),
            cast("tuple[str, ...]", unrecorded.content) if unrecorded else (),
            cast("tuple[ast.Expectation, ...]", expect.content) if expect else (),
            span=self.over(children),
        )

    def query(self, children: Children) -> Body:
        found = cast("Alternatives", children[0])
        return Body(found.as_body(), found.span)


def _after(children: Children, keyword: str) -> Token | None:
    """The token behind a keyword; None without the keyword."""
    pairs = pairwise(children)
    return next((cast("Token", b) for a, b in pairs if isinstance(a, Token) and a.type == keyword), None)


def _variables(section: Section | None) -> tuple[ast.Variable, ...]:
    return cast("tuple[ast.Variable, ...]", section.content) if section else ()


def _message(section: Section | None) -> str | None:
    return cast("str", section.content[0]) if section else None
