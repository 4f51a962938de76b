"""Random rule programs with random facts: typed, safe, stratified, and always ending.

Programs are made as text, so the whole way from parser to executor takes part. Domains are small, so joins meet;
floats are multiples of 0.25 (sums are exact in any order) and the special values.
"""

from __future__ import annotations

import math
import re
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
_RELATION = re.compile(r"\b(d[0-9][ab])\(")
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
        self.depth = 0  # of disjunctions

    def pick(self, options: list) -> object:
        return self.draw(st.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(1, one_in)) == one_in  # the simplest draw is the simplest program

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
                text = self.pick(body.visible("string"))
                return self.pick([f"length({text})", f'count_parts({text}, ".")', f'index_of({text}, "b")'])
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
            f"slice({left}, {self.term('int', body)}, {self.term('int', body)})",
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
        if not self.depth and self.chance(5):
            inner.parts.append(self.disjunction(relations, relations, inner))
        return f"not {{ {', '.join(inner.parts)} }}" if len(inner.parts) > 1 else f"not {inner.parts[0]}"

    def within_blocks(self, relations: dict[str, Columns]) -> list[str]:
        """Names of the relations that alternatives may read."""
        return sorted(relations)

    def local_atom(self, relations: dict[str, Columns], inner: _Body, new: tuple[str, str] | None) -> str:
        """An atom over bound variables, variables of its own, and `new` where there is a column for it."""
        name = self.pick(self.within_blocks(relations))
        arguments = []
        for column, kind in relations[name]:
            if new is not None and kind == new[1] and new[0] not in inner.bound:
                value = new[0]
                inner.bound[value] = kind
            elif kind == "step" or self.chance(
                2
            ):  # steps of their own would make rules wait for the run's end
                value = self.term(kind, inner)
            elif self.chance(2):
                value = self.new(kind)
                inner.bound[value] = kind
            else:
                continue
            arguments.append(f"{column}: {value}")
        return f"{name}({', '.join(arguments)})"

    def alternative(
        self, reads: dict[str, Columns], lower: dict[str, Columns], body: _Body, new: tuple[str, str] | None
    ) -> str:
        inner = _Body([], {}, {**body.outer, **body.bound})
        for _ in range(2 if self.chance(4) else 1):
            inner.parts.append(self.local_atom(reads, inner, new))
        if new is not None and new[0] not in inner.bound:
            value = self.term(new[1], inner)
            inner.parts.append(f"{new[0]} = {value}")
            inner.bound[new[0]] = new[1]
        if self.chance(3):
            inner.parts.append(self.test(inner))
        if self.depth < 2 and self.chance(5):
            inner.parts.append(self.negation(lower, inner))
        if self.depth < 2 and self.chance(6):
            inner.parts.append(self.disjunction(reads, lower, inner))
        return ", ".join(inner.parts)

    def disjunction(self, reads: dict[str, Columns], lower: dict[str, Columns], body: _Body) -> str:
        """A block that only tests, or binds one new variable, which `body` then has."""
        kind = self.pick(["int", "float", "string", "node"])
        new = (self.new(kind), kind) if self.chance(2) else None
        self.depth += 1
        ways = [self.alternative(reads, lower, body, new) for _ in range(2 if self.depth > 1 else 3)]
        self.depth -= 1
        if new is not None:
            body.bound[new[0]] = new[1]
        return f"{{ {' or '.join(ways)} }}"

    def aggregate(self, relations: dict[str, Columns], body: _Body) -> tuple[str, str]:
        """A literal that binds the value of an aggregate to a new variable, and its type."""
        inner = self.body(relations, most=2, tag="g", outer={**body.outer, **body.bound})
        if self.chance(3):
            inner.parts.append(self.disjunction(relations, relations, inner))
        if self.chance(3):
            inner.parts.append(self.test(inner))
        kinds = sorted({kind for kind in inner.bound.values() if kind in ("int", "float", "string")})
        kind = self.pick(
            ["count", *(["distinct", "sum", "min", "max", "mean", "arg_min", "arg_max"] if kinds else [])]
        )
        if kind == "count":
            over, result = "", "int"
        elif kind in ("distinct", "arg_min", "arg_max"):
            value = self.pick(sorted(inner.bound))
            key = "" if kind == "distinct" else f", {self.number(inner, self.pick(['int', 'float']))}"
            over, result = f"({value}{key})", "int" if kind == "distinct" else inner.bound[value]
            kind = "count" if kind == "distinct" else kind
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
        """Add tests, negations, disjunctions and aggregates; `grows` allows new values."""
        if self.chance(6):
            body.parts.append(self.disjunction(lower, lower, body))
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
        best = {
            name: self.pick(["min", "max"])
            for name, columns in made.items()
            if columns[-1][1] in ("int", "float") and self.chance(2)
        }
        for name, columns in made.items():
            typed = [f"{column}: {kind}" for column, kind in columns]
            if name in best:
                typed[-1] = f"{columns[-1][0]}: {best[name]} {columns[-1][1]}"
            lines.append(f"relation {name}({', '.join(typed)})")
        plain = {name: columns for name, columns in made.items() if name not in best}
        for name, columns in made.items():
            lines.append(self._rule(name, columns, known, known))
            more = range(self.draw(st.integers(0, 2)))
            lines += [self._rule(name, columns, {**known, **plain}, known) for _ in more]
            for other, direction in best.items():
                if self.chance(2):
                    lines.append(self._best_rule(name, columns, other, made[other], direction, best, known))
        return lines, made

    def _best_rule(
        self,
        name: str,
        columns: Columns,
        other: str,
        read: Columns,
        direction: str,
        best: dict[str, str],
        lower: dict[str, Columns],
    ) -> str:
        """A rule of `name` that reads the best value of `other` in its own recursion; values are bounded."""
        *keys, (value_column, kind) = read
        body = self.body(lower, most=2)
        arguments = [f"{column}: {self.term(key, body)}" for column, key in keys]
        value = self.new(kind)
        body.parts.insert(0, f"{other}({', '.join([*arguments, f'{value_column}: {value}'])})")
        op = "<" if direction == "min" else ">"
        if self.chance(3):
            body.parts.append(f"{value} {op}{self.pick(['', '='])} {self.term(kind, body)}")
        if self.chance(4):
            body.parts.append(self.negation(lower, body))
        last = self.term(columns[-1][1], body)
        if best.get(name) == direction and columns[-1][1] == kind:
            bound = f"{-6 if direction == 'min' else 6}{'.0' if kind == 'float' else ''}"
            moved = f"{value} {self.pick(['+', '-'])} {self.term(kind, body)}"
            limit = "max_of" if direction == "min" else "min_of"
            last = self.pick([value, f"{limit}({moved}, {bound})", f"{limit}({bound}, {value})"])
        head = [f"{column}: {self.term(key, body)}" for column, key in columns[:-1]]
        return f"{name}({', '.join([*head, f'{columns[-1][0]}: {last}'])}) :- {', '.join(body.parts)}."

    def _rule(self, name: str, columns: Columns, reads: dict[str, Columns], lower: dict[str, Columns]) -> str:
        body = self.body(reads)
        if self.chance(5):
            body.parts.append(self.disjunction(reads, lower, body))
        recursive = any(name not in lower for name in _RELATION.findall(" ".join(body.parts)))
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
