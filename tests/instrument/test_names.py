"""Objects have one stable name, whatever is known first and whatever wraps them."""

from __future__ import annotations

import copy
import gc
import json
import struct

import pytest
import torch
from tcrules.instrument.names import Names, ambiguous_paths, resolve, unwrap, walk
from torch import nn


class Book:
    """Names with what a reader would make of them."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str | None, str]] = {}
        self.made: list[str] = []
        self.gone: list[str] = []
        self.names = Names(
            self._write, lambda _, name: self.made.append(name), lambda _, name: self.gone.append(name)
        )

    def _write(self, data: bytes) -> None:
        (length,) = struct.unpack_from("<I", data)
        assert length == len(data) - 4
        handle, root, path = json.loads(data[4:])
        self.records[handle] = (root, path)

    def final(self, handle: str) -> str:
        return resolve(self.records, ambiguous_paths([self.records])).get(handle, "?")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.bn = nn.BatchNorm1d(2)


@pytest.fixture
def book() -> Book:
    return Book()


def test_ordinals_count_per_class_in_order(book: Book):
    model = Net()
    adam = [torch.optim.AdamW(model.parameters()) for _ in range(2)]
    sgd = torch.optim.SGD(model.parameters())
    assert [book.names.optimizer(o) for o in (adam[0], sgd, adam[1], adam[0])] == [
        "AdamW#0",
        "SGD#0",
        "AdamW#1",
        "AdamW#0",
    ]
    assert book.names.loader(torch.utils.data.DataLoader([1])) == "DataLoader#0"
    assert book.made[:3] == ["AdamW#0", "SGD#0", "AdamW#1"]


def test_nothing_is_kept_alive_and_no_id_is_confused(book: Book):
    gc.freeze()  # what other tests left need not be looked through fifty times
    for index in range(50):
        model = Net()
        assert book.names.optimizer(torch.optim.SGD(model.parameters())) == f"SGD#{index}"
        handles = {book.names.param(p) for p in model.parameters()}
        assert len(handles) == 4
        book.names.adopt(model)
        del model
        gc.collect()
    assert len(book.gone) == 50
    assert len(book.names._params) == len(book.names._modules) == 0


def test_a_parameter_seen_first_by_an_optimizer_is_named_by_its_model(book: Book):
    model = Net()
    loose = torch.zeros(2, requires_grad=True)
    handle = book.names.owned(model.fc.weight, "AdamW#0", 0, 0)
    other = book.names.owned(loose, "AdamW#0", 1, 3)
    assert book.final(handle) == "AdamW#0.group0[0]"
    assert book.names.adopt(model)
    assert not book.names.adopt(model)
    assert book.final(handle) == "fc.weight"
    assert book.final(other) == "AdamW#0.group1[3]"
    assert book.final(book.names.model(model)) == "Net"
    assert book.final(book.names.module(model.bn)) == "Net.bn"
    assert book.final(book.names.buffer(model.bn, "running_mean")) == "bn.running_mean"
    assert book.names.root(model.bn) == book.names.module(model)


def test_two_models_prefix_only_what_is_ambiguous(book: Book):
    first, second, odd = Net(), Net(), nn.Sequential(nn.Linear(1, 1))
    for model in (first, second, odd):
        book.names.adopt(model)
    assert [book.final(book.names.param(m.fc.bias)) for m in (first, second)] == [
        "Net.fc.bias",
        "Net#1.fc.bias",
    ]
    assert book.final(book.names.param(odd[0].bias)) == "0.bias"
    assert book.final(book.names.buffer(second.bn, "running_var")) == "Net#1.bn.running_var"
    assert book.names.models() == [first, second, odd]


def test_a_copy_is_a_model_of_its_own(book: Book):
    model = Net()
    book.names.adopt(model)
    twin = copy.deepcopy(model)
    book.names.adopt(twin)
    assert book.final(book.names.param(twin.fc.weight)) == "Net#1.fc.weight"
    assert book.final(book.names.param(model.fc.weight)) == "Net.fc.weight"


def test_a_part_that_ran_alone_is_renamed_by_the_whole(book: Book):
    whole = nn.ModuleDict({"encoder": Net(), "head": nn.Linear(2, 1)})
    part = book.names.model(whole["encoder"])
    weight = book.names.param(whole["encoder"].fc.weight)
    assert (book.final(part), book.final(weight)) == ("Net", "fc.weight")
    book.names.adopt(whole)
    assert (book.final(part), book.final(weight)) == ("ModuleDict.encoder", "encoder.fc.weight")
    assert book.final(book.names.module(whole["encoder"].bn)) == "ModuleDict.encoder.bn"
    assert book.final(book.names.buffer(whole["encoder"].bn, "running_mean")) == "encoder.bn.running_mean"
    assert book.names.models() == [whole]
    assert not book.names.adopt(whole["encoder"]), "running a part of a known model makes no new model"


def test_a_tied_parameter_has_its_first_path(book: Book):
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    book.names.adopt(model)
    book.names.touch()
    book.names.adopt(model)
    assert book.final(book.names.param(model["b"].weight)) == "a.weight"


def test_a_module_shared_by_two_models_stays_with_the_first(book: Book):
    shared = nn.Linear(2, 2)
    first, second = nn.Sequential(shared), nn.ModuleDict({"x": shared})
    book.names.adopt(first)
    book.names.adopt(second)
    assert book.final(book.names.param(shared.weight)) == "0.weight"


def test_new_parameters_are_named_when_the_model_runs_again(book: Book):
    model = Net()
    book.names.adopt(model)
    model.fc = nn.Linear(2, 5)
    model.extra = nn.Parameter(torch.zeros(1))
    handle = book.names.owned(model.extra, "SGD#0", 0, 0)
    book.names.adopt(model)
    assert book.final(handle) == "extra"
    assert book.final(book.names.param(model.fc.weight)) == "fc#1.weight"


def test_what_takes_a_place_over_is_told_apart(book: Book):
    model = Net()
    look = lambda: (book.names.touch(), book.names.adopt(model))  # noqa: E731
    look()
    first, weight = model.fc, model.fc.weight
    model.fc = nn.Sequential(first, nn.Linear(5, 2))  # the first is still there, though elsewhere
    look()
    assert book.final(book.names.module(first)) == "Net.fc.0"
    assert book.final(book.names.param(weight)) == "fc.weight"
    assert book.final(book.names.param(model.fc[1].weight)) == "fc.1.weight"
    model.fc[1].weight = nn.Parameter(torch.zeros(2, 5))
    model.fc[1].bias.data = torch.ones(2)  # the same parameter
    look()
    assert book.final(book.names.param(model.fc[1].weight)) == "fc.1.weight#1"
    assert book.final(book.names.param(model.fc[1].bias)) == "fc.1.bias"
    model.fc[1] = nn.BatchNorm1d(2)
    look()
    assert book.final(book.names.buffer(model.fc[1], "running_mean")) == "fc.1#1.running_mean"
    assert book.final(book.names.module(model.fc[1])) == "Net.fc.1#1"
    for number in range(2, 20):
        model.fc[1] = nn.Linear(2, 2)
        look()
        assert book.final(book.names.module(model.fc[1])) == f"Net.fc.1#{min(number, 16)}"


def test_wrappers_leave_no_trace(book: Book):
    model = Net()
    model.inner = torch.compile(nn.Linear(2, 2))
    wrapped = nn.DataParallel(torch.compile(model))
    assert unwrap(wrapped) is model
    book.names.adopt(wrapped)
    assert book.final(book.names.model(wrapped)) == "Net"
    assert book.final(book.names.param(model.inner._orig_mod.weight)) == "inner.weight"
    assert book.names.wrapper(wrapped) == "DataParallel#0"
    assert [path for path, _ in walk(wrapped)] == ["", "fc", "bn", "inner"]


def test_order_of_walk_is_that_of_named_modules():
    model = nn.Transformer(d_model=4, nhead=1, num_encoder_layers=2, num_decoder_layers=1, dim_feedforward=4)
    assert [path for path, _ in walk(model)] == [path for path, _ in model.named_modules()]


def test_ranks_agree_on_prefixes():
    ranks = [Book(), Book()]
    for rank, book in enumerate(ranks):
        book.names.adopt(Net())
        if rank:
            book.names.adopt(nn.ModuleDict({"fc": nn.Linear(1, 1)}))
    ambiguous = ambiguous_paths([book.records for book in ranks])
    assert "fc.weight" in ambiguous and "bn.weight" not in ambiguous
    names = [set(resolve(book.records, ambiguous).values()) for book in ranks]
    assert "Net.fc.weight" in names[0] and "Net.fc.weight" in names[1]
