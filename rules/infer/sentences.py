"""Learned rules for people: their sentences, and the subjects that they are grouped by."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tcrules.rules.infer.instantiate import fill_text, show
from tcrules.rules.infer.model import Filling, Pattern
from tcrules.rules.infer.names import EVERY

if TYPE_CHECKING:
    from tcrules.engine.ir import Value
    from tcrules.rules.infer.model import Evidence, Learned, Shape

#: Types of metavariables that name a thing, in the order of the sections of a file, and how they are called.
THINGS = {
    "optimizer": "optimizer",
    "scheduler": "scheduler",
    "scaler": "scaler",
    "module": "module",
    "param": "parameter",
    "buffer": "buffer",
    "loader": "loader",
    "group": "process group",
    "api": "function",
}
_ASIDE = re.compile(r" \(\{\?([A-Z][A-Za-z0-9_]*)\}\)")


def sentence(text: str, rule: Learned, shape: Shape) -> str:
    """A line of a template's documentation with `{?M}` filled in: a pattern becomes "any parameter body.*"."""
    filling = dict(rule.filling)
    types = dict((*shape.bound, *shape.free))
    text = _ASIDE.sub(lambda found: "" if _is_every(filling.get(found[1])) else found[0], text)
    shown = {name: _words(given, types.get(name, "")) for name, given in filling.items()}
    filled = fill_text(text, shown)
    return filled[:1].upper() + filled[1:] if text.startswith("{?") and filled.startswith("any ") else filled


def subject(rule: Learned, shape: Shape) -> tuple[int, str]:
    """What a rule is about, to sort by and to read: the thing that it names first, or its kind."""
    types = dict((*shape.bound, *shape.free))
    things = list(THINGS)
    named = [(things.index(types[n]), given) for n, given in rule.filling if types.get(n) in THINGS]
    if not named:
        return len(things), "other rules"
    place, given = min(named, key=lambda item: item[0])
    word = THINGS[things[place]]
    return place, f"{word}s" if isinstance(given, Pattern) else f"{word} {show(given)}"


def why(evidence: Evidence) -> tuple[str, ...]:
    """Why a rule is believed: how often it held, how rules of its kind carried over, what it finds."""
    names = f", for {evidence.bindings} names" if evidence.bindings > 1 else ""
    runs = f"{evidence.runs} {'run' if evidence.runs == 1 else 'runs'}"
    programs = f" of {evidence.projects} programs" if evidence.projects > 1 else ""
    instances = "its only instance" if evidence.triggers == 1 else f"all {evidence.triggers:,} instances"
    lines = [f"why: it held for {instances} in {runs}{programs}{names}."]
    if evidence.left_out:
        what = "program" if evidence.projects > 1 else "run"
        failed = f"{evidence.left_out_failed:,}" if evidence.left_out_failed else "none"
        risk = f"{evidence.risk:.1%}" if evidence.risk >= 0.001 else "below 0.1%"
        learned = f"{evidence.left_out:,} such {'rule' if evidence.left_out == 1 else 'rules'}"
        lines.append(
            f"Of {learned} that were learned without one {what}, {failed} failed there (risk {risk})."
        )
    if evidence.mutations:
        lines.append(
            f"It finds {evidence.caught} of {evidence.mutations} faults that were injected where it looks."
        )
    return tuple(lines)


def _is_every(given: Filling | None) -> bool:
    return given == Pattern(EVERY)


def _words(given: Filling, kind: str) -> Value:
    word = THINGS.get(kind, "value")
    if _is_every(given):
        return f"any {word}"
    return f"any {word} {given.glob}" if isinstance(given, Pattern) else show(given)
