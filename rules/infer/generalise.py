"""Constants to patterns: what holds for each of several names is one rule about a pattern of names."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from tcrules.rules.infer.model import Counts, Evidence, Filling, Learned, Pattern, Shape, Values
from tcrules.rules.infer.names import EVERY, cover

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Names that a model gives to its parts: generalised over siblings.
PART_NAMES = frozenset({"param", "buffer", "module"})
#: Names that mean something only within one program.
NAMES = PART_NAMES | {"optimizer", "scheduler", "scaler", "loader", "group"}
#: Stands for any name in statistics without names.
ANY = EVERY


def generalise(shape: Shape, rules: Sequence[Learned], known: Iterable[Values]) -> list[Learned]:
    """Rules that differ by one part name alone become rules about patterns.

    A pattern never matches a name in `known` (bound metavalues with instances) for which there is no such rule, so
    the rule about the pattern holds wherever the rules that it replaces held.
    """
    places = [place for place, (_, kind) in enumerate(shape.bound) if kind in PART_NAMES]
    found = list(rules)
    bindings = list(known)
    for place in places:
        found = _over(place, found, bindings)
    return found


def _over(place: int, rules: Sequence[Learned], known: Sequence[Values]) -> list[Learned]:
    groups: dict[str, list[Learned]] = defaultdict(list)
    for rule in rules:
        rest = (*rule.filling[:place], *rule.filling[place + 1 :])
        groups[repr((rest, rule.guard))].append(rule)
    out: list[Learned] = []
    for group in groups.values():
        named = {
            str(rule.filling[place][1]): rule for rule in group if isinstance(rule.filling[place][1], str)
        }
        out += [rule for rule in group if not isinstance(rule.filling[place][1], str)]
        bad = {str(values[place]) for values in known} - set(named)
        out += [
            _joined(place, pattern, [named[n] for n in names]) for pattern, names in cover(named, bad).items()
        ]
    return out


def _joined(place: int, pattern: str, rules: Sequence[Learned]) -> Learned:
    if len(rules) == 1:
        return rules[0]
    first = rules[0]
    filling: list[tuple[str, Filling]] = list(first.filling)
    filling[place] = (filling[place][0], Pattern(pattern))
    found = [rule.evidence for rule in rules]
    evidence = Evidence(
        max(one.runs for one in found), sum(one.triggers for one in found), sum(one.bindings for one in found)
    )
    return replace(first, filling=tuple(filling), evidence=evidence)


def without_names(shape: Shape, counts: Counts) -> Counts:
    """Statistics over all names together: what several programs can have in common."""
    keep = [kind not in NAMES for _, kind in shape.bound]

    def nameless(bound: Values) -> Values:
        return tuple(value if kept else ANY for value, kept in zip(bound, keep, strict=True))

    triggers: dict[tuple[Values, Values], int] = defaultdict(int)
    held: dict[tuple[Values, Values, Values], int] = defaultdict(int)
    for (bound, guard), number in counts.triggers.items():
        triggers[nameless(bound), guard] += number
    for (bound, guard, free), number in counts.held.items():
        held[nameless(bound), guard, free] += number
    return Counts(dict(triggers), dict(held))


def for_any_name(shape: Shape, rules: Iterable[Learned]) -> list[Learned]:
    """Rules learned from statistics without names, as rules about every name."""
    named = {name for name, kind in shape.bound if kind in NAMES}
    return [
        replace(rule, filling=tuple((n, Pattern(EVERY) if n in named else f) for n, f in rule.filling))
        for rule in rules
    ]


def has_free_name(shape: Shape) -> bool:
    """The expectation names something of one program (the optimizer that owns a parameter)."""
    return any(kind in NAMES for _, kind in shape.free)


def fillings(rule: Learned) -> Mapping[str, Filling]:
    """The filling by name of the metavariable."""
    return dict(rule.filling)
