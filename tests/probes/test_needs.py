"""Only what is asked for is recorded, and it is what a full recording holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from tcrules.instrument.needs import ALWAYS, CALLS, FULL
from tcrules.instrument.runs import coverage, open_run
from tcrules.instrument.schema import BY_NAME, SPARSE
from tcrules.instrument.watching import watch
from tcrules.rules.loading import load_rules
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tcrules.selection import needed

#: Ids and times differ, as fewer events are counted; settings hold the folder's name.
VARY = frozenset({"call", "time"})


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.LSTM(8, 8, 2, dropout=0.1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    data = DataLoader(TensorDataset(torch.randn(24, 4), torch.arange(24) % 2), batch_size=4, shuffle=True)
    for inputs, labels in data:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(model(inputs)[0].float(), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        model.eval()
        model.train()


def recorded(folder: Path, options: dict[str, Any]) -> Path:
    with watch(run=folder, options=options):
        train()
    return folder


def facts(run: Path, relation: str) -> list[tuple[Any, ...]]:
    kept = [f'"{column.name}"' for column in BY_NAME[relation].columns if column.type not in VARY]
    path = open_run(run).facts / f"{relation}.parquet"
    return duckdb.execute(f"SELECT {', '.join(kept)} FROM read_parquet('{path}') ORDER BY fact").fetchall()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("whole") / "run", {})


GROUPS = sorted({relation.group for relation in BY_NAME.values()} - {"run"})


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone(group: str, whole: Path, tmp_path: Path):
    wanted = {name for name, relation in BY_NAME.items() if relation.group == group} - FULL
    run = recorded(tmp_path / "run", {"relations": sorted(wanted)})
    assert {why for *_, why in facts(run, "instrument_gap") + facts(whole, "instrument_gap")} <= {SPARSE}
    assert coverage(open_run(run)).recorded >= wanted
    left_out = set() if wanted & CALLS else set(BY_NAME) - wanted - ALWAYS
    assert not coverage(open_run(run)).recorded & left_out
    for name in sorted(wanted - {"location", "setting"}):
        assert facts(run, name) == facts(whole, name), name
    assert not any(facts(run, name) for name in left_out - CALLS)


def test_what_the_library_reads_is_enough(whole: Path, tmp_path: Path):
    wanted = needed(load_rules().program)
    run = recorded(tmp_path / "run", {"relations": sorted(wanted)})
    assert coverage(open_run(run)).recorded >= wanted
    for name in sorted(wanted):
        assert facts(run, name) == facts(whole, name), name
    assert not facts(run, "autocast_region") and facts(whole, "autocast_region")
