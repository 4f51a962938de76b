"""Where an event that is missing should have been: after which call and before which, and what was there instead.

The place follows from what the expectation says of the event's moment: comparisons with known moments, its step,
or the call that it should have been part of.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from tcrules.engine.ir import Atom, Compare, Const, Op, Var
from tcrules.engine.values import evaluate
from tcrules.report.graph import Evidence, nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcrules.engine.ir import Body, Expr, Value
    from tcrules.engine.why_not import WhyNot
    from tcrules.report.graph import GraphBuilder

#: Steps in which calls are looked for, calls of a step that are read, and calls that are told as being there instead.
MOST_STEPS, MOST_CALLS, MOST_INSTEAD = 4, 20_000, 4
_LESS, _MORE = frozenset({"<", "<="}), frozenset({">", ">="})


@dataclass(frozen=True, slots=True)
class Window:
    """When an event should have been: at a moment from `after` to `before`; None where that side is open.

    `step` is its step where that is known, `inside` the call that it should have been part of.
    """

    rank: int
    after: int | None
    before: int | None
    step: int | None = None
    inside: int | None = None


class _Call(NamedTuple):
    call: int
    parent: int
    begin: int
    end: int
    evidence: Evidence


def window_of(reason: WhyNot, body: Body) -> Window | None:
    """When the event that a body lacks should have been; None where it lacks no event, or says nothing of when."""
    event = _event(reason)
    if event is None:
        return None
    before = _outer(reason, event)
    known = _known(event, before)
    rank = known.get("rank", before.get("R", 0))
    times = {
        term.name
        for column, term in zip(event.predicate.columns, event.arguments, strict=True)
        if column.type.name == "time" and isinstance(term, Var)
    }
    low, high = _bounds(body, times, before)
    step, call = known.get("step"), known.get("call")
    if low is None and high is None and step is None and not call:
        return None
    return Window(
        int(rank), low, high, None if step is None else int(step), int(call) if call else None
    )  # fmt: skip


def add_place(builder: GraphBuilder, window: Window | None, node: str) -> None:
    """Add the calls between which the missing event of a node should have been, and those that were there.

    Where its step is not known, they are looked for in the steps that the graph speaks of.
    """
    if window is None:
        return
    if window.inside is not None:
        builder.add_call(window.inside, node, "inside")
        return
    told = {one.step for one in nodes_of(builder.graph) if one.rank == window.rank and one.step is not None}
    steps = told if window.step is None else {window.step}
    around = sorted({near for step in steps for near in (step - 1, step) if near >= 0})
    calls = sorted(_calls(builder, window.rank, around[-MOST_STEPS:]), key=lambda one: one.begin)
    first = _last([one for one in calls if window.after is not None and one.begin <= window.after])
    last = _next(calls, window)
    for call, kind in ((first, "should follow"), (last, "should precede")):
        if call is not None:
            builder.add_call(call.call, node, kind)
    for call in _instead(builder, calls, window, {one for one in (first, last) if one is not None}):
        builder.add_call(call.call, node, "instead")


# ------------------------------------------------------------------------------------------------ when


def _event(reason: WhyNot) -> Atom | None:
    """The atom that stands for the missing event, or for the one that was found at another moment."""
    if isinstance(reason.missing, Atom):
        kinds = {column.type.name for column in reason.missing.predicate.columns}
        return reason.missing if reason.missing.predicate.observed and kinds & {"time", "step"} else None
    if not isinstance(reason.missing, Compare):
        return None
    compared = set(_names(reason.missing.left)) | set(_names(reason.missing.right))
    for atom, _ in reason.facts:
        for column, term in zip(atom.predicate.columns, atom.arguments, strict=True):
            if column.type.name == "time" and isinstance(term, Var) and term.name in compared:
                return atom
    return None


def _outer(reason: WhyNot, event: Atom) -> dict[str, Value]:
    """What is known without the event: of one that was found, its moment is not what was expected."""
    own = {
        term.name
        for column, term in zip(event.predicate.columns, event.arguments, strict=True)
        if isinstance(term, Var) and column.type.name in ("time", "call")
    }
    found = any(atom is event for atom, _ in reason.facts)
    return {name: value for name, value in reason.binding if not (found and name in own)}


def _known(atom: Atom, binding: Mapping[str, Value]) -> dict[str, Value]:
    """Columns of an atom whose values are known."""
    found: dict[str, Value] = {}
    for column, term in zip(atom.predicate.columns, atom.arguments, strict=True):
        if isinstance(term, Const):
            found[column.name] = term.value
        elif isinstance(term, Var) and term.name in binding:
            found[column.name] = binding[term.name]
    return found


def _bounds(body: Body, times: set[str], known: Mapping[str, Value]) -> tuple[int | None, int | None]:
    """The latest moment after which, and the earliest before which, comparisons put the event."""
    lows, highs = [int(known[name]) for name in times & known.keys()], []
    highs += lows
    for literal in body:
        if not isinstance(literal, Compare):
            continue
        for mine, other, less, more in (
            (literal.left, literal.right, _LESS, _MORE),
            (literal.right, literal.left, _MORE, _LESS),
        ):
            if not isinstance(mine, Var) or mine.name not in times or set(_names(other)) & times:
                continue
            value = evaluate(other, known)
            if value is not None and literal.op in less:
                highs.append(int(value))
            elif value is not None and literal.op in more:
                lows.append(int(value))
    return max(lows, default=None), min(highs, default=None)


def _names(expression: Expr) -> Iterator[str]:
    if isinstance(expression, Var):
        yield expression.name
    elif isinstance(expression, Op):
        for argument in expression.arguments:
            yield from _names(argument)


# ------------------------------------------------------------------------------------------------ where


def _calls(builder: GraphBuilder, rank: int, steps: Iterable[int]) -> Iterator[_Call]:
    predicate = builder.program.predicates.get("call")
    if predicate is None:
        return
    place = {column.name: number for number, column in enumerate(predicate.columns)}
    for step in steps:
        found = builder.source.lookup(predicate, {place["rank"]: rank, place["step"]: step})
        for fact in islice(found, MOST_CALLS):
            call, parent, begin, end = (
                int(fact.values[place[name]]) for name in ("call", "parent", "begin", "end")
            )
            yield _Call(call, parent, begin, end, Evidence("call", fact.id))


def _last(calls: list[_Call]) -> _Call | None:
    return calls[-1] if calls else None


def _next(calls: list[_Call], window: Window) -> _Call | None:
    """The call before whose end the event should have been: the one that goes on at that moment, or the next."""
    if window.before is None:
        return None
    after = -1 if window.after is None else window.after
    going_on = [one for one in calls if after < one.begin <= window.before <= one.end]
    later = [one for one in calls if one.begin >= window.before]
    return _last(going_on) or (later[0] if later else None)


def _instead(builder: GraphBuilder, calls: list[_Call], window: Window, known: set[_Call]) -> list[_Call]:
    """Outermost calls within the window, those next to its ends where they are many.

    Where nothing but the step is known, all of its calls would be: then facts that come near tell what was there.
    """
    if window.after is None and window.before is None:
        return []
    low, high = _limits(builder, window)
    within = [one for one in calls if low < one.begin and one.end < high and one not in known]
    ids = {one.call for one in (*within, *known)}
    found = [one for one in within if one.parent not in ids]
    first = 0 if window.after is None else MOST_INSTEAD if window.before is None else MOST_INSTEAD // 2
    return (
        found if len(found) <= MOST_INSTEAD else [*found[:first], *found[len(found) - MOST_INSTEAD + first :]]
    )


def _limits(builder: GraphBuilder, window: Window) -> tuple[float, float]:
    """The window, closed by its step on a side that is open; empty where it stays open."""
    low, high = window.after, window.before
    if window.step is not None and (low is None or high is None):
        predicate = builder.program.predicates["step"]
        for fact in builder.source.lookup(predicate, {0: window.rank, 1: window.step}):
            _, _, begin, end = fact.values
            low, high = int(begin) - 1 if low is None else low, int(end) + 1 if high is None else high
    return (low, high) if low is not None and high is not None else (0, 0)
