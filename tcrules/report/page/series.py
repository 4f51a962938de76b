"""How the quantities that violated rules speak of went on over the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Relation -> what is plotted of it: its title, a column (None: how many facts), and how facts of a step become one.
QUANTITIES: dict[str, tuple[str, str | None, str]] = {
    "backward": ("loss", "loss", "avg"),
    "metric": ("metric", "value", "avg"),
    "accumulate": ("parameters that a backward reached", None, "count"),
    "gradient": ("norm of all gradients", "norm", "norm"),
    "gradient_point": ("norm of all gradients on their way", "norm", "norm"),
    "clip": ("norm before clipping", "norm", "max"),
    "scaler_scale": ("scale of the loss", "scale", "max"),
    "scaler_update": ("scale of the loss", "after", "max"),
    "param_group": ("learning rate", "lr", "max"),
    "update": ("learning rate", "lr", "max"),
    "scheduler_step": ("learning rate after the schedule", "after", "max"),
    "optimizer_step": ("steps of optimizers", None, "count"),
    "optimizer_state": ("step counter of the optimizer", "counter", "max"),
    "optimizer_slot": ("step counter of the optimizer", "counter", "max"),
    "dropout_call": ("calls of dropout", None, "count"),
    "collective": ("collectives", None, "count"),
    "zero_grad": ("clearings of gradients", None, "count"),
    "loss_call": ("losses", None, "count"),
    "forward": ("forwards of models", None, "count"),
    "batch": ("batches", None, "count"),
}
#: Points of a line; where there are more steps, several become one point.
MOST_POINTS = 400
_AGGREGATES = {"avg": "avg({})", "max": "max({})", "count": "count(*)", "norm": "sqrt(sum({} * {}))"}


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity by step, one line for each rank; `steps` are those of violations of rules that speak of it."""

    title: str
    relation: str
    lines: tuple[tuple[int, tuple[tuple[int, float], ...]], ...]
    steps: tuple[int, ...]


def read_series(facts: Path, wanted: Iterable[tuple[str, Iterable[int]]]) -> Iterator[Series]:
    """Series of relations, each with the steps to mark; what has none, or stays the same, is left out."""
    import duckdb

    told: set[str] = set()
    with duckdb.connect() as connection:
        for relation, steps in wanted:
            known = QUANTITIES.get(relation)
            file = facts / f"{relation}.parquet"
            if known is None or known[0] in told or not file.is_file():
                continue
            told.add(known[0])
            rows = connection.execute(_query(*known[1:]), [MOST_POINTS, str(file), str(file)]).fetchall()
            lines: dict[int, list[tuple[int, float]]] = {}
            for rank, step, value in rows:
                lines.setdefault(int(rank), []).append((int(step), float(value)))
            if len({value for line in lines.values() for _, value in line}) > 1:
                ranks = tuple((rank, tuple(points)) for rank, points in sorted(lines.items()))
                yield Series(known[0], relation, ranks, tuple(sorted(set(steps))))


def _query(column: str | None, aggregate: str) -> str:
    """Names come from `QUANTITIES` alone."""
    value = _AGGREGATES[aggregate].replace("{}", f'"{column}"')
    finite = "" if column is None else f'AND isfinite("{column}")'
    return f"""
        WITH width AS (SELECT greatest(1, ceil((max(step) + 1) / ?)::BIGINT) AS w FROM read_parquet(?)),
        steps AS (
            SELECT rank, step, {value} AS value FROM read_parquet(?) WHERE step >= 0 {finite} GROUP BY rank, step
        )
        SELECT rank, min(step), avg(value) FROM steps, width GROUP BY rank, step // w ORDER BY rank, 2
    """
