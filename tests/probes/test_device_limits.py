"""Devices that answer late or never, and what recording must not do to a training on one."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument import fingerprint
from tcrules.instrument.probes import cuda, deferred, reductions, values
from tcrules.instrument.session import current
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode


def train(steps: int = 5) -> list[float]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    adam = torch.optim.AdamW(model.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        adam.zero_grad()
        loss = functional.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 3, (6,)))
        loss.backward()
        adam.step()
        losses.append(loss)
    return [float(loss) for loss in losses]


VALUES = ("param_state", "buffer_state", "gradient", "update", "backward")


def gaps(facts: Any, why: str) -> dict[str, int]:
    """The first steps of the gaps with this reason."""
    return {
        name: first
        for name, first, text in facts("instrument_gap", "relation", "first_step", "why")
        if text == why
    }


def test_a_device_that_never_answers(record_on: Any, devices: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deferred, "PATIENCE_S", 0.05)
    facts = record_on(train, devices.StandIn(lambda _mark: False))
    missing = gaps(facts, deferred.WHY_LATE)
    assert {*VALUES, "forward", "optimizer_state"} <= missing.keys() and set(missing.values()) == {0}
    assert all(facts(name) == [] for name in VALUES)
    assert facts("step", "step") == [0, 1, 2, 3, 4]
    assert facts("optimizer_step", "step", "skipped") == [(step, False) for step in range(5)]
    assert facts("forward", "step", "input") == [(step, 0) for step in range(5)]


def test_more_is_asked_than_answered(record_on: Any, devices: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deferred, "MAX_PENDING", 20)
    kit, lengths = devices.StandIn(devices.told), []

    def stalling() -> None:
        devices.told.over = False
        for _ in range(3):
            train()
            lengths.append(len(kit.fetched))
        devices.told.over = True
        train()

    facts = record_on(stalling, kit)
    assert max(lengths) <= 20
    missing = gaps(facts, deferred.WHY_MANY)
    assert missing["update"] >= 1 and {"param_state", "update", "gradient"} <= missing.keys()
    recorded = facts("update", "step")
    assert 0 in recorded and 19 in recorded and 10 not in recorded
    assert sorted(facts("step", "step")) == list(range(20))


def test_nothing_is_asked_while_a_graph_is_captured(record_on: Any, devices: Any):
    kit = devices.StandIn()

    def capturing() -> None:
        train(2)
        kit.capturing, marks = True, kit.marks
        train(2)
        assert kit.marks == marks
        kit.capturing = False
        train(2)

    facts = record_on(capturing, kit)
    assert gaps(facts, deferred.WHY_CAPTURED)["update"] == 2
    assert sorted(set(facts("update", "step"))) == [0, 1, 4, 5]


def test_a_device_that_is_lost(record_on: Any, devices: Any):
    def lost(mark: int) -> bool:
        if mark > 60:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return True

    seen: list[Any] = []
    facts = record_on(lambda: seen.append(train()), devices.StandIn(lost))
    assert seen == [train()]
    missing = gaps(facts, "devices cannot be asked any more: RuntimeError")
    assert {"update", "gradient"} <= missing.keys()
    assert [why for why in facts("instrument_gap", "why") if "probe" in why] == []
    assert facts("step", "step") == [0, 1, 2, 3, 4]


def test_results_that_cannot_be_read_are_gaps(record_on: Any, devices: Any, monkeypatch: pytest.MonkeyPatch):
    def broken(_work: Any) -> None:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(reductions.Work, "settle", broken)
    facts = record_on(train, devices.StandIn())
    missing = gaps(facts, "devices cannot be asked any more: RuntimeError")
    assert {"forward", "update", "gradient", "backward"} <= missing.keys()
    assert len(facts("forward")) == 5 and facts("update") == []


def test_reading_fails(record_on: Any, devices: Any, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(reductions, "rows", full)
    seen: list[Any] = []
    facts = record_on(lambda: seen.append(train()), devices.StandIn())
    assert seen == [train()]
    assert {"param_state", "update"} <= set(facts("instrument_gap", "relation"))
    assert facts("update") == [] and facts("step", "step") == [0, 1, 2, 3, 4]


def test_an_exception_between_question_and_answer(record_on: Any, devices: Any):
    kit = devices.StandIn(devices.told)

    def raising() -> None:
        devices.told.over = False
        model = nn.Linear(2, 2)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(1, 2)).sum().backward()
        sgd.step()
        try:
            model(torch.ones(1, 3))
        except RuntimeError:
            pass
        model(torch.ones(1, 2)).sum().backward()
        sgd.step()
        devices.told.over = True

    facts = record_on(raising, kit)
    assert facts("instrument_gap") == []
    assert facts("update", "step") == [0, 0, 1, 1]
    assert facts("forward", "step") == [0, 1, 1]


def test_a_fork_leaves_what_is_pending_to_the_parent(record_on: Any, devices: Any):
    def forking() -> None:
        devices.told.over = False
        train(3)
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        devices.told.over = True

    facts = record_on(forking, devices.StandIn(devices.told))
    assert facts("instrument_gap") == [] and sorted(set(facts("update", "step"))) == [0, 1, 2]
    assert len(facts("update")) == 18


def test_a_fork_drops_it_in_the_child(devices: Any):
    written: list[str] = []
    late = deferred.Late(
        devices.StandIn(lambda _mark: False), lambda _probe, write, *args: write(*args), lambda _: None
    )
    ask = late.ask()
    print_ = ask.print(torch.ones(3))
    ask.then("probe", written.append, "fact")
    late.after_fork()
    late.close()
    assert written == [] and print_.value is None


def test_what_is_pending_keeps_nothing_alive(record_on: Any, devices: Any):
    kit, dead = devices.StandIn(devices.told), []

    def dropping() -> None:
        devices.told.over = False
        model = nn.Linear(2, 2)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.ones(1, 2)
        model(x).sum().backward()
        sgd.step()
        things = [weakref.ref(thing) for thing in (model, sgd, model.weight, model.weight.grad, x)]
        del model, sgd, x
        gc.collect()
        dead.extend(thing() is None for thing in things)
        devices.told.over = True

    facts = record_on(dropping, kit)
    assert dead == [True] * 5 and len(facts("update")) == 2


def test_the_training_is_the_same_bit_for_bit(
    tmp_path: Path, devices: Any, outcome: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cuda, "make", lambda: devices.StandIn(devices.every(7)))
    monkeypatch.setattr(cuda, "is_there", lambda: True)
    before = fingerprint.chosen()
    try:
        outcome.identical(train, tmp_path / "run")
        assert fingerprint.chosen() == "sums"
    finally:
        fingerprint.choose(before)


READS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__array__")


def test_no_tensor_is_read_by_the_host(record_on: Any, devices: Any, monkeypatch: pytest.MonkeyPatch):
    """Not by a method of tensors, not by its address, and not below: torch's own record of what is run shows it."""
    reading = [False]

    def refuse(name: str) -> Any:
        original = getattr(torch.Tensor, name)

        def method(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            session = current()
            if session is not None and session.local.inside and not reading[0]:
                raise AssertionError(f"{name} of a tensor")
            return original(tensor, *args, **kwargs)

        return method

    settle = reductions.Work.settle

    def allowed(work: Any) -> None:
        reading[0] = True
        try:
            settle(work)
        finally:
            reading[0] = False

    def never(*_: Any) -> None:
        raise AssertionError("a tensor of a device is read by its address")

    def training() -> None:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        adam = torch.optim.AdamW(model.parameters(), lr=0.1)
        batches = [torch.randn(6, 4) for _ in range(3)]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for x in torch.utils.data.DataLoader(batches, 1):
                loss = functional.cross_entropy(model(x[0]), torch.zeros(6, dtype=torch.long))
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        seen.append({event.key: event.count for event in profiler.key_averages()})
        del adam

    seen: list[dict[str, int]] = []
    training()
    with monkeypatch.context() as patches:
        for name in READS:
            patches.setattr(torch.Tensor, name, refuse(name), raising=False)
        patches.setattr(reductions.Work, "settle", allowed)
        patches.setattr(values, "_small_norm", never)
        patches.setattr(values, "fingerprint", never)
        host = torch.default_generator.get_state().data_ptr()
        kit = devices.StandIn(holds=lambda tensor: tensor.data_ptr() != host)
        facts = record_on(training, kit)
    assert [why for why in facts("instrument_gap", "why") if "Assertion" in why] == []
    assert len(facts("param_state")) > 0 and len(facts("clip")) == 3 and len(facts("batch")) == 3
    plain, recorded = seen
    for name in (
        "aten::_local_scalar_dense",
        "aten::item",
        "aten::is_nonzero",
        "aten::nonzero",
        "aten::equal",
    ):
        assert recorded.get(name, 0) == plain.get(name, 0), name


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_programs_modes_do_not_see_it(record_on: Any, devices: Any):
    def counted() -> list[str]:
        with Counting() as mode:
            train(2)
        return mode.seen

    seen: list[list[str]] = []
    record_on(lambda: seen.append(counted()), devices.StandIn())
    assert seen == [counted()]


@pytest.mark.parametrize("context", ["autocast", "inference", "no_grad", "default"])
def test_what_is_read_does_not_depend_on_modes(devices: Any, context: str):
    contexts = {
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
        "inference": torch.inference_mode,
        "no_grad": torch.no_grad,
        "default": torch.enable_grad,
    }
    late = deferred.Late(devices.StandIn(), lambda _probe, write, *args: write(*args), lambda _: None)
    tensors = [
        torch.randn(3, 5),
        torch.randn(7).half(),
        torch.randn(2, requires_grad=True),
        torch.randn(4).double(),
    ]
    found: list[Any] = []
    before = fingerprint.chosen()
    fingerprint.choose("sums")
    try:
        with contexts[context]():
            ask = late.ask()
            prints = [ask.print(tensor) for tensor in tensors]
            norms = [ask.norm(tensor) for tensor in tensors]
            ask.then("probe", lambda *args: found.extend(args), prints, norms)
            assert torch.is_autocast_enabled("cpu") == (context == "autocast")
            assert torch.is_grad_enabled() == (context in ("autocast", "default"))
            assert torch.is_inference_mode_enabled() == (context == "inference")
        late.poll()
        assert found[0] == [fingerprint.fingerprint(tensor) for tensor in tensors]
    finally:
        fingerprint.choose(before)
    assert [kind for kind, _ in found[1]] == ["nonzero"] * 4
    wanted = [float(tensor.detach().double().norm()) for tensor in tensors]
    assert [norm for _, norm in found[1]] == pytest.approx(wanted, rel=1e-3)


def test_large_tensors_are_read_in_parts(devices: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reductions, "CHUNK", 8192)
    peak = [0]
    rows = reductions.rows

    def measured(parts: Any, *args: Any) -> torch.Tensor:
        peak[0] = max(peak[0], sum(part.numel() * part.element_size() for part in parts))
        return rows(parts, *args)

    monkeypatch.setattr(reductions, "rows", measured)
    late = deferred.Late(devices.StandIn(), lambda _probe, write, *args: write(*args), lambda _: None)
    tensors = [
        torch.randn(9000),
        torch.randn(3),
        torch.randn(100, 30).t(),
        torch.randn(5001).half(),
        torch.randn(2000),
    ]
    found: list[Any] = []
    before = fingerprint.chosen()
    fingerprint.choose("sums")
    try:
        ask = late.ask()
        ask.then("probe", found.append, [ask.print(tensor) for tensor in tensors])
        late.poll()
        assert found[0] == [fingerprint.fingerprint(tensor) for tensor in tensors]
    finally:
        fingerprint.choose(before)
    assert 0 < peak[0] < 2 * 8192


def test_classes_of_extreme_values(devices: Any):
    late = deferred.Late(devices.StandIn(), lambda _probe, write, *args: write(*args), lambda _: None)
    found: list[Any] = []
    ask = late.ask()
    data = [0.0, -0.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan")]
    answers = [ask.norm(torch.tensor([value, 0.0])) for value in data]
    finite = [ask.finite(torch.tensor([value, 0.0])) for value in data]
    ask.then("probe", lambda *args: found.extend(args), answers, finite)
    late.poll()
    kinds = [kind for kind, _ in found[0]]
    assert kinds == ["zero", "zero", "nonzero", "nonzero", "nonfinite", "nonfinite", "nonfinite"]
    assert found[1] == [True, True, True, True, False, False, False]


def test_the_benchmark_of_devices_runs():
    script = Path(__file__).parents[2] / "benchmarks" / "device.py"
    command = [sys.executable, str(script), "--rehearse", "--only", "fingerprints"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["fingerprints", "ok"]), done.stderr


def test_results_on_their_way_are_bounded_in_bytes(devices: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deferred, "MAX_BYTES", 4096)
    kit = devices.StandIn(devices.told)
    late = deferred.Late(kit, lambda _probe, write, *args: write(*args), lambda _: None)
    found: list[Any] = []
    devices.told.over = False
    for _ in range(10):
        ask = late.ask()
        ask.then("probe", found.append, ask.print(torch.ones(100_000)))  # 196 rows, 1568 bytes
    devices.told.over = True
    late.poll()
    assert [print_ is None for print_ in found] == [False] * 3 + [True] * 7
    assert late.refuses() == ""
