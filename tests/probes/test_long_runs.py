"""Recording stays small: in runs of many steps, of many models, and of models of many parameters."""

from __future__ import annotations

import copy
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tcrules.instrument import names
from tcrules.instrument import session as sessions
from tcrules.instrument.clock import Clock
from tcrules.instrument.segments import Segment
from tcrules.instrument.session import Session
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.probes.helping import average_into, save_and_load, scaled_step


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What is measured is the CPU time of this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recorded(run: Path, work: Callable[[], object], **options: object) -> Session:
    assert sessions.current() is None
    session = sessions.start(run, {"overhead": 0, **options})
    try:
        work()
    finally:
        sessions.stop()
    return session


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1d(2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(functional.dropout(self.norm(x), 0.1, self.training))


def train(marks: list[int]) -> list[int]:
    """Train with a bit of everything; returns how many blocks of memory are in use after so many steps."""
    model = Net()
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loader = DataLoader(TensorDataset(torch.randn(16, 2), torch.randn(16, 2)), batch_size=4, shuffle=True)
    step, found = 0, []
    while step < marks[-1]:
        for x, y in loader:
            model.train()
            optimizer.zero_grad()
            scaled_step(model, optimizer, scaler, functional.mse_loss(model(x), y))
            scheduler.step()
            average_into(average, model)
            if step % 100 == 0:
                model.eval()
                with torch.no_grad():
                    model(x)
                save_and_load(model, optimizer)
                copy.deepcopy(model)
            step += 1
            if step in marks:
                del x, y
                gc.collect()
                found.append(sys.getallocatedblocks())
    return found


@pytest.mark.parametrize("options", [{"overhead": 0}, {}])
def test_nothing_grows_with_the_number_of_steps(options: dict[str, object], tmp_path: Path):
    marks, blocks = [600, 1400, 2200], list[int]()
    limit = 2 << 20
    session = recorded(tmp_path / "run", lambda: blocks.extend(train(marks)), limit_bytes=limit, **options)
    growth, steps = blocks[2] - blocks[1], marks[2] - marks[1]
    assert growth < 0.2 * steps, f"{growth} blocks in {steps} steps"
    size = sum(path.stat().st_size for path in session.sink.folder.iterdir())
    assert size < limit + (64 << 10)
    assert len(Segment(session.sink.folder, {}).texts) < 500


def test_models_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A model for each task gets names up to a limit, and then a gap in everything."""
    monkeypatch.setattr(names, "MAX_HANDLES", 200)

    def tasks() -> None:
        model = Net()
        for _ in range(60):
            task = copy.deepcopy(model)
            optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
            task(torch.randn(4, 2)).sum().backward()
            optimizer.step()

    session = recorded(tmp_path / "run", tasks)
    segment = Segment(session.sink.folder, {})
    gaps = [
        (segment.texts[row[0]], segment.texts[row[-2]]) for row in segment.rows("instrument_gap").tolist()
    ]
    assert ("*", sessions.MANY_NAMES) in gaps
    assert len(session.names._records) <= 220 and len(segment.rows("optimizer_step")) == 60


class Many(nn.Module):
    def __init__(self, params: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(1, 1) for _ in range(params // 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.stack([part.weight.sum() + part.bias.sum() for part in self.parts]).sum()


def cost(params: int, tie: bool = False) -> float:
    """Return the CPU time of making and training a model of so many parameters for a few steps."""
    begin = time.process_time()
    model = Many(params)
    if tie:
        for part in model.parts:
            part.weight = model.parts[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
    return time.process_time() - begin


@pytest.mark.parametrize(("small", "large", "tie"), [(1000, 10_000, False), (300, 3000, True)])
def test_the_cost_is_linear_in_parameters(small: int, large: int, tie: bool, tmp_path: Path):
    """Ten times the parameters cost ten times as much; what is quadratic would cost a hundred times."""
    times: list[float] = []
    session = recorded(
        tmp_path / "run",
        lambda: times.extend([cost(small, tie), cost(small, tie), cost(large, tie)]),
    )
    assert times[2] < 30 * min(times[:2]), times
    assert len(Segment(session.sink.folder, {}).rows("optimizer_step")) == 9


def test_a_hundred_thousand_steps(tmp_path: Path):
    """Of the clock and the rows; torch would take minutes."""
    session = Session(tmp_path / "run")
    clock: Clock = session.clock
    put = session.put("optimizer_step")
    clock.optimizer_made("SGD#0")
    blocks = []
    for number in range(100_000):
        clock.before_forward()
        clock.before_optimizer("SGD#0")
        put(number + 1, "SGD#0", number, clock.step, clock.tick(), clock.tick(), False, False)
        clock.optimizer_stepped("SGD#0")
        if number in (1000, 99_999):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    session.close()
    assert blocks[1] - blocks[0] < 500
    segment = Segment(session.sink.folder, {})
    assert len(segment.rows("step")) == len(segment.rows("optimizer_step")) == 100_000
    assert sum(path.stat().st_size for path in session.sink.folder.iterdir()) < 100_000 * 90


def containers(thing: object, depth: int = 3, seen: set[int] | None = None) -> int:
    """How many members the containers of ours have that can be reached from here."""
    seen = set() if seen is None else seen
    if depth < 0 or id(thing) in seen:
        return 0
    seen.add(id(thing))
    own = len(thing) if isinstance(thing, dict | set | list | tuple) else 0
    if type(thing).__module__.startswith("tcrules"):
        own += sum(containers(value, depth - 1, seen) for value in getattr(thing, "__dict__", {}).values())
    return own


def test_many_steps_take_no_more_memory_than_some(tmp_path: Path):
    """Under the governor; nightly 100,000 steps, which take a minute."""
    marks = [20_000, 100_000] if os.environ.get("TCRULES_PROFILE") == "nightly" else [1500, 4000]
    found: list[tuple[int, int]] = []

    def train() -> None:
        model, x = nn.Linear(2, 2), torch.ones(2, 2)
        sgd = torch.optim.SGD(model.parameters(), lr=1e-6)
        for step in range(1, marks[1] + 1):
            sgd.zero_grad()
            model(x).sum().backward()
            sgd.step()
            if step in marks:
                gc.collect()
                found.append((sys.getallocatedblocks(), containers(sessions.current())))

    recorded(tmp_path / "run", train, overhead=0.02)
    (blocks, members), (later_blocks, later_members) = found
    assert later_members - members < 20
    assert later_blocks - blocks < 300
