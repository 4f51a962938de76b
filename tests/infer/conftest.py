"""Synthetic runs: folders with the facts that a recording of a small training would have."""

from __future__ import annotations

import json
import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest
from tcrules.engine.sql_values import SQL_TYPES
from tcrules.instrument.schema import RELATIONS, SCHEMA_VERSION, TYPES
from tcrules.rules.infer import judging

Facts: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
MakeRun: TypeAlias = Callable[..., Path]

NEUTRAL: dict[str, object] = {"int": 0, "float": 0.0, "bool": False, "string": ""}


def write_run(
    path: Path,
    facts: Facts,
    command: str = "python train.py",
    status: str = "finished",
    **manifest_entries: object,
) -> Path:
    """A sealed run folder; columns that a fact leaves out have the neutral value of their type.

    Entries of the manifest are those of a run that went well, unless they are given.
    """
    (path / "facts").mkdir(parents=True)
    fact = 0
    with duckdb.connect() as connection:
        for relation in RELATIONS:
            columns = [(c.name, SQL_TYPES[TYPES[c.type]], NEUTRAL[TYPES[c.type]]) for c in relation.columns]
            declared = ", ".join(f'"{name}" {kind}' for name, kind, _ in columns)
            connection.execute(f'CREATE TABLE "{relation.name}" (fact BIGINT, {declared})')
            rows = []
            for given in facts.get(relation.name, ()):
                fact += 1
                assert set(given) <= set(relation.column_names()), (relation.name, given)
                rows.append([fact, *(given.get(name, neutral) for name, _, neutral in columns)])
            if rows:
                marks = ", ".join("?" * (len(columns) + 1))
                connection.executemany(f'INSERT INTO "{relation.name}" VALUES ({marks})', rows)
            connection.execute(f"COPY \"{relation.name}\" TO '{path / 'facts'}/{relation.name}.parquet'")
    trainer = {"role": "trainer", "rank": 0, "ended": True, "covers": [r.name for r in RELATIONS], "user": []}
    manifest = {
        "format": "tcrules-run", "command": command, "schema": SCHEMA_VERSION,
        "started": float(zlib.crc32(str(path).encode())), "ended": 2.0,
        "status": status,
        "exit_code": 0, "host": "h", "pid": 1, "python": "3", "torch": "2.9", "sealed": True, "processes": [trainer],
        "notes": [],
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps({**manifest, **manifest_entries}))
    return path


def training(
    seed: int,
    *,
    steps: int = 8,
    params: Sequence[str] = ("Net.h.0.weight", "Net.h.0.bias", "Net.h.1.weight", "Net.h.1.bias"),
    frozen: Sequence[str] = (),
    ranks: int = 1,
    split: Sequence[str] = (),
    window: int = 1,
    stuck: Sequence[str] = (),
    root: str = "Net",
) -> dict[str, list[dict[str, Any]]]:
    """Facts of a training loop: forward, `window` backward passes, step, zero_grad."""
    out: dict[str, list[dict[str, Any]]] = defaultdict(list)
    rng = random.Random(seed)
    shared = {(p, s): rng.getrandbits(60) for p in params for s in range(steps + 1)}
    for rank in range(ranks):
        _rank(
            out,
            random.Random(1000 * seed + rank),
            rank,
            shared,
            steps,
            params,
            frozen,
            split,
            window,
            stuck,
            root,
        )
    return out


def _rank(
    out: dict[str, list[dict[str, Any]]],
    rng: random.Random,
    rank: int,
    shared: Mapping[tuple[str, int], int],
    steps: int,
    params: Sequence[str],
    frozen: Sequence[str],
    split: Sequence[str],
    window: int,
    stuck: Sequence[str],
    root: str,
) -> None:
    optimizer, at, call = "SGD#0", 0, 100_000 * rank
    own = {(p, s): rng.getrandbits(60) for p in params for s in range(steps + 1)}

    def value(param: str, step: int) -> int:
        step = 0 if param in frozen or param in stuck else step
        return own[param, step] if param in split else shared[param, step]

    out["module"].append({"rank": rank, "module": root, "class": root, "root": root, "kind": "other"})
    out["optimizer"].append({"rank": rank, "optimizer": optimizer, "class": "SGD"})
    for p in params:
        out["parameter"].append(
            {"rank": rank, "param": p, "root": root, "class": "Linear", "dtype": "float32", "owners": 1,
             "trainable": p not in frozen, "split": p in split}
        )  # fmt: skip
        out["member"].append({"rank": rank, "optimizer": optimizer, "param": p})
    for step in range(steps):
        for p in params:
            at += 1
            out["param_state"].append(
                {
                    "rank": rank,
                    "param": p,
                    "root": root,
                    "step": step,
                    "at": at,
                    "data": value(p, step),
                    "finite": True,
                }
            )
        for n in range(window):
            call, at = call + 2, at + 4
            out["forward"].append(
                {"rank": rank, "call": call, "module": root, "class": root, "step": step, "begin": at, "end": at + 1,
                 "training": True, "grad": True, "input": rng.getrandbits(60)}
            )  # fmt: skip
            out["backward"].append(
                {"rank": rank, "call": call + 1, "step": step, "begin": at + 2, "end": at + 3, "finite": True}
            )
            out["accumulate"] += [
                {"rank": rank, "call": call + 1, "param": p, "optimizer": optimizer, "nth": step, "step": step,
                 "at": at + 3, "onto": "none" if n == 0 else "nonzero"}
                for p in params if p not in frozen
            ]  # fmt: skip
        call, at = call + 2, at + 6
        out["optimizer_step"].append(
            {
                "rank": rank,
                "call": call,
                "optimizer": optimizer,
                "nth": step,
                "step": step,
                "begin": at,
                "end": at + 2,
            }
        )
        out["param_group"].append(
            {"rank": rank, "call": call, "optimizer": optimizer, "nth": step, "step": step, "lr": 0.1}
        )
        for p in params:
            kind = "none" if p in frozen else "nonzero"
            out["gradient"].append(
                {"rank": rank, "call": call, "optimizer": optimizer, "param": p, "step": step, "at": at, "class": kind,
                 "norm": 1.0, "data": shared[p, step], "trainable": p not in frozen}
            )  # fmt: skip
            out["update"].append(
                {"rank": rank, "call": call, "optimizer": optimizer, "param": p, "nth": step, "step": step,
                 "class": kind, "lr": 0.1, "before": value(p, step), "after": value(p, step + 1), "finite": True}
            )  # fmt: skip
        out["zero_grad"].append(
            {"rank": rank, "call": call + 1, "object": optimizer, "step": step, "at": at + 4}
        )
        call, at = call + 2, at + 5


@pytest.fixture(autouse=True)
def without_injected_faults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying rules on injected faults takes longer than all the rest; tests that are not about it go without."""
    if "mutation" not in request.node.module.__name__:
        monkeypatch.setattr(judging, "scored", lambda rules, _program, _facts, _options: (list(rules), []))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three healthy runs that tests only read; statistics are kept beside them after the first use."""
    base = tmp_path_factory.mktemp("reference")
    return [write_run(base / f"r{n}", training(n), f"python train.py --seed {n}") for n in (11, 12, 13)]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run(name, seed=3, …)` writes a run folder; keywords are those of `training`."""

    def make(name: str, *, command: str = "", status: str = "finished", **settings: Any) -> Path:
        seed = settings.setdefault("seed", len(name))
        return write_run(
            tmp_path / name, training(**settings), command or f"python train.py --seed {seed}", status
        )

    return make


@pytest.fixture
def write_facts(tmp_path: Path) -> Callable[[str, Facts], Path]:
    """Write given facts as a run folder."""
    return lambda name, facts: write_run(tmp_path / name, facts, f"python train.py --name {name}")
