"""Checks that the edges of a causal graph are what their facts say: an own reading of what each kind of edge means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb

Row = Mapping[str, Any]
#: Finds a fact by relation and id: its columns, None where there is no such fact.
Find = Callable[[str, int], "Row | None"]

CALLS = ("call", "forward", "closure")


def _same(*names: str) -> Callable[[Row, Row], bool]:
    return lambda reader, writer: all(reader[name] == writer[name] for name in ("rank", *names))


def _step_before(reader: Row, writer: Row) -> bool:
    return writer["step"] in (reader["step"], reader["step"] - 1)


#: Reader and writer -> when the first tells what the second wrote.
READS: dict[tuple[str, str], Callable[[Row, Row], bool]] = {
    ("gradient", "accumulate"): lambda r, w: _same("param", "step")(r, w) and w["at"] < r["at"],
    ("gradient", "zero_grad"): lambda r, w: (
        r["rank"] == w["rank"] and w["object"] == r["optimizer"] and w["at"] < r["at"]
        and r["class"] in ("none", "zero") and _step_before(r, w)
    ),
    ("gradient", "scaler_unscale"): lambda r, w: _same("optimizer", "step")(r, w) and w["at"] < r["at"],
    ("gradient", "clip"): lambda r, w: _same("optimizer", "step")(r, w) and w["at"] < r["at"],
    ("accumulate", "accumulate"): lambda r, w: (
        _same("param")(r, w) and w["at"] < r["at"] and r["onto"] not in ("none", "zero") and _step_before(r, w)
    ),
    ("accumulate", "zero_grad"): lambda r, w: (
        r["rank"] == w["rank"] and w["object"] == r["optimizer"] and w["at"] < r["at"]
        and r["onto"] in ("none", "zero") and _step_before(r, w)
    ),
    ("gradient_point", "accumulate"): _same("call", "param"),
    ("gradient_point", "scaler_unscale"): _same("call"),
    ("gradient_point", "clip"): _same("call"),
    ("scaler_unscale", "accumulate"): lambda r, w: _same("optimizer", "step")(r, w) and w["at"] < r["at"],
    ("clip", "accumulate"): lambda r, w: _same("optimizer", "step")(r, w) and w["at"] < r["at"],
    ("clip", "scaler_unscale"): lambda r, w: _same("optimizer", "step")(r, w) and w["at"] < r["at"],
    ("update", "gradient"): _same("call", "param"),
    ("update", "param_group"): _same("call", "optimizer", "lr"),
    ("update", "update"): lambda r, w: (
        _same("optimizer", "param")(r, w) and w["nth"] == r["nth"] - 1 and w["after"] == r["before"]
    ),
    ("update", "checkpoint_tensor"): lambda r, w: (
        (w["name"], w["data"], w["point"]) == (r["param"], r["before"], "held")
    ),
    ("param_group", "scheduler_step"): lambda r, w: _same("optimizer")(r, w) and w["after"] == r["lr"],
    ("scaler_scale", "scaler_update"): lambda r, w: (
        _same("scaler")(r, w) and w["after"] == r["scale"] and w["at"] < r["at"]
    ),
    ("optimizer_state", "optimizer_loaded"): lambda r, w: _same("optimizer")(r, w) and _step_before(r, w),
    ("param_state", "update"): lambda r, w: (
        _same("param")(r, w) and w["after"] == r["data"] and _step_before(r, w)
    ),
    ("param_state", "checkpoint_tensor"): lambda r, w: (
        (w["name"], w["data"], w["point"]) == (r["param"], r["data"], "held")
    ),
    ("buffer_state", "buffer_state"): lambda r, w: (
        _same("buffer")(r, w) and w["after"] == r["before"] and w["at"] < r["at"]
    ),
    ("buffer_state", "checkpoint_tensor"): lambda r, w: (
        (w["name"], w["data"], w["point"]) == (r["buffer"], r["before"], "held")
    ),
    ("forward", "mode_change"): lambda r, w: _same("module", "training")(r, w) and w["at"] < r["begin"],
    ("forward_reached", "forward"): lambda r, w: r["rank"] == w["rank"] and r["forward"] == w["call"],
    ("forward", "batch"): lambda r, w: _same("loader")(r, w) and w["at"] < r["begin"] and _step_before(r, w),
    ("batch_use", "batch"): _same("loader", "epoch", "index"),
    ("batch_field", "batch"): _same("loader", "epoch", "index"),
    ("batch_sample", "batch"): _same("loader", "epoch", "index"),
    ("batch", "epoch"): _same("loader", "epoch"),
    ("epoch_end", "epoch"): _same("loader", "epoch"),
    ("model_loaded", "checkpoint_loaded"): lambda r, w: r["rank"] == w["rank"] and r["checkpoint"] == w["call"],
    ("optimizer_loaded", "checkpoint_loaded"): lambda r, w: (
        r["rank"] == w["rank"] and r["checkpoint"] == w["call"]
    ),
    ("checkpoint_loaded", "checkpoint_saved"): lambda r, w: _same("path")(r, w) and w["at"] < r["at"],
    ("collective_data", "collective"): _same("call"),
}  # fmt: skip


def faults_of(graph: Mapping[str, Any], find: Find) -> list[str]:
    """What is wrong with the edges of a graph as `explain --json` tells it; nothing where its facts show them."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    leaves = {edge["from"] for edge in graph["edges"] if edge["kind"] == "derived from"}
    faults = []
    for edge in graph["edges"]:
        source, target = nodes[edge["from"]], nodes[edge["to"]]
        rows = [(fact["relation"], find(fact["relation"], fact["id"])) for fact in edge["facts"]]
        where = f"{source['id']} -{edge['kind']}-> {target['id']}"
        if any(row is None for _, row in rows):
            faults.append(f"{where}: there is no such fact among {edge['facts']}")
        elif not rows:
            # a derived fact may hold without any other: a rule states it
            stated = [one for one in (source, target) if one["kind"] == "derived" and one["id"] not in leaves]
            # that a question was asked, and that there is nothing, no fact shows
            asked = source["id"].startswith("asked") or edge["kind"] == "note"
            if not asked and not stated and "condition" not in (source["kind"], target["kind"]):
                faults.append(f"{where}: no fact shows it")
        elif not _holds(edge, source, target, rows):
            faults.append(f"{where}: {rows} do not show it")
    return faults


def _holds(edge: Row, source: Row, target: Row, rows: list[tuple[str, Any]]) -> bool:
    kind, (first, *_), (last, *_) = edge["kind"], rows, rows[::-1]
    if target["fact"] is not None:
        # what an edge points at is among the facts that show it
        assert target["fact"] in edge["facts"], edge
    if kind == "during":
        return last[0] == "call" and any(last[1]["call"] == row.get(c) for _, row in rows[:-1] for c in CALLS)
    if kind == "inside":
        if source["kind"] == "missing":
            return last[0] == "call"
        return len(rows) == 2 and first[1]["parent"] == last[1]["call"]
    if kind == "after":
        return first[1]["rank"] == last[1]["rank"] and first[1]["begin"] >= last[1]["begin"]
    if kind == "about":
        return any(target["label"] in row.values() for _, row in rows)
    if kind == "part of":
        return {source["label"], target["label"]} <= set(map(str, first[1].values()))
    if kind == "reads":
        return READS[first[0], last[0]](first[1], last[1])
    if kind == "with":
        return first[1]["rank"] != last[1]["rank"] and all(
            first[1][n] == last[1][n] for n in ("group", "nth")
        )
    if kind in ("should follow", "should precede", "instead"):
        return _placed(kind, source["window"], last[1])
    return True


def _placed(kind: str, window: Row, call: Row) -> bool:
    if call["rank"] != window["rank"]:
        return False
    if kind == "should follow":
        return call["begin"] <= window["after"]
    if kind == "should precede":
        return call["end"] >= window["before"]
    after, before = window["after"], window["before"]
    return (after is None or call["begin"] > after) and (before is None or call["end"] < before)


def reader(run: Path) -> Find:
    """Finds facts in the files of a run."""

    def find(relation: str, number: int) -> Row | None:
        path = str(run / "facts" / f"{relation}.parquet")
        with duckdb.connect() as connection:
            found = connection.execute("SELECT * FROM read_parquet(?) WHERE fact = ?", [path, number])
            names = [column[0] for column in found.description or ()]
            row = found.fetchone()
        return None if row is None else dict(zip(names, row, strict=True))

    return find
