"""Runs to learn from, as large as is wanted: the facts of a training loop in the proportions of recorded runs.

A step has 12 calls (one forward with three calls in it, a loss, a backward, two optimizers, clipping, a scheduler)
and 24 parameters: about 11 facts for each call, all relations together; recorded runs of small models have 13 to 21.
Relations that are looked at now and then only have their gaps, as recorded ones do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

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
#: One query for each relation; a column that is left out has the neutral value of its type.
FACTS = {
    "run": "SELECT 'bench' AS run",
    "process": "SELECT 'trainer' AS role, 1 AS world_size",
    "config": "SELECT * FROM (VALUES ('seed', $seed::VARCHAR), ('steps', $steps::VARCHAR), ('lr', '0.' || $seed))"
    " AS given(key, value), (SELECT 'argv' AS source)",
    "module": "SELECT 'Net' AS module, 'Net' AS class, 'Net' AS root",
    "parameter": "SELECT p AS param, 'Net' AS root, 'Linear' AS class, 'float32' AS dtype, true AS trainable,"
    " 1 AS owners FROM params",
    "member": "SELECT o AS optimizer, p AS param FROM params",
    "optimizer": "SELECT o AS optimizer, o[:-3] AS class FROM optimizers",
    "scheduler": "SELECT 'StepLR#0' AS scheduler, 'StepLR' AS class, 'SGD#0' AS optimizer",
    "loader": "SELECT 'DataLoader#0' AS loader, true AS shuffle, 32 AS batch_size",
    "instrument_gap": "SELECT unnest($sampled) AS relation, 3 AS first_step, -1 AS last_step,"
    " 'looked at in the first steps and in every 16th only' AS why",
    "recorded_steps": "SELECT s AS first_step, s AS last_step, relation FROM looked,"
    " (SELECT unnest($sampled) AS relation) WHERE s > 2",
    "step": "SELECT s AS step, t AS \"begin\", t + 63 AS \"end\" FROM steps",
    "call": "SELECT c + k AS call, api, object, CASE WHEN parent = 0 THEN 0 ELSE c + parent END AS parent, s AS step,"
    " t + b AS \"begin\", t + e AS \"end\" FROM steps, calls",
    "location": "SELECT c + k AS call, '/home/me/train.py' AS file, 40 + k AS line, 'main' AS function"
    " FROM steps, calls",
    "batch": "SELECT 'DataLoader#0' AS loader, s // $epoch AS epoch, s % $epoch AS index, s AS step, t + 1 AS \"at\","
    " 32 AS size, bits('batch', s) AS data FROM steps",
    "batch_field": "SELECT 'DataLoader#0' AS loader, s // $epoch AS epoch, s % $epoch AS index, s AS step, t + 1 AS \"at\","
    " field, dtype, bits(field, s) AS data FROM steps, (VALUES ('0', 'float32'), ('1', 'int64')) AS given(field, dtype)",
    "zero_grad": "SELECT c + k AS call, object, s AS step, t + b AS \"at\", true AS set_to_none FROM steps, calls"
    " WHERE k < 3",
    "param_state": "SELECT p AS param, 'Net' AS root, s AS step, t AS \"at\", bits(p, s) AS data, true AS finite"
    " FROM steps, params",
    "forward": "SELECT c + 3 AS call, 'Net' AS module, 'Net' AS class, s AS step, t + 6 AS \"begin\", t + 20 AS \"end\","
    " true AS training, true AS grad, 'DataLoader#0' AS loader, bits('input', s) AS input FROM steps",
    "module_call": "SELECT c + 3 AS forward, 'Net.' || n AS module, 'Linear' AS class, s AS step, t + 7 AS \"at\","
    " true AS training, true AS grad, 'float32' AS input_dtype, 'float32' AS weight_dtype, 'float32' AS output_dtype"
    " FROM looked, range(12) AS layers(n)",
    "dropout_call": "SELECT c + 3 AS forward, 'Net.5' AS module, 'torch.nn.functional.dropout' AS api, s AS step,"
    " t + 10 AS \"at\", 0.1 AS p, true AS module_training, true AS root_training, true AS grad FROM looked",
    "rng": "SELECT c + 3 AS forward, s AS step, 'torch' AS source, bits('rng', s) AS before,"
    " bits('rng', s + 1) AS after FROM looked",
    "loss_call": "SELECT c + 7 AS call, 'torch.nn.functional.cross_entropy' AS api, s AS step, t + 22 AS \"at\", true AS grad,"
    " '32x10' AS input_shape, 'float32' AS input_dtype, -2.0 AS low, 3.0 AS high FROM looked",
    "backward": "SELECT c + 8 AS call, s AS step, t + 24 AS \"begin\", t + 40 AS \"end\","
    " 0.5 + 2.0 / (1 + s % 400) AS loss, true AS finite FROM steps",
    "accumulate": "SELECT c + 8 AS call, p AS param, o AS optimizer, s AS nth, s AS step, t + 25 AS \"at\", 'none' AS onto"
    " FROM steps, params",
    "gradient_point": "SELECT p AS param, s AS step, t + 41 AS \"at\" FROM looked, params",
    "clip": "SELECT c + 9 AS call, 'norm' AS kind, o AS optimizer, s AS step, t + 42 AS \"at\", 1.0 AS \"limit\", 0.9 AS norm,"
    " 12 AS params FROM steps, optimizers",
    "optimizer_step": "SELECT c + k AS call, o AS optimizer, s AS nth, s AS step, t + 4 * k + 4 AS \"begin\","
    " t + 4 * k + 8 AS \"end\" FROM steps, optimizers",
    "gradient": "SELECT c + k AS call, o AS optimizer, p AS param, s AS step, t + 44 AS \"at\", 'nonzero' AS class,"
    " 0.01 + 0.1 / (1 + s % 400) AS norm, bits('g' || p, s) AS data, true AS trainable FROM steps, params",
    "update": "SELECT c + k AS call, o AS optimizer, p AS param, s AS nth, s AS step, 'nonzero' AS class, 0.1 AS lr,"
    " bits(p, s) AS before, bits(p, s + 1) AS after, true AS finite FROM steps, params",
    "param_group": "SELECT c + k AS call, o AS optimizer, s AS nth, s AS step, 0.1 / (1 + s // 1000) AS lr"
    " FROM steps, optimizers",
    "optimizer_state": "SELECT c + k AS call, o AS optimizer, s AS nth, s AS step, 12 AS filled, s + 1 AS counter"
    " FROM steps, optimizers",
    "optimizer_slot": "SELECT c + k AS call, o AS optimizer, p AS param, s AS step"
    " FROM looked, params",
    "scheduler_step": "SELECT c + 12 AS call, 'StepLR#0' AS scheduler, 'SGD#0' AS optimizer, s AS nth, s AS step,"
    " t + 56 AS \"at\", 0.1 / (1 + s // 1000) AS before, 0.1 / (1 + (s + 1) // 1000) AS after FROM steps",
}  # fmt: skip
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


def _write(
    connection: duckdb.DuckDBPyConnection, relation: object, folder: Path, given: dict[str, str], first: int
) -> None:
    from tcrules.engine.sql_values import SQL_TYPES
    from tcrules.instrument.schema import TYPES, Relation

    assert isinstance(relation, Relation)
    query = _filled(FACTS.get(relation.name, "SELECT 0 AS nothing LIMIT 0"), given)
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
