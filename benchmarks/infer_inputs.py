"""Runs to learn from, as large as is wanted: the facts of a training loop in the proportions of recorded runs.

A step has 12 calls (one forward with three calls in it, a loss, a backward, two optimizers, clipping, a scheduler)
and 24 parameters: about 11 facts for each call, all relations together; recorded runs of small models have 13 to 21.
Relations that are looked at now and then only have their gaps, as recorded ones do.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

CALLS_PER_STEP = 12
STEPS_PER_EPOCH = 500
#: A step in which everything is looked at.
LOOKED = "(s < 3 OR s % 16 = 0)"
SAMPLED = ("module_call", "dropout_call", "loss_call", "rng", "gradient_point", "optimizer_slot")
#: Calls of a step: place, API, object, place of the parent, begin and end within the step's 64 events.
CALLS = [
    (1, "torch.optim.Optimizer.zero_grad", "SGD#0", 0, 2, 3),
    (2, "torch.optim.Optimizer.zero_grad", "AdamW#0", 0, 4, 5),
    (3, "torch.nn.Module.forward", "Net", 0, 6, 20),
    (4, "torch.nn.functional.linear", "", 3, 8, 9),
    (5, "torch.nn.functional.dropout", "", 3, 10, 11),
    (6, "torch.nn.functional.layer_norm", "", 3, 12, 13),
    (7, "torch.nn.functional.cross_entropy", "", 0, 22, 23),
    (8, "torch.Tensor.backward", "", 0, 24, 40),
    (9, "torch.nn.utils.clip_grad_norm_", "", 0, 42, 43),
    (10, "torch.optim.Optimizer.step", "SGD#0", 0, 44, 48),
    (11, "torch.optim.Optimizer.step", "AdamW#0", 0, 50, 54),
    (12, "torch.optim.lr_scheduler.LRScheduler.step", "StepLR#0", 0, 56, 57),
]
#: Tables that the queries of the relations read.
TABLES = """
CREATE TABLE steps AS SELECT n AS s, n * 64 AS t, n * 12 AS c FROM range($steps) AS numbers(n);
CREATE TABLE looked AS SELECT * FROM steps WHERE """ + LOOKED + """;
CREATE TABLE params AS SELECT 'Net.' || CASE WHEN n < 16 THEN 'body.' ELSE 'head.' END || n // 2
    || CASE WHEN n % 2 = 0 THEN '.weight' ELSE '.bias' END AS p, CASE WHEN n < 16 THEN 'SGD#0' ELSE 'AdamW#0' END AS o,
    CASE WHEN n < 16 THEN 10 ELSE 11 END AS k FROM range(24) AS numbers(n);
CREATE TABLE optimizers AS SELECT * FROM (VALUES ('SGD#0', 10), ('AdamW#0', 11)) AS given(o, k);
CREATE MACRO bits(name, n) AS (hash(name, n, $seed) >> 2)::BIGINT;
"""  # fmt: skip
#: One query for each relation.
FACTS = Path(__file__).with_name("infer_facts.sql")
_NEUTRAL = {"int": "0", "float": "0.0", "bool": "false", "string": "''"}


def make_run(path: Path, calls: int, seed: int) -> Path:
    """A run folder with about so many call facts; made once."""
    import duckdb
    from tcrules.instrument.schema import RELATIONS, SCHEMA_VERSION

    if (path / "run.json").exists():
        return path
    (path / "facts").mkdir(parents=True, exist_ok=True)
    given = {
        "$steps": str(calls // CALLS_PER_STEP),
        "$seed": str(seed),
        "$epoch": str(STEPS_PER_EPOCH),
        "$sampled": str(list(SAMPLED)),
    }
    with duckdb.connect() as connection:
        listed = ", ".join(map(str, CALLS))
        connection.execute(
            f"CREATE TABLE calls AS SELECT * FROM (VALUES {listed}) AS given(k, api, object, parent, b, e)"
        )
        for statement in _filled(TABLES, given).split(";\n"):
            connection.execute(statement)
        for number, relation in enumerate(RELATIONS):
            _write(connection, relation, path / "facts", given, number * 10**10)
    trainer = {
        "role": "trainer",
        "rank": 0,
        "ended": True,
        "covers": [relation.name for relation in RELATIONS],
        "user": [],
    }
    manifest = {
        "format": "tcrules-run", "command": f"python train.py --seed {seed}", "schema": SCHEMA_VERSION,
        "started": float(seed), "ended": 2.0, "status": "finished", "exit_code": 0, "host": "bench", "pid": seed,
        "python": "3", "torch": "2.13", "sealed": True, "processes": [trainer], "notes": [],
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps(manifest))
    return path


def _queries() -> dict[str, str]:
    """The queries by relation: `-- relation`, then the query and a semicolon."""
    parts = re.findall(r"^-- (\w+)$\n(.+?);$", FACTS.read_text(), re.MULTILINE | re.DOTALL)
    return dict(parts)


def _write(
    connection: duckdb.DuckDBPyConnection, relation: object, folder: Path, given: dict[str, str], first: int
) -> None:
    from tcrules.engine.sql_values import SQL_TYPES
    from tcrules.instrument.schema import TYPES, Relation

    assert isinstance(relation, Relation)
    query = _filled(_queries().get(relation.name, "SELECT 0 AS nothing LIMIT 0"), given)
    told = [row[0] for row in connection.execute(f"DESCRIBE {query}").fetchall()]
    unknown = set(told) - set(relation.column_names()) - {"nothing"}
    assert not unknown, (relation.name, unknown)
    columns = [
        f"({_quoted(column.name) if column.name in told else _NEUTRAL[TYPES[column.type]]})"
        f"::{SQL_TYPES[TYPES[column.type]]} AS {_quoted(column.name)}"
        for column in relation.columns
    ]
    select = f"SELECT row_number() OVER () + {first} AS fact, {', '.join(columns)} FROM ({query})"
    connection.execute(f"COPY ({select}) TO '{folder / relation.name}.parquet' (FORMAT parquet)")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _filled(text: str, given: dict[str, str]) -> str:
    for name, value in given.items():
        text = text.replace(name, value)
    return text
