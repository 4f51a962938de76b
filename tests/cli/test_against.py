"""Explaining a run against a healthy one: where they part, on each side."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import jsonschema
import pytest

from tcrules.aligning import parting
from tests.report.evidence import reader

from .helping import command

#: Changes of `call` in a copy of the fixed run -> what the copy is told, and the API on each side, "" = nothing.
CHANGES = {
    "a call less": (
        "SELECT * FROM facts WHERE NOT (step = 2 AND api LIKE '%zero_grad')",
        "a call of the reference run is missing here",
        "torch.nn.Module.forward",
        "torch.optim.Optimizer.zero_grad",
    ),
    "a call more": (
        "SELECT * FROM facts UNION ALL BY NAME SELECT * REPLACE ('torch.Tensor.detach' AS api, fact + 100000 AS fact,"
        " call + 100000 AS call, 0 AS parent) FROM facts WHERE step = 2 AND api LIKE '%zero_grad'",
        "this run makes one call more",
        "torch.Tensor.detach",
        "torch.nn.Module.forward",
    ),
    "another call": (
        "SELECT * REPLACE (if(step = 2 AND api LIKE '%zero_grad', 'mine.zero', api) AS api) FROM facts",
        "this run makes another call",
        "mine.zero",
        "torch.optim.Optimizer.zero_grad",
    ),
    "another order": (
        "SELECT * REPLACE (if(step = 2 AND api LIKE '%zero_grad', \"end\" + 100000, begin) AS begin) FROM facts",
        "the same calls come in another order",
        "torch.nn.Module.forward",
        "torch.optim.Optimizer.zero_grad",
    ),
    "another call within one": (
        "SELECT * REPLACE (if(step = 2 AND api LIKE '%backward', 0, parent) AS parent,"
        " if(step = 2 AND api LIKE '%.step', 'other.step', api) AS api) FROM facts",
        "this run makes another call",
        "other.step",
        "torch.optim.Optimizer.step",
    ),
}


def changed(run: Path, to: Path, relation: str, query: str) -> Path:
    """A copy of a run in which a relation has the rows of a query over its `facts`."""
    shutil.copytree(run, to)
    path = to / "facts" / f"{relation}.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE facts AS SELECT * FROM read_parquet(?)", [str(path)])
        connection.execute(f"CREATE TABLE told AS SELECT DISTINCT * FROM ({query}) ORDER BY fact")
        path.unlink()
        connection.execute(f"COPY told TO '{path}' (FORMAT parquet)")
    return to


@pytest.mark.parametrize("name", CHANGES)
def test_where_calls_part(name: str, runs: Path, tmp_path: Path):
    query, what, here, there = CHANGES[name]
    found = parting(changed(runs / "fixed", tmp_path / "other", "call", query), runs / "fixed")
    assert found is not None and (found.step, found.rank, found.what) == (2, 0, what)
    assert found.here is not None and found.here.label.startswith(f"{here}()")
    assert found.there is not None and found.there.label.startswith(f"{there}()")


def test_where_facts_part(runs: Path, tmp_path: Path):
    other = changed(
        runs / "fixed", tmp_path / "other", "member", "SELECT * FROM facts WHERE param != '2.bias'"
    )
    found = parting(other, runs / "fixed")
    assert found is not None and (found.step, found.here) == (None, None)
    assert found.there is not None and found.there.label.startswith("member(")
    assert "2.bias" in found.there.label


def test_where_values_part_of_runs_that_begin_alike(runs: Path, tmp_path: Path):
    query = "SELECT * REPLACE (if(step >= 3, loss + 1, loss) AS loss) FROM facts"
    found = parting(changed(runs / "fixed", tmp_path / "other", "backward", query), runs / "fixed")
    assert found is not None and (found.step, found.what) == (3, "the same calls, but other values")
    assert found.here is not None and found.here.label.startswith("backward(loss: ")


def test_another_seed_is_no_difference(runs: Path, tmp_path: Path):
    other = changed(
        runs / "fixed", tmp_path / "one", "backward", "SELECT * REPLACE (loss + 1 AS loss) FROM facts"
    )
    other = changed(other, tmp_path / "two", "param_state", "SELECT * REPLACE (data + 1 AS data) FROM facts")
    assert parting(other, runs / "fixed") is None


def test_tree_and_pictures(runs: Path):
    words = ("explain", runs / "faulty", "V1", "--against", runs / "fixed")
    tree = command(*words).stdout
    assert "parts from the reference run: step 0" in tree and "a call of the reference run is missing" in tree
    assert "reference run: step 0: torch.optim.Optimizer.zero_grad()" in tree and "train.py:11" in tree
    assert tree.index("parts from") < tree.index("does not hold:")
    assert 'shape="diamond"' in command(*words, "--dot").stdout
    picture = ElementTree.fromstring(command(*words, "--svg").stdout)
    kinds = {group.get("class") for group in picture.iter() if group.tag.endswith("}g")}
    assert {"parting", "reference"} <= kinds


def test_data_is_as_the_schema_says_and_names_facts_of_both(runs: Path):
    told = json.loads(command("explain", runs / "faulty", "V1", "--against", runs / "fixed", "--json").stdout)
    schema = json.loads((files("tcrules.report") / "schemas" / "explanation.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(told)
    edges = {edge["kind"]: edge for edge in told["edges"]}
    (here,) = edges["here"]["facts"]
    (there,) = edges["there"]["facts"]
    assert reader(runs / "faulty")(here["relation"], here["id"])["api"] == "torch.nn.Module.forward"
    assert reader(runs / "fixed")(there["relation"], there["id"])["api"] == "torch.optim.Optimizer.zero_grad"


def test_equal_runs_are_said_to_be(runs: Path):
    result = command("explain", runs / "faulty", "V1", "--against", runs / "faulty")
    assert result.exit_code == 0 and "parts from" not in result.stdout and "parts nowhere" in result.stderr


def test_page_marks_it(runs: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    command("report", runs / "faulty", "--against", runs / "fixed", "-o", page)
    assert "parts from the reference run: step 0" in page.read_text("utf-8")


def test_no_run_is_refused(runs: Path, tmp_path: Path):
    result = command("explain", runs / "faulty", "--against", tmp_path)
    assert result.exit_code == 2 and result.stdout == "" and str(tmp_path) in result.stderr
