"""Rules that can never fire, parts that can never hold, conditions that are always true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcrules.engine.alternatives import conjunctions
from tcrules.engine.analyse.lint.conflicts import COUNTS, always, conflict, follows, impossible
from tcrules.engine.ir import Atom, Bind, Compare, Const, Either, Group, Not, Rule
from tcrules.engine.show import show_literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from tcrules.engine.analyse.faults import Faults
    from tcrules.engine.analyse.lint.conflicts import Conflict
    from tcrules.engine.analyse.lint.settings import Settings
    from tcrules.engine.ir import Body, Invariant, Literal, Program, Template
    from tcrules.grammar.ast import Span


def dead_parts(program: Program, settings: Settings, faults: Faults) -> None:
    """Report TCR501 to TCR504 of all rules, invariants and templates."""
    statements: dict[Span, list[Rule]] = {}
    for stratum in program.strata:
        for rule in stratum.rules:
            statements.setdefault(rule.span, []).append(rule)
    empty = without_facts([rule for rules in statements.values() for rule in rules], settings)
    judge = _Judge(empty, settings, faults)
    for rules in statements.values():
        name = rules[0].head.predicate.name
        judge.ways([rule.body for rule in rules], f"this rule of `{name}` can never fire")
        for rule in rules:
            judge.inside(rule.body)
    for invariant in program.invariants:
        judge.invariant(invariant)
    for template in program.templates:
        judge.invariant(template.invariant)
        judge.guard(template)


def without_facts(rules: Sequence[Rule], settings: Settings) -> set[str]:
    """The derived relations that never have a fact: no rule of theirs can fire, or only after itself."""
    derived = {rule.head.predicate.name for rule in rules}
    waiting: dict[int, set[str]] = {}
    readers: dict[str, list[int]] = {}
    ready = []
    for place, rule in enumerate(rules):
        if conflict(rule.body, frozenset(), settings.within) is not None:
            continue
        needed = derived.intersection(_needed(rule.body))
        for name in needed:
            readers.setdefault(name, []).append(place)
        if needed:
            waiting[place] = needed
        else:
            ready.append(place)
    found: set[str] = set()
    while ready:
        name = rules[ready.pop()].head.predicate.name
        if name in found:
            continue
        found.add(name)
        for place in readers.get(name, ()):
            waiting[place].discard(name)
            if not waiting[place]:
                ready.append(place)
    return derived - found


def _needed(body: Body) -> Iterator[str]:
    """Relations that must have facts for a body without disjunctions to hold."""
    for literal in body:
        if isinstance(literal, Atom):
            yield literal.predicate.name
        elif isinstance(literal, Group) and literal.kind not in COUNTS:
            yield from _needed(literal.body)


class _Judge:
    """Reports what it finds in bodies; `empty` relations never have facts."""

    def __init__(self, empty: Set[str], settings: Settings, faults: Faults) -> None:
        self.empty, self.settings, self.faults = empty, settings, faults

    def _conflict(self, body: Body) -> Conflict | None:
        return conflict(body, self.empty, self.settings.within)

    def ways(self, ways: Sequence[Body], message: str) -> list[Body]:
        """Report a statement of which no way can hold, and alternatives that are in none that can. Returns these."""
        judged = [(way, self._conflict(way)) for way in ways]
        alive = [way for way, found in judged if found is None]
        if not alive:
            for _, found in judged[:1]:
                assert found is not None
                self.report("TCR501", message, found, "mend it, or delete the rule")
            return alive
        live = {literal.span for way in alive for literal in way}
        for way, found in judged:
            if found is not None and any(literal.span not in live for literal in way):
                self.report("TCR502", "this alternative can never hold", found, "mend it, or delete it")
        return alive

    def invariant(self, invariant: Invariant) -> None:
        """Report what is dead in an invariant."""
        title = f"`{invariant.id}` can never fire"
        alive = self.ways(list(conjunctions(invariant.each)), title)
        self.inside(invariant.each)
        names = {variable.name for variable in invariant.variables}
        for alternative in invariant.expect:
            self.inside(alternative)
            found = [self._conflict((*way, *alternative)) for way in alive]
            if found and found[0] is not None and all(found):
                message = "this alternative of `expect` can never hold"
                self.report(
                    "TCR502", message, found[0], "mend it; to forbid what `each` says, write `forbid`"
                )
        held = [self._held(way, invariant, names) for way in alive]
        if held and held[0] is not None and None not in held:
            alternative, because = held[0]
            message = f"`{invariant.id}` can never be violated"
            more = [(literal.span, "because of this") for literal in because]
            text = "this holds wherever `each` does"
            self.faults.warning(
                "TCR501", message, alternative[0].span, text, "expect something else", more=more
            )

    def _held(
        self, way: Body, invariant: Invariant, names: Set[str]
    ) -> tuple[Body, tuple[Literal, ...]] | None:
        for alternative in invariant.expect:
            because = follows(alternative, way, names, self.settings.within) if alternative else None
            if because is not None:
                return alternative, because
        return None

    def guard(self, template: Template) -> None:
        """Report guards that have one value only."""
        for literal in template.invariant.each:
            for variable in template.guard:
                if _fixes(literal, variable):
                    name = variable.name
                    message = f"the guard `{name}` of `{template.invariant.id}` always has one value"
                    mend = f"leave `{name}` out of `guard`"
                    self.faults.warning("TCR504", message, literal.span, "it is fixed here", mend)

    def inside(self, body: Body) -> None:
        """Report comparisons that are always true, and nested bodies that can never hold."""
        for literal in body:
            match literal:
                case Compare():
                    if not self.settings.within(literal.span) and always(literal):
                        message = f"`{show_literal(literal)}` is always true"
                        self.faults.warning("TCR503", message, literal.span, mend=_mend(literal, "delete it"))
                case Not(body=inner):
                    self._nested(literal, inner, "what is negated here can never hold")
                case Group(kind=kind, body=inner):
                    if kind in COUNTS:
                        self._nested(
                            literal, inner, f"this `{kind.replace('distinct', 'count')}` is always 0"
                        )
                    self.inside(inner)
                case Either(alternatives):
                    for alternative in alternatives:
                        self.inside(alternative)
                case _:
                    pass

    def _nested(self, literal: Literal, inner: Body, message: str) -> None:
        found = impossible(inner, self.empty, self.settings.within)
        if found is not None:
            self.report("TCR502", message, found, "mend it, or delete it")
        if isinstance(literal, Not):
            self.inside(inner)

    def report(self, code: str, message: str, found: Conflict, mend: str) -> None:
        """Add a conflict: at its last literal, with labels at the others."""
        *others, last = sorted(dict.fromkeys(literal.span for literal in found.literals), key=_place)
        more = [(span, "") for span in others]
        self.faults.warning(code, message, last, found.why, _mend(found.literals[0], mend), more=more)


def _place(span: Span) -> tuple[int, int]:
    return span.start, span.end


def _fixes(literal: Literal, variable: object) -> bool:
    if isinstance(literal, Bind):
        return literal.variable == variable and isinstance(literal.value, Const)
    if isinstance(literal, Compare) and literal.op == "=":
        sides = (literal.left, literal.right)
        return variable in sides and any(isinstance(side, Const) for side in sides)
    return False


def _mend(literal: Literal, otherwise: str) -> str:
    """How to mend a comparison of a value with itself: often it asks for NaN as other languages do."""
    if isinstance(literal, Compare) and literal.left == literal.right and literal.left.type.base == "float":
        return "NaN equals itself; `is_nan(X)` asks for it"
    return otherwise
