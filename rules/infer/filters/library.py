"""A learned rule that the shipped library has already would report everything twice."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tcrules.engine.analyse.lint.same import Form, definitions, invariant_form
from tcrules.engine.reads import dependencies
from tcrules.rules.infer.filters.parting import parted
from tcrules.rules.infer.model import Dropped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.engine.ir import Invariant, Program
    from tcrules.rules.infer.model import Learned


def repeating(rules: Sequence[Learned], program: Program) -> tuple[list[Learned], list[Dropped]]:
    """Without the rules that the library has; the invariants of `program` are the rules in the same order."""
    shipped, meanings = _library(), definitions(program)
    dropped = {}
    for place, invariant in enumerate(program.invariants):
        known = shipped.get(_meaning(invariant, program, meanings))
        if known is not None:
            reason = f"the shipped library says it already: {known}"
            dropped[place] = Dropped(rules[place].label(), reason, "redundancy", "--without redundancy")
    return parted(rules, dropped)


@cache
def _library() -> Mapping[Form, str]:
    """The shipped rules by what they mean."""
    from tcrules.rules.loading import load_rules

    program = load_rules().program
    meanings = definitions(program)
    return {_meaning(one, program, meanings): one.id for one in program.invariants}


def _meaning(invariant: Invariant, program: Program, meanings: Mapping[str, Form]) -> Form:
    """What a rule checks, together with the derived relations that it reads."""
    read = dependencies(program, [invariant.each, *invariant.expect])
    return invariant_form(invariant), tuple(
        (name, meanings[name]) for name in sorted(read) if name in meanings
    )
