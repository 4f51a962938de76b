"""Random rule programs with random facts: typed, safe, stratified, and always ending.

Programs are made as text, so the whole way from parser to executor takes part. Domains are small, so joins meet;
floats are multiples of 0.25 (sums are exact in any order) and the special values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from tcrules.engine import ir
from tcrules.engine.analyse import analyse, load_text
from tcrules.engine.facts import Coverage, MemoryFacts, Stored
from tcrules.engine.show import show_value
from tcrules.grammar.ast import Value
from tcrules.grammar.render import render

INTS = [-2, 0, 1, 2, 3]
FLOATS = [-1.5, -0.25, -0.0, 0.0, 0.25, 1.0, 2.5, math.inf, -math.inf, math.nan]
STRINGS = ["", "a", "b", "ab", "a.b", "É"]
DOMAINS: dict[str, list[Value]] = {
    "int": [*INTS],
    "float": [*FLOATS],
    "string": [*STRINGS],
    "bool": [True, False],
    "node": [0, 1, 2],
}
OBSERVED: dict[str, tuple[tuple[str, str], ...]] = {
    "edge": (("a", "int"), ("b", "int")),
    "link": (("a", "node"), ("b", "node")),
    "weight": (("a", "int"), ("w", "float")),
    "label": (("a", "int"), ("s", "string"), ("on", "bool")),
    "note": (("s", "string"), ("w", "float")),
}
PREFIX = {"int": "I", "float": "F", "string": "S", "bool": "B", "node": "N"}
Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    """A program as text and analysed, and facts for its observed relations."""

    text: str
    program: ir.Program = field(repr=False)
    facts: MemoryFacts


@dataclass
class _Body:
    """A body under construction; `bound` are typed variables that it binds, `outer` those around it."""

    parts: list[str]
    bound: dict[str, str]
    outer: dict[str, str]

    def visible(self, kind: str) -> list[str]:
        """Bound variables of a type."""
        return sorted(name for name, found in {**self.outer, **self.bound}.items() if found == kind)


class _Writer:
    """Writes statements; every decision is drawn."""

    def __init__(self, draw: Callable[..., object]) -> None:
        self.draw = draw
        self.fresh = 0

    def pick(self, options: list) -> object:
        return self.draw(st.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(1, one_in)) == 1

    def new(self, kind: str) -> str:
        self.fresh += 1
        return f"{PREFIX[kind]}x{self.fresh}"

    # -------------------------------------------------------------------------------------------- atoms

    def atom(self, name: str, columns: Columns, body: _Body, tag: str = "") -> str:
        """An atom; variables that it mentions are bound in `body`."""
        arguments = []
        for column, kind in columns:
            choice = self.draw(st.integers(0, 9))
            if choice == 0:
                continue
            if choice == 1:
                value = show_value(self.pick(DOMAINS[kind]))
            else:
                value = f"{PREFIX[kind]}{tag}{self.draw(st.integers(0, 2))}"
                body.bound.setdefault(value, kind)
            arguments.append(f"{column}: {value}")
        return f"{name}({', '.join(arguments)})"

    def body(self, relations: dict[str, Columns], *, most: int = 3, tag: str = "", outer=None) -> _Body:
        """Positive atoms; with a tag also variables that only this body has."""
        body = _Body([], {}, dict(outer or {}))
        for _ in range(self.draw(st.integers(1, most))):
            name = self.pick(sorted(relations))
            own = tag if tag and self.chance(2) else ""
            body.parts.append(self.atom(name, relations[name], body, own))
        return body

    # -------------------------------------------------------------------------------------------- terms

    def term(self, kind: str, body: _Body) -> str:
        visible = body.visible(kind)
        if visible and not self.chance(4):
            return self.pick(visible)
        return show_value(self.pick(DOMAINS[kind]))

    def number(self, body: _Body, kind: str) -> str:
        """An int or float expression."""
        choice = self.draw(st.integers(0, 7))
        if choice <= 2:
            return self.term(kind, body)
        if kind == "int":
            if choice == 3 and body.visible("string"):
                return f"length({self.pick(body.visible('string'))})"
            if choice == 4:
                return f"floor({self.term('float', body)})"
            op = self.pick(["+", "-", "*", "//", "%"])
            left, right = self.term("int", body), self.term("int", body)
            # `//` after a space or before one would be a comment
            return f"({left}){op}({right})"
        op = self.pick(["+", "-", "*", "/"])
        mixed = self.pick(["int", "float"])
        left = self.term("float", body) if op != "/" else self.term(mixed, body)
        if choice == 3:
            return f"max_of({self.term('float', body)}, {self.term(mixed, body)})"
        return f"(({left}) {op} ({self.term('float', body)}))"

    def text(self, body: _Body) -> str:
        left, right = self.term("string", body), self.term("string", body)
        made = [
            left,
            f"concat({left}, {right})",
            f"lower({left})",
            f'replace({left}, "a", {right})',
            f'split_part({left}, ".", {self.term("int", body)})',
        ]
        return self.pick(made)

    def test(self, body: _Body) -> str:
        """A comparison or a boolean function over bound variables."""
        kind = self.pick(["int", "int", "float", "string", "bool", "node"])
        if kind == "bool":
            left, right = self.term("string", body), self.term("string", body)
            number = self.term("float", body)
            return self.pick(
                [
                    f"starts_with({left}, {right})",
                    f"contains({left}, {right})",
                    f'glob("a*", {left})',
                    f'matches("a(\\\\.b|[a-z*])?", {left})',
                    f"is_nan({number})",
                    f"(approx({number}, {self.term('float', body)}, 0.5, 0.25))",
                ]
            )
        op = self.pick(["=", "!=", "<", "<=", ">", ">="])
        if kind == "string":
            return f"{self.text(body)} {op} {self.term('string', body)}"
        if kind == "node":
            return f"{self.term('node', body)} {op} {self.term('node', body)}"
        other = self.pick(["int", "float"])
        return f"{self.number(body, kind)} {op} {self.term(other, body)}"

    # -------------------------------------------------------------------------------------------- literals

    def negation(self, relations: dict[str, Columns], body: _Body) -> str:
        """A negation over relations of lower strata, sharing some variables."""
        outer = {**body.outer, **body.bound}
        inner = self.body(relations, most=2, tag="n", outer=outer)
        # A name that the outer scope does not have is local; the other way round it is shared and bound.
        if self.chance(2):
            inner.parts.append(self.test(inner))
        return f"not {{ {', '.join(inner.parts)} }}" if len(inner.parts) > 1 else f"not {inner.parts[0]}"

    def aggregate(self, relations: dict[str, Columns], body: _Body) -> tuple[str, str]:
        """A literal that binds the value of an aggregate to a new variable, and its type."""
        inner = self.body(relations, most=2, tag="g", outer={**body.outer, **body.bound})
        if self.chance(3):
            inner.parts.append(self.test(inner))
        kinds = sorted({kind for kind in inner.bound.values() if kind in ("int", "float", "string")})
        kind = self.pick(["count", *(["sum", "min", "max", "mean"] if kinds else [])])
        if kind == "count":
            over, result = "", "int"
        else:
            result = self.pick([k for k in kinds if k != "string"] or ["string"])
            if result == "string":
                kind = self.pick(["min", "max"])
            names = sorted(name for name, found in inner.bound.items() if found == result)
            over = f"({self.pick(names)})"
            result = "float" if kind == "mean" else result
        variable = self.new(result)
        return f"{variable} = {kind}{over} {{ {', '.join(inner.parts)} }}", result

    def decorate(self, body: _Body, lower: dict[str, Columns], *, grows: bool) -> None:
        """Add tests, negations and aggregates; `grows` allows new values."""
        if self.chance(2):
            body.parts.append(self.test(body))
        if self.chance(3):
            body.parts.append(self.negation(lower, body))
        if grows and self.chance(3):
            literal, kind = self.aggregate(lower, body)
            body.parts.append(literal)
            body.bound[literal.split(" ")[0]] = kind
        if grows and self.chance(3):
            kind = self.pick(["int", "float", "string"])
            value = self.text(body) if kind == "string" else self.number(body, kind)
            variable = self.new(kind)
            body.parts.append(f"{variable} = {value}")
            body.bound[variable] = kind
        if self.chance(4):
            first = self.draw(st.permutations(body.parts))
            body.parts[:] = list(first)

    # -------------------------------------------------------------------------------------------- statements

    def rule(self, name: str, columns: Columns, body: _Body) -> str:
        head = ", ".join(f"{column}: {self.term(kind, body)}" for column, kind in columns)
        return f"{name}({head}) :- {', '.join(body.parts)}."

    def stratum(self, number: int, known: dict[str, Columns]) -> tuple[list[str], dict[str, Columns]]:
        """One or two relations that may read each other positively."""
        kinds = ["int", "int", "float", "string", "node"]
        made: dict[str, Columns] = {}
        for at in range(self.draw(st.integers(1, 2))):
            width = self.draw(st.integers(1, 2))
            made[f"d{number}{'ab'[at]}"] = tuple((f"c{c}", self.pick(kinds)) for c in range(width))
        lines = []
        for name, columns in made.items():
            typed = ", ".join(f"{column}: {kind}" for column, kind in columns)
            lines.append(f"relation {name}({typed})")
        for name, columns in made.items():
            lines.append(self._rule(name, columns, known, known))
            more = range(self.draw(st.integers(0, 2)))
            lines += [self._rule(name, columns, {**known, **made}, known) for _ in more]
        return lines, made

    def _rule(self, name: str, columns: Columns, reads: dict[str, Columns], lower: dict[str, Columns]) -> str:
        body = self.body(reads)
        recursive = any(part.split("(")[0] not in lower for part in body.parts)
        self.decorate(body, lower, grows=not recursive)
        return self.rule(name, columns, body)

    def invariant(self, number: int, relations: dict[str, Columns]) -> str:
        each = self.body(relations)
        self.decorate(each, relations, grows=True)
        outer = dict(each.bound)
        alternatives = []
        for _ in range(self.draw(st.integers(0, 2))):
            inner = self.body(relations, most=2, tag="e", outer=outer)
            self.decorate(inner, relations, grows=self.chance(2))
            alternatives.append(", ".join(inner.parts))
        expect = "expect " + "\n or ".join(alternatives) if alternatives else "expect false"
        return (
            f'invariant i-{number} {{\n each {", ".join(each.parts)}\n {expect}\n message "no {number}"\n}}'
        )

    def template(self, number: int, relations: dict[str, Columns]) -> str:
        """A template over an `int` and, sometimes, a `string` that only `expect` binds."""
        each = self.body(relations, most=2)
        each.parts.append(f"edge(a: ?A, b: {'I0' if 'I0' in each.bound else '_'})")
        outer = dict(each.bound)
        inner = self.body(relations, most=1, tag="e", outer=outer)
        metas = "?A: int"
        if self.chance(2):
            metas += ", ?B: string"
            inner.parts.append(f"label(a: {'I1' if 'I1' in outer else '_'}, s: ?B)")
        guards = sorted(outer)[: self.draw(st.integers(0, 2))]
        guard = f"\n guard {', '.join(guards)}" if guards else ""
        bodies = f" each {', '.join(each.parts)}{guard}\n expect {', '.join(inner.parts)}"
        return f'template t-{number}({metas}) {{\n{bodies}\n message "{{?A}}"\n}}'


def _facts(draw: Callable[..., object], most: int) -> MemoryFacts:
    relations: dict[str, tuple[Stored, ...]] = {}
    count = 0
    for name, columns in OBSERVED.items():
        row = st.tuples(*(st.sampled_from(DOMAINS[kind]) for _, kind in columns))
        stored = []
        for values in draw(st.lists(row, max_size=most)):
            count += 1
            stored.append(Stored(count, values))
        relations[name] = tuple(stored)
    return MemoryFacts(relations, Coverage(frozenset(OBSERVED)))


def header() -> list[str]:
    """Declarations of the observed relations."""
    lines = ["type node <: int"]
    for name, columns in OBSERVED.items():
        lines.append(f"relation {name}({', '.join(f'{column}: {kind}' for column, kind in columns)})")
    return lines


@st.composite
def cases(draw: Callable[..., object], most_facts: int = 8, strata: int = 3) -> Case:
    """A random program with strata, two invariants and a template, and random facts."""
    writer = _Writer(draw)
    known = dict(OBSERVED)
    lines = header()
    for number in range(draw(st.integers(0, strata))):
        more, made = writer.stratum(number, known)
        lines += more
        known |= made
    lines += [writer.invariant(number, known) for number in range(2)]
    lines.append(writer.template(0, known))
    text = "\n".join(lines) + "\n"
    loaded = load_text(text, "random.tcr")
    analysis = analyse(loaded.programs)
    found = (*loaded.diagnostics, *analysis.diagnostics)
    errors = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    assert not errors and analysis.program is not None, f"{text}\n{render(errors, loaded.sources)}"
    return Case(text, analysis.program, _facts(draw, most_facts))
