"""Which violations are causes and which are consequences.

Violations of one rule about connected objects (parameters of one model, say) are one *case*. One case may have caused
another if their objects are connected, it is not later, and the relation in which it shows flows into the relation in
which the other shows (`flow.py`). The roots are a small set of cases from which all others can have come: greedily,
the case from which most follow, then from which most of the rest follow. Of cases that explain equally much the first
counts: by step; within a step by the order in which a training iteration works; what is missing before what is wrong;
then the louder; then the one with fewer subjects. A note explains nothing that is louder, and a learned rule nothing
of the same step that a written one says: that tells what is usually wrong, the learned one what is unusual here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import networkx as nx

from tcrules.instrument.schema import BY_NAME
from tcrules.report.flow import acts_upon
from tcrules.report.model import LOUD, SEVERITIES, Cause, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcrules.engine.ir import Invariant

#: Types of values that name a thing in the program; violations that share one are connected.
OBJECT_TYPES = frozenset({"param", "buffer", "module", "optimizer", "scheduler", "scaler", "loader", "group"})


@dataclass(frozen=True, slots=True)
class Witness:
    """A violation with what decides about cause and consequence.

    `objects` are those that it names, `site` the relations in which it shows, `phase` their place in an iteration;
    `missing`: something that should have happened did not; `learned`: nobody wrote the rule.
    """

    violation: Violation
    objects: frozenset[str]
    phase: int
    site: frozenset[str] = frozenset()
    missing: bool = False
    learned: bool = False


@dataclass(frozen=True, slots=True)
class _Case:
    """Violations of one rule in one component of objects; `first` is the earliest."""

    members: tuple[Witness, ...]
    first: Witness
    objects: frozenset[str]
    component: int

    @property
    def loud(self) -> bool:
        return self.first.violation.severity in LOUD


def site(invariant: Invariant) -> frozenset[str]:
    """The relations in which a breach of a rule shows: the earliest of those whose facts were expected.

    A denial expects nothing; it shows in the last of its facts.

    >>> BY_NAME["batch"].phase < BY_NAME["forward"].phase < BY_NAME["update"].phase
    True
    """
    expected = [name for name in invariant.watched if name in BY_NAME]
    if expected:
        first = min(BY_NAME[name].phase for name in expected)
        return frozenset(name for name in expected if BY_NAME[name].phase == first)
    given = [name for name in invariant.needs if name in BY_NAME]
    last = max((BY_NAME[name].phase for name in given), default=0)
    return frozenset(name for name in given if BY_NAME[name].phase == last)


def phase(invariant: Invariant) -> int:
    """Place of a rule in a training iteration."""
    return max((BY_NAME[name].phase for name in site(invariant)), default=0)


def mark_roots(
    witnesses: Sequence[Witness], links: Iterable[tuple[str, str]], order: Mapping[str, int]
) -> list[Violation]:
    """Violations with `cluster`, `root` and `cause` set and ids V1, V2, …; roots first, then what follows from them.

    A cluster is a root with its consequences. `links` connect objects of the run; `order` gives each rule its
    position, so that ties are broken the same way in every report.
    """
    cases = _cases(witnesses, links, order)
    explained = _explained(cases)
    ranked: list[tuple[int, bool, Witness, Cause | None]] = []
    for cluster, (root, followers) in enumerate(_roots(cases, explained), 1):
        told = sorted(
            (cases[root], *(cases[one] for one in followers)), key=lambda case: _causality(case.first, order)
        )
        for case in told:
            for place, witness in enumerate(case.members):
                is_root = case is cases[root] and place == 0
                cause = _cause(cases, explained, root, followers) if is_root else None
                ranked.append((cluster, is_root, witness, cause))
    ranked.sort(key=lambda item: not item[1])
    return [
        replace(witness.violation, id=f"V{number}", root=root, cluster=cluster, cause=cause)
        for number, (cluster, root, witness, cause) in enumerate(ranked, 1)
    ]


# ------------------------------------------------------------------------------------------------ cases


def _cases(
    witnesses: Sequence[Witness], links: Iterable[tuple[str, str]], order: Mapping[str, int]
) -> list[_Case]:
    """Cases from first to last."""
    graph: nx.Graph[str | int] = nx.Graph()
    graph.add_edges_from(links)
    for index, witness in enumerate(witnesses):
        graph.add_node(index)
        graph.add_edges_from((index, name) for name in witness.objects)
    grouped: dict[tuple[int, str], list[Witness]] = defaultdict(list)
    for number, component in enumerate(nx.connected_components(graph)):
        for index in sorted(node for node in component if isinstance(node, int)):
            grouped[number, witnesses[index].violation.rule].append(witnesses[index])
    found = []
    for (number, _), members in grouped.items():
        members.sort(key=lambda witness: _causality(witness, order))
        objects = frozenset(name for witness in members for name in witness.objects)
        found.append(_Case(tuple(members), members[0], objects, number))
    return sorted(found, key=lambda case: _causality(case.first, order))


def _causality(witness: Witness, order: Mapping[str, int]) -> tuple[bool, int, int, bool, int, int, int, str]:
    violation = witness.violation
    return (
        # A note may be early but is no cause worth a headline where something louder is wrong.
        violation.severity not in LOUD,
        _first(violation),
        witness.phase,
        not witness.missing,
        SEVERITIES.index(violation.severity),
        len(violation.subjects),
        order.get(violation.rule, len(order)),
        violation.subjects[0] if violation.subjects else "",
    )


def _first(violation: Violation) -> int:
    """Breaches of structure have no step: they were there before training began."""
    return -1 if violation.first_step is None else violation.first_step


# ------------------------------------------------------------------------------------------------ roots


def _explained(cases: Sequence[_Case]) -> list[set[int]]:
    """For each case those that may have come from it, directly or through others."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(cases)))
    for cause, one in enumerate(cases):
        graph.add_edges_from((cause, effect) for effect, other in enumerate(cases) if _may_cause(one, other))
    return [set(nx.descendants(graph, case)) for case in range(len(cases))]


def _may_cause(one: _Case, other: _Case) -> bool:
    if one is other or one.component != other.component or (other.loud and not one.loud):
        return False
    either = _way(one, other) is not None or _way(other, one) is not None
    if one.loud and not other.loud:
        return either
    first, second = (_first(case.first.violation) for case in (one, other))
    if one.first.learned != other.first.learned and max(first, 0) == max(second, 0):
        return either and not one.first.learned
    if (first, one.first.phase) > (second, other.first.phase):
        return False
    return _way(one, other) is not None


def _way(one: _Case, other: _Case) -> tuple[str, ...] | None:
    return acts_upon(one.first.site, other.first.site)


def _roots(cases: Sequence[_Case], explained: Sequence[set[int]]) -> list[tuple[int, list[int]]]:
    """Roots with what each explains first; the loudest and earliest first."""
    left = set(range(len(cases)))
    chosen: list[tuple[int, list[int]]] = []
    while left:
        root = min(left, key=lambda case: (not cases[case].loud, -len(explained[case] & left), case))
        followers = sorted((explained[root] & left) - {root})
        left -= {root, *followers}
        chosen.append((root, followers))
    return sorted(chosen, key=lambda item: _urgency(cases[item[0]]))


def _urgency(case: _Case) -> tuple[int, int, int]:
    violation = case.first.violation
    return SEVERITIES.index(violation.severity), _first(violation), case.first.phase


def _cause(
    cases: Sequence[_Case], explained: Sequence[set[int]], root: int, followers: Sequence[int]
) -> Cause:
    """Why a case was chosen, and how sure that is: other candidates that explain as much make it less so."""
    rivals = [
        case
        for case in range(len(cases))
        if case != root and cases[case].loud and (explained[case] | {case}) >= {root, *followers}
    ]
    shared = all(cases[root].objects & cases[one].objects for one in followers)
    confidence = "low" if rivals else "high" if shared else "medium"
    ways = {_way(cases[root], cases[one]) for one in followers}
    longest = max((way for way in ways if way is not None), key=lambda way: (len(way), way), default=())
    return Cause(
        confidence, len(followers), longest, tuple(cases[one].first.violation.rule for one in rivals)
    )
