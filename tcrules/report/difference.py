"""How two runs differ, for readers and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from tcrules.report.terminal import counted, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from tcrules.diffing import Comparison, Difference, Example
    from tcrules.report.json_report import Json
    from tcrules.report.model import Location

#: Raised when a field changes its meaning or goes away.
VERSION = 1


def write(found: Comparison, console: Console, *, verbose: bool = False) -> None:
    """Print a comparison: the first divergence, then relation by relation; `verbose` shows more examples of each."""
    if not found.differences:
        where = f"{plain(found.left)} and {plain(found.right)}"
        console.print(
            Text.assemble(("EQUAL", "bold green"), f"  {where} differ in nothing that was recorded")
        )
    else:
        console.print(Text.assemble(("DIFFERENT", "bold yellow"), f"  {_headline(found)}"))
    before: int | None = -1
    for difference in found.differences:
        if difference.first_step != before:
            before = difference.first_step
            when = "before training" if before is None else f"from step {before} on"
            console.print()
            console.print(Text(when, style="bold"))
        console.print(Text.assemble("  ", (difference.relation, "cyan"), f": {_extent(difference)}"))
        for example in difference.examples if verbose else difference.examples[:1]:
            for line in _lines(example):
                console.print(Text(f"     {plain(line)}"))
    if found.differences:
        console.print()
    console.print(Text(f"equal: {', '.join(found.equal) or 'nothing'}", style="dim"))
    for relation, why in found.uncompared:
        console.print(Text(f"not compared: {relation}: {plain(why)}", style="dim"))


def as_data(found: Comparison) -> dict[str, Json]:
    """The comparison as plain data."""
    return {
        "schema_version": VERSION,
        "left": found.left,
        "right": found.right,
        "differences": [
            {
                "relation": one.relation,
                "first_step": one.first_step,
                "only_left": one.only_left,
                "only_right": one.only_right,
                "changed": one.changed,
                "compared": one.compared,
                "columns": list(one.columns),
                "examples": [_example(example) for example in one.examples],
            }
            for one in found.differences
        ],
        "divergence": found.divergence.relation if found.divergence else None,
        "equal": list(found.equal),
        "uncompared": [{"relation": relation, "why": why} for relation, why in found.uncompared],
    }


def _headline(found: Comparison) -> str:
    both, parted = f"{plain(found.left)} and {plain(found.right)}", found.divergence
    if parted is None:
        return f"{both} differ in {found.differences[0].relation}, which belongs to no step"
    return f"{both} part at step {parted.first_step}, in {parted.relation}"


def _extent(difference: Difference) -> str:
    parts = []
    if difference.changed:
        parts.append(
            f"{difference.changed} of {difference.compared} differ in {', '.join(difference.columns)}"
        )
    for number, side in ((difference.only_left, "left"), (difference.only_right, "right")):
        if number:
            parts.append(f"{counted(number, 'fact')} only on the {side}")
    return "; ".join(parts)


def _lines(example: Example) -> Iterator[str]:
    about = ", ".join(f"{name} {value}" for name, value in example.about if (name, value) != ("rank", "0"))
    left, right = example.left, example.right
    if left is None or right is None:
        side, place = ("right", example.places[1]) if left is None else ("left", example.places[0])
        yield f"{about}: only on the {side}{_at(place)}"
        return
    told = ", ".join(
        f"{name} {value} | {other}" for (name, value), (_, other) in zip(left, right, strict=True)
    )
    yield f"{about}: {told}{_at(example.places[0] or example.places[1])}"


def _at(place: Location | None) -> str:
    return f"  {place}" if place else ""


def _example(example: Example) -> dict[str, Json]:
    sides: dict[str, Json] = {
        name: None if side is None else dict(side)
        for name, side in (("left", example.left), ("right", example.right))
    }
    places: dict[str, Json] = {
        f"{name}_location": {"file": place.file, "line": place.line} if place else None
        for name, place in zip(("left", "right"), example.places, strict=True)
    }
    return {"about": dict(example.about), **sides, **places}
