"""Drawings of the page as SVG: a timeline of violations, lines of quantities. Colours come from the page's style."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tcrules.report.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcrules.report.page.series import Series
    from tcrules.report.stories import Story

WIDTH, LEFT, RIGHT = 900, 250, 12
ROW, HEIGHT, TOP, BOTTOM = 18, 130, 8, 20
#: Space for the title of a plot.
TITLE = 18
#: Ranks that the legend of a plot names.
MOST_NAMED = 4
#: Rows of the timeline.
MOST_ROWS = 60
_SLUG = 34


def timeline(stories: Sequence[Story], last_step: int, *, ranked: bool) -> str:
    """A row for each cause and rank, from its first step to its last; "" where no violation has a step.

    `ranked`: rows name their ranks, since there are several in the run.
    """
    rows = [(story, rank) for story in stories for rank in story.root.ranks or (0,)]
    rows = [(story, rank) for story, rank in rows if story.root.first_step is not None][:MOST_ROWS]
    if not rows:
        return ""
    last = max([last_step, *(story.root.last_step or 0 for story, _ in rows)])
    root = _canvas(TOP + len(rows) * ROW + BOTTOM, "timeline of violations by step and rank")
    for number, (story, rank) in enumerate(rows):
        violation, y = story.root, TOP + number * ROW
        name = f"{violation.id} {violation.rule}"
        on = f" · rank {rank}" if ranked else ""
        most = _SLUG - len(on)
        text = ElementTree.SubElement(root, "text", x="0", y=f"{y + 12}")
        text.text = plain((name if len(name) <= most else name[: most - 1] + "…") + on)
        first, end = violation.first_step or 0, violation.last_step or 0
        left, right = _x(first, last), _x(end, last)
        mark = {
            "x": f"{left - 2:.1f}",
            "y": f"{y + 3}",
            "width": f"{right - left + 4:.1f}",
            "height": "11",
            "rx": "2",
        }
        bar = ElementTree.SubElement(root, "rect", {**mark, "class": f"bar {violation.severity}"})
        ElementTree.SubElement(bar, "title").text = plain(f"{violation.message} (steps {first} to {end})")
    _axis(root, TOP + len(rows) * ROW, last)
    return _text(root)


def plot(series: Series) -> str:
    """Lines over steps, with the steps of violations marked."""
    points = [point for _, line in series.lines for point in line]
    last = max(max(step for step, _ in points), *series.steps, 1)
    low, high = min(value for _, value in points), max(value for _, value in points)
    logarithmic = low > 0 and high / low > 100
    top = TOP + TITLE
    root = _canvas(top + HEIGHT + BOTTOM, f"{series.title} by step")

    def place(step: int, value: float) -> tuple[str, str]:
        return f"{_x(step, last):.1f}", f"{top + HEIGHT * (1 - _share(value, low, high, logarithmic)):.1f}"

    for step in series.steps[:200]:
        x, _ = place(step, low)
        line = ElementTree.SubElement(
            root, "line", {"x1": x, "x2": x, "y1": f"{top}", "y2": f"{top + HEIGHT}"}
        )
        line.set("class", "marked")
        ElementTree.SubElement(line, "title").text = f"violated at step {step}"
    for number, (rank, values) in enumerate(series.lines):
        path = "L".join(" ".join(place(*point)) for point in values)
        drawn = ElementTree.SubElement(root, "path", {"d": f"M{path}", "class": f"line rank{number % 4}"})
        ElementTree.SubElement(drawn, "title").text = f"rank {rank}"
        if len(values) == 1:
            x, y = place(*values[0])
            ElementTree.SubElement(root, "circle", cx=x, cy=y, r="2.5")
    for value, height in ((high, top + 9), (low, top + HEIGHT)):
        label = ElementTree.SubElement(
            root, "text", {"x": f"{LEFT - 6}", "y": f"{height}", "text-anchor": "end"}
        )
        label.text = f"{value:.4g}"
    title = ElementTree.SubElement(root, "text", {"x": f"{LEFT}", "y": f"{TOP + 9}", "class": "title"})
    title.text = series.title + (" (log)" if logarithmic else "")
    _legend(root, series)
    _axis(root, top + HEIGHT, last)
    return _text(root)


def _legend(root: ElementTree.Element, series: Series) -> None:
    """What the lines are: ranks by colour where there are several, and the steps of violations."""
    names = [(f"rank {rank}", f"rank{number % 4}") for number, (rank, _) in enumerate(series.lines)][
        :MOST_NAMED
    ]
    told = [*(names if len(series.lines) > 1 else []), *([("┆ violated", "marked")] if series.steps else [])]
    line = ElementTree.SubElement(
        root, "text", {"x": f"{WIDTH - RIGHT}", "y": f"{TOP + 9}", "text-anchor": "end"}
    )
    for place, (name, kind) in enumerate(told):
        ElementTree.SubElement(line, "tspan", {"class": kind}).text = "\u2003" * (place > 0) + name


def _canvas(height: float, title: str) -> ElementTree.Element:
    root = ElementTree.Element("svg", viewBox=f"0 0 {WIDTH} {height}", role="img")
    root.set("class", "chart")
    ElementTree.SubElement(root, "title").text = title
    return root


def _axis(root: ElementTree.Element, y: float, last: int) -> None:
    ElementTree.SubElement(root, "line", x1=f"{LEFT}", x2=f"{WIDTH - RIGHT}", y1=f"{y}", y2=f"{y}")
    step = max(1, 10 ** math.floor(math.log10(max(last, 1))))
    ticks = list(range(0, last + 1, step if last / step > 3 else max(1, step // 5)))
    for tick in ticks[:20]:
        label = ElementTree.SubElement(root, "text", {"x": f"{_x(tick, last):.1f}", "y": f"{y + 14}"})
        label.set("text-anchor", "middle")
        label.text = str(tick) if tick else "step 0"


def _x(step: int, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)


def _share(value: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.5


def _text(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")
