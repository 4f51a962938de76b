"""Comparing two runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from tcrules.cli.main import cli


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_where_two_runs_part(runs: Path):
    result = call("diff", runs / "faulty", runs / "fixed")
    assert result.exit_code == 1
    assert result.stdout.startswith("DIFFERENT") and "part at step 0, in zero_grad" in result.stdout
    assert "object SGD#0, step 0: only on the right" in result.stdout and "train.py:11" in result.stdout
    assert result.stdout.index("zero_grad") < result.stdout.index("accumulate")


def test_differences_as_data(runs: Path):
    data = json.loads(call("diff", runs / "faulty", runs / "fixed", "--format", "json").stdout)
    found = {one["relation"]: one for one in data["differences"]}
    assert data["divergence"] == "zero_grad"
    assert (found["zero_grad"]["only_left"], found["zero_grad"]["only_right"]) == (0, 5)
    assert found["accumulate"]["columns"] == ["onto"] and found["accumulate"]["first_step"] == 1
    (example, *_) = found["update"]["examples"]
    assert set(example["left"]) == set(example["right"]) and example["left"] != example["right"]
    assert found["update"]["changed"] <= found["update"]["compared"]
    assert {"member", "parameter", "optimizer_step"} <= set(data["equal"])
    assert "batch" not in data["equal"], "no facts are no news"


def test_a_run_equals_itself_and_its_copy(runs: Path, tmp_path: Path):
    shutil.copytree(runs / "fixed", tmp_path / "copy")
    result = call("diff", runs / "fixed", tmp_path / "copy")
    assert (result.exit_code, result.stdout.splitlines()[0][:5]) == (0, "EQUAL")


def test_what_one_run_lacks_is_not_compared(runs: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(runs / "faulty", copy)
    told = json.loads((copy / "run.json").read_text())
    for process in told["processes"]:
        process["covers"] = [name for name in process["covers"] if name != "zero_grad"]
    (copy / "run.json").write_text(json.dumps(told))
    data = json.loads(call("diff", runs / "fixed", copy, "--format", "json").stdout)
    assert {"relation": "zero_grad", "why": f"not recorded in {copy}"} in data["uncompared"]
    assert data["divergence"] != "zero_grad"


def test_no_run_is_refused(runs: Path, tmp_path: Path):
    result = call("diff", runs / "fixed", tmp_path)
    assert result.exit_code == 2 and result.stdout == "" and str(tmp_path) in result.stderr
