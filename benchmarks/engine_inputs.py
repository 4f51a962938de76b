"""The nine inputs of `engine.py`: made from fixed seeds, written as tab-separated files, one per relation.

    python benchmarks/engine_inputs.py FOLDER        # writes FOLDER/<task>/<relation>.facts

`RandomState` is used because NumPy promises that its numbers never change.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Facts by relation: one row each.
Facts = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Task:
    """One program on one input.

    Attributes:
        program: name of the program of every engine, `programs/<program>.*`.
        make: the input.
        expected: number of facts of each derived relation.
        reference: CPU seconds of Soufflé's interpreter on a like machine.
    """

    name: str
    program: str
    make: Callable[[], Facts]
    expected: Mapping[str, int]
    reference: float


def write(task: Task, folder: Path) -> None:
    """The input of a task as `<relation>.facts`, tab-separated without a header."""
    folder.mkdir(parents=True, exist_ok=True)
    for relation, rows in task.make().items():
        text = "\n".join("\t".join(map(str, row)) for row in rows.tolist())
        (folder / f"{relation}.facts").write_text(text + "\n", encoding="ascii")


def _chain() -> Facts:
    return {"edge": _pairs(np.arange(999), np.arange(1, 1000))}


def _random_graph() -> Facts:
    return {"edge": np.unique(np.random.RandomState(52).randint(0, 2000, (4000, 2)), axis=0)}


def _grid(side: int = 50) -> Facts:
    place = np.arange(side * side).reshape(side, side)
    right = _pairs(place[:, :-1].ravel(), place[:, 1:].ravel())
    down = _pairs(place[:-1].ravel(), place[1:].ravel())
    return {"edge": np.concatenate([right, down])}


def _tree(depth: int = 10) -> Facts:
    child = np.arange(2, 2 ** (depth + 1))
    return {"parent": _pairs(child, child // 2)}


def _points_to(functions: int = 12_000, size: int = 20) -> Facts:
    """C-like code: `new` p = &x, `assign` p = q, `load` p = *q, `store` *p = q; each stays inside of a function."""
    random, variables = np.random.RandomState(1), functions * size
    own = np.arange(variables)[random.random_sample(variables) < 0.4]
    shares = {"assign": 0.6, "load": 0.4, "store": 0.3}
    inside = {name: _inside(random, functions, size, int(variables * part)) for name, part in shares.items()}
    return {"new": _pairs(own, own), **inside}


def _cspa(functions: int = 10_000, size: int = 18) -> Facts:
    random = np.random.RandomState(1)
    return {
        "assign": _inside(random, functions, size, 62_000),
        "dereference": _inside(random, functions, size, 121_000),
    }


def _undirected(nodes: int = 200_000, edges: int = 600_000) -> Facts:
    random = np.random.RandomState(1)
    return {"node": np.arange(nodes).reshape(-1, 1), "edge": random.randint(0, nodes, (edges, 2))}


def _weighted(nodes: int = 100_000, edges: int = 1_000_000) -> Facts:
    random = np.random.RandomState(1)
    ends, weights = random.randint(0, nodes, (edges, 2)), random.randint(1, 101, (edges, 1))
    return {"edge": np.concatenate([ends, weights], axis=1)}


def _sparse(nodes: int = 400, edges: int = 600) -> Facts:
    random = np.random.RandomState(1)
    return {"node": np.arange(nodes).reshape(-1, 1), "edge": random.randint(0, nodes, (edges, 2))}


def _pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([left, right], axis=1)


def _inside(random: np.random.RandomState, groups: int, size: int, count: int) -> np.ndarray:
    """Distinct pairs whose members are of one group."""
    first = random.randint(0, groups, count) * size
    return np.unique(
        _pairs(first + random.randint(0, size, count), first + random.randint(0, size, count)), axis=0
    )


TASKS = (
    Task("chain", "closure", _chain, {"path": 499_500}, 0.19),
    Task("random", "closure", _random_graph, {"path": 2_577_182}, 1.6),
    Task("grid", "closure", _grid, {"path": 1_623_125}, 1.1),
    Task("generation", "generation", _tree, {"same": 1_398_100}, 0.28),
    Task("points-to", "points-to", _points_to, {"points_to": 651_311}, 1.0),
    Task(
        "cspa",
        "cspa",
        _cspa,
        {"value_flow": 293_969, "value_alias": 747_733, "memory_alias": 359_750},
        4.8,
    ),
    Task("components", "components", _undirected, {"component": 200_000, "representative": 460}, 4.0),
    Task("shortest", "shortest", _weighted, {"distance": 99_993, "even": 49_809}, 3.3),
    Task(
        "unreachable",
        "unreachable",
        _sparse,
        {"path": 60_854, "unreachable": 99_146, "lonely": 400},
        0.17,
    ),
)

if __name__ == "__main__":
    for each in TASKS:
        write(each, Path(sys.argv[1]) / each.name)
