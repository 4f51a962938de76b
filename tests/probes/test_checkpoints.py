"""What checkpoints hold, whether they are complete, and whether they come back equal."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tcrules.instrument.probes.checkpoint import WHY_MANY
from tcrules.instrument.probes.contents import inspect
from torch import nn


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        adam.zero_grad()
        model(torch.randn(4, 2)).sum().backward()
        adam.step()
    return model, adam


NAMES = [
    "0.weight",
    "0.bias",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
]


def test_a_checkpoint_that_comes_back_equal(record: Any, tmp_path: Path):
    def train() -> None:
        model, adam = trained()
        scheduler = torch.optim.lr_scheduler.StepLR(adam, 1)
        everything = {
            "model": model.state_dict(),
            "optimizer": adam.state_dict(),
            "scheduler": scheduler.state_dict(),
            "scaler": torch.amp.GradScaler("cpu").state_dict(),
            "rng_state": torch.get_rng_state(),
            "epoch": 1,
        }
        torch.save(everything, tmp_path / "all.pt")
        state = torch.load(tmp_path / "all.pt")
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["optimizer"])

    facts = record(train)
    flags = ("model", "optimizer", "scheduler", "scaler", "rng", "position")
    assert facts("checkpoint_saved", *flags) == [(True,) * 6]
    assert facts("checkpoint_loaded", *flags) == [(True,) * 6]
    assert facts.sql("SELECT s.names = l.names FROM checkpoint_saved s, checkpoint_loaded l") == [(True,)]
    assert facts("checkpoint_model", "module", "keys", "missing", "unexpected", "shared") == [
        ("Sequential", 9, 0, 0, 9),
        ("Sequential", 9, 0, 0, 0),
    ]
    assert facts("checkpoint_key", "key") == []
    names = [*NAMES, "2.weight", "2.bias"]
    saved = facts("checkpoint_tensor", "key", "name", "size", where="point = 'saved'")
    assert [(key, name) for key, name, _ in saved[:9]] == [(f"model.{name}", name) for name in names]
    assert saved[0][2] == 6 and [key for key, _, _ in saved[9:12]] == [
        f"optimizer.state.0.{kind}" for kind in ("step", "exp_avg", "exp_avg_sq")
    ]
    # what is read is what was saved, what the model and the optimizer hold is what they were given
    assert facts.sql(
        "SELECT count(*), bool_and(a.data = b.data) FROM checkpoint_tensor a JOIN checkpoint_tensor b USING (key) "
        "WHERE a.point = 'saved' AND b.point = 'read'"
    ) == [(28, True)]
    pairs = facts.sql(
        "SELECT a.call, count(*), bool_and(a.data = b.data), count(*) FILTER (a.name = '') FROM checkpoint_tensor a "
        "JOIN checkpoint_tensor b USING (call, key) WHERE a.point = 'given' AND b.point = 'held' "
        "GROUP BY a.call ORDER BY a.call"
    )
    assert [pair[1:] for pair in pairs] == [(9, True, 0), (18, True, 0)]
    # and it is the value after the last step
    assert facts.sql(
        "SELECT count(*) FROM checkpoint_tensor t JOIN update u ON t.name = u.param AND t.data = u.after "
        "WHERE t.point = 'saved' AND u.nth = 1"
    ) == [(6,)]


def test_what_does_not_fit_is_named(record: Any, tmp_path: Path):
    def train() -> None:
        model, _ = trained()
        state = {f"module.{key}": value.clone() for key, value in model.state_dict().items()}
        del state["module.2.bias"]
        state["module.head.weight"] = torch.ones(1)
        torch.save(state, tmp_path / "part.pt")
        model.load_state_dict(torch.load(tmp_path / "part.pt"), strict=False)
        other = {"0.weight": torch.ones(3, 2, dtype=torch.float64), "epoch": 1}
        model.load_state_dict(other, strict=False)

    facts = record(train)
    assert facts("checkpoint_model", "module", "keys", "missing", "unexpected", "shared") == [
        ("Sequential", 9, 1, 1, 0),
        ("Sequential", 9, 9, 9, 0),
        ("Sequential", 2, 8, 1, 0),
    ]
    assert facts("model_loaded", "keys", "missing", "unexpected", "strict") == [
        (9, 9, 9, False),
        (2, 8, 1, False),
    ]
    save, prefixed, other = [*facts("checkpoint_saved", "call"), *facts("model_loaded", "call")]
    keys = [*NAMES, "2.weight", "2.bias"]
    assert facts("checkpoint_key", "key", "kind", where=f"call = {save}") == [
        ("2.bias", "missing"),
        ("head.weight", "unexpected"),
    ]
    assert sorted(facts("checkpoint_key", "key", where=f"call = {prefixed} AND kind = 'missing'")) == sorted(
        keys
    )
    assert facts("checkpoint_key", "key", where=f"call = {other} AND kind = 'unexpected'") == ["epoch"]
    # with another prefix nothing arrives: what the model holds is not what it was given
    given = (
        "SELECT count(*), bool_or(a.data = b.data) FROM checkpoint_tensor a JOIN checkpoint_tensor b "
        "USING (call, key) WHERE a.point = 'given' AND b.point = 'held' AND call = "
    )
    assert facts("checkpoint_tensor", "key", "dtype", "point", where=f"call = {other}") == [
        ("0.weight", "float64", "given"),
        ("0.weight", "float32", "held"),
    ]
    assert facts.sql(f"{given}{other}") == [(1, False)]


def test_many_tensors_are_few_facts(record: Any, tmp_path: Path):
    facts = record(
        lambda: torch.save([torch.full((1,), float(i)) for i in range(1000)], tmp_path / "many.pt"),
        gaps=True,
    )
    assert facts.gaps("relation", "why") == [("checkpoint_tensor", WHY_MANY)]
    keys = [int(key) for key in facts("checkpoint_tensor", "key")]
    assert keys == list(range(0, 1000, 16))


def test_a_state_is_told_by_its_form():
    model, adam = trained()
    found = inspect({"generator": model.state_dict(), "optimizer": adam.state_dict()})
    # a step counter inside of an optimizer's state is no position, and a network no random generator
    assert (found.model, found.optimizer, found.rng, found.position) == (True, True, False, False)
    found = inspect({"trainer": {"global_step": 4, "python_rng": (3, (1, 2), None)}, "net": model})
    assert (found.model, found.rng, found.position) == (True, True, True)
    assert found.keys[0] == "net.0.weight" and len(found.tensors) == 9


@pytest.mark.parametrize("loaded", [False, True])
def test_safetensors_are_checkpoints(
    loaded: bool, record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its functions are watched whether it is imported before or while the recording goes on."""
    pytest.importorskip("safetensors.torch")
    if not loaded:
        monkeypatch.delitem(sys.modules, "safetensors.torch")
    finders = list(sys.meta_path)

    def train() -> None:
        from safetensors.torch import load_file, load_model, save_file, save_model

        model, _ = trained()
        save_file(model.state_dict(), tmp_path / "a.safetensors")
        model.load_state_dict(load_file(str(tmp_path / "a.safetensors")))
        save_model(model, str(tmp_path / "b.safetensors"))
        load_model(model, str(tmp_path / "b.safetensors"))

    facts = record(train)
    apis = facts("call", "api", where="api LIKE 'safetensors%'")
    assert apis == [f"safetensors.torch.{name}_file" for name in ("save", "load", "save", "load")]
    assert facts("checkpoint_saved", "model", "optimizer") == [(True, False)] * 2
    assert facts("checkpoint_loaded", "model", "saved_here") == [(True, True)] * 2
    (first, second) = facts("checkpoint_loaded", "call")
    assert facts("model_loaded", "checkpoint", "missing", "unexpected") == [(first, 0, 0), (second, 0, 0)]
    found = facts("checkpoint_tensor", "point", "key", "data", where=f"call <= {first}")
    saved = {(key, data) for point, key, data in found if point == "saved"}
    assert saved and saved == {(key, data) for point, key, data in found if point == "read"}
    assert sys.meta_path == finders


def test_a_state_that_was_kept_without_a_copy(record: Any):
    def train() -> None:
        model, _ = trained()
        kept, copied = model.state_dict(), copy.deepcopy(model.state_dict())
        copied["2.bias"] = kept["2.bias"]
        model.load_state_dict(kept)
        model.load_state_dict(copied)
        model.load_state_dict({f"module.{key}": value for key, value in kept.items()}, strict=False)

    facts = record(train)
    assert facts("checkpoint_model", "keys", "shared") == [(9, 9), (9, 1), (9, 9)]


def test_schedulers_that_are_loaded(record: Any):
    class Own(torch.optim.lr_scheduler.LambdaLR):
        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            super().load_state_dict(state_dict)

    def train() -> None:
        _, adam = trained()
        schedulers = torch.optim.lr_scheduler
        both = [schedulers.StepLR(adam, 1), schedulers.ExponentialLR(adam, 0.9)]
        for scheduler in (
            schedulers.StepLR(adam, 2),
            schedulers.ReduceLROnPlateau(adam),
            schedulers.SequentialLR(adam, both, [2]),
            Own(adam, lambda n: 0.5),
        ):
            scheduler.load_state_dict(scheduler.state_dict())
        with pytest.raises(TypeError):
            both[0].load_state_dict(None)

    facts = record(train)
    names = ["StepLR", "ReduceLROnPlateau", "SequentialLR", "Own"]
    loaded = facts("scheduler_loaded", "scheduler", "optimizer")
    assert [name.partition("#")[0] for name, _ in loaded] == names
    assert {optimizer for _, optimizer in loaded} == {"Adam#0"}
    assert facts.sql(
        "SELECT DISTINCT api, object = scheduler FROM scheduler_loaded JOIN call USING (call)"
    ) == [("torch.optim.lr_scheduler.LRScheduler.load_state_dict", True)]
    assert facts.gaps() == []
