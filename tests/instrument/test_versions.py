"""Runs of an older version are read: what they lack is unknown. Those of a newer one are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from tcrules.instrument.compacting import compact
from tcrules.instrument.errors import RunError
from tcrules.instrument.overview import overview
from tcrules.instrument.runs import Gap, coverage, open_run
from tcrules.instrument.schema import BY_NAME, SCHEMA_VERSION, SPARSE
from tcrules.instrument.versions import SILENT
from tcrules.instrument.watching import watch
from torch import nn

import tcrules

#: Relations and columns that version 1 did not have.
NEW_RELATION, CHANGED, NEW_COLUMNS = "alias", "zero_grad", ("object",)


def training() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 2).backward()
        optimizer.step()
    tcrules.emit("mine", number=3)


def edit(run: Path, **changes: Any) -> None:
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, **changes}))


def drop_columns(run: Path, relation: str, *names: str) -> None:
    path = run / "facts" / f"{relation}.parquet"
    rest = f"SELECT * EXCLUDE ({', '.join(names)}) FROM read_parquet('{path}') ORDER BY fact"
    duckdb.sql(f"COPY ({rest}) TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").replace(path)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    with watch(run=tmp_path / "run"):
        training()
    return tmp_path / "run"


@pytest.fixture
def old(new: Path) -> Path:
    """The run as version 1 would have recorded it."""
    (new / "facts" / f"{NEW_RELATION}.parquet").unlink()
    drop_columns(new, "recorded_steps", "relation")
    drop_columns(new, CHANGED, *NEW_COLUMNS)
    path = new / "facts" / "instrument_gap.parquet"
    kept = f"SELECT * FROM read_parquet('{path}') WHERE why <> '{SPARSE}'"
    duckdb.sql(f"COPY ({kept}) TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").replace(path)
    (process,) = json.loads((new / "run.json").read_text())["processes"]
    process["covers"].remove(NEW_RELATION)
    edit(new, schema=1, processes=[process])
    return new


def test_what_version_2_did_not_record_is_unknown(new: Path):
    lacking = "loss_graph", "forward_reached", "layer_gradient", "forward_argument", "attention_call"
    for name in (*lacking, "scheduler_loaded"):
        (new / "facts" / f"{name}.parquet").unlink()
    (process,) = json.loads((new / "run.json").read_text())["processes"]
    process["covers"] = [name for name in process["covers"] if name not in lacking]
    edit(new, schema=2, processes=[process])
    found = coverage(open_run(new))
    assert not found.recorded & {*lacking, "scheduler_loaded"} and "module_call" in found.recorded
    assert {gap.relation for gap in found.gaps if "older version" in gap.why} == {
        *lacking,
        "scheduler_loaded",
    }
    # version 2 told itself when sampled relations were looked at
    assert len([gap for gap in found.gaps if gap.relation == "module_call"]) == 1


def test_what_an_older_run_has_is_read(old: Path):
    run = open_run(old)
    assert set(BY_NAME) | {"mine"} == set(run.relations())
    assert "an older version" in run.notes[-1] and run.describe().startswith("1 process, 20 steps")
    facts = {name: duckdb.read_parquet(str(path)) for name, path in run.relations().items()}
    for name, relation in BY_NAME.items():
        assert facts[name].columns == ["fact", *(column.name for column in relation.columns)], name
    assert len(facts["optimizer_step"]) == 20 and facts["mine"].fetchall()[0][-1] == 3
    assert not len(facts[NEW_RELATION]) and not len(facts[CHANGED])


def test_what_it_lacks_is_unknown(old: Path, tmp_path: Path):
    known = coverage(open_run(old))
    assert set(BY_NAME) - known.recorded >= {NEW_RELATION, CHANGED} and "optimizer_step" in known.recorded
    reasons = {gap.relation: gap.why for gap in known.gaps if gap.why != SPARSE}
    assert "without this relation" in reasons[NEW_RELATION] and "without object" in reasons[CHANGED]
    assert {gap for gap in known.gaps if gap.why == SPARSE} == {
        Gap(0, name, 3, -1, SPARSE, ((16, 16),)) for name in SILENT
    }
    rules = tmp_path / "rules.tcr"
    rules.write_text("""
        invariant cleared { each optimizer_step(rank: R, step: S) expect zero_grad(rank: R, step: S) message "m" }
        invariant no-alias { each optimizer_step(rank: R, step: S) expect not alias(rank: R) message "m" }
        invariant moved { each optimizer_step(rank: R, step: S) expect update(rank: R, step: S) message "m" }
        invariant layers { each optimizer_step(rank: R, step: S) expect module_call(rank: R, step: S) message "m" }
    """)
    found = tcrules.check(old, rules, library=False)
    counts = {rule: (v.violated, v.held, v.unknown) for rule, v in found.verdicts.items()}
    # layers were looked at in steps 0, 1, 2, 16: those are held, and what is absent elsewhere is unknown
    assert counts == {
        "cleared": (0, 0, 20),
        "no-alias": (0, 0, 20),
        "moved": (0, 20, 0),
        "layers": (0, 4, 16),
    }
    assert "recorded by an older version" in "".join(found.verdicts["cleared"].reasons)


def test_the_folder_stays_as_it_was(old: Path):
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    open_run(old)
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    assert overview(old).why == ""
    compact(old)
    assert coverage(open_run(old)).recorded >= {"optimizer_step", "update"}


def test_the_same_verdicts_on_what_both_have(old: Path):
    ours = tcrules.check(old).verdicts
    assert {v.status for v in ours.values()} <= {"held", "vacuous", "unknown"}
    assert ours["optimizer-finds-gradients"].status == "held"


def test_what_no_version_lacks_must_be_there(old: Path):
    (old / "facts" / "step.parquet").unlink()
    with pytest.raises(RunError, match=r"incomplete: facts/step\.parquet is missing"):
        open_run(old)


def test_segments_of_another_version_are_not_guessed_at(new: Path):
    edit(new, schema=1, sealed=False)
    (new / "segments").mkdir()
    with pytest.raises(RunError, match="never converted") as caught:
        open_run(new)
    assert "tcrules check" in str(caught.value.help)


@pytest.mark.parametrize("schema", [SCHEMA_VERSION + 1, 99])
def test_a_newer_version_is_refused(new: Path, schema: int):
    edit(new, schema=schema)
    with pytest.raises(
        RunError, match=f"schema version {schema}; this tcrules reads versions up to {SCHEMA_VERSION}"
    ) as caught:
        open_run(new)
    assert "later" in str(caught.value.help)
    assert overview(new).why == f"schema version {schema}"


@pytest.mark.parametrize("schema", [0, -1, "2", None, 1.5])
def test_a_version_that_is_none(new: Path, schema: object):
    edit(new, schema=schema)
    with pytest.raises(RunError, match="damaged: its schema version is"):
        open_run(new)
