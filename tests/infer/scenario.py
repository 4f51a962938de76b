"""Facts of one rich training: two ranks, accumulation, a scaler, a schedule, an average of the model, checkpoints."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tcrules.engine.ir import Program
from tcrules.engine.vector import VectorStore

from .helping import memory_facts

Facts: TypeAlias = dict[str, list[dict[str, Any]]]

EPOCHS, BATCHES, PASSES, RANKS = 3, 4, 2, 2
PARAMS = ("Net.a.weight", "Net.b.weight")
FROZEN = "Net.base.weight"
OPTIMIZER, SCHEDULER, SCALER = "SGD#0", "LambdaLR#0", "GradScaler#0"
TRAIN, EVALUATE = "DataLoader#0", "DataLoader#1"


def bits(*key: object) -> int:
    """A fingerprint of something with this name."""
    return random.Random(repr(key)).getrandbits(60)


@dataclass
class Training:
    """Writes the facts of one rank, event by event."""

    facts: Facts
    seed: int
    rank: int
    plain: bool
    at: int = 0
    calls: int = 0
    step: int = 0
    now: Mapping[str, Any] = field(default_factory=dict)

    def put(self, relation: str, **columns: Any) -> None:
        self.facts[relation].append({"rank": self.rank, **columns})

    def call(self) -> int:
        self.calls += 1
        return 100_000 * self.rank + self.calls

    def time(self) -> int:
        self.at += 1
        return self.at

    def run(self) -> None:
        self.structure()
        self.load()
        for epoch in range(EPOCHS):
            self.put("epoch", loader=TRAIN, epoch=epoch, step=self.step, at=self.time(), sampler_epoch=epoch)
            for index in range(BATCHES):
                self.one_step(epoch, index)
                self.step += 1
            self.end_of_epoch(epoch)

    # fmt: off
    def structure(self) -> None:
        self.put("process", pid=self.rank, role="trainer", world_size=RANKS, distributed=True)
        self.put("optimizer", optimizer=OPTIMIZER, **{"class": "SGD"})
        self.put("scheduler", scheduler=SCHEDULER, optimizer=OPTIMIZER, **{"class": "LambdaLR"})
        self.put("module", module="Net", root="Net", kind="other", **{"class": "Net"})
        self.put("copy", root="Ema", source="Net", at=1)
        self.put("module", module="Net.gru", root="Net", kind="rnn", **{"class": "GRU"})
        self.put("setting", kind="module", object="Net.gru", key="batch_first", value="true")
        for loader, shuffle in ((TRAIN, True), (EVALUATE, False)):
            self.put("loader", loader=loader, shuffle=shuffle, batch_size=8, length=BATCHES)
        self.put("config", key="lr", value="0.1", source="frame", container="args", numeric=True, number=0.1)
        self.put("config", key="accumulate", value="2", source="argv", numeric=True, number=float(PASSES))
        self.put("setting", kind="optimizer", object=OPTIMIZER, key="lr", value="0.1", numeric=True, number=0.1)
        for param in (*PARAMS, FROZEN):
            trains = param != FROZEN
            self.put("parameter", param=param, root="Net", trainable=trains, dtype="float32", owners=1,
                     **{"class": "Linear"})
            self.put("trainability", param=param, trainable=trains, step=0, at=self.time())
            if trains:
                self.put("member", optimizer=OPTIMIZER, param=param, group=0, since=self.time())

    def load(self) -> None:
        call, at = self.call(), self.time()
        self.put("checkpoint_saved", call=call, path="start.pt", step=0, at=at, model=True, optimizer=True,
                 scheduler=True)
        self.put("checkpoint_model", call=call, module="Net", keys=3)
        read, given = self.call(), self.call()
        self.put("checkpoint_loaded", call=read, path="start.pt", step=0, at=self.time(), model=True, optimizer=True)
        self.put("model_loaded", call=given, module="Net", step=0, at=self.time(), checkpoint=read, keys=3, strict=True)
        self.put("checkpoint_model", call=given, module="Net", keys=3)
        self.put("optimizer_loaded", call=self.call(), optimizer=OPTIMIZER, step=0, at=self.time(), checkpoint=read)
        self.put("scheduler_loaded", call=self.call(), scheduler=SCHEDULER, optimizer=OPTIMIZER, step=0, at=self.time())
        for point, of in (("saved", call), ("read", read), ("given", given), ("held", given)):
            for param in PARAMS:
                self.put("checkpoint_tensor", call=of, point=point, key=param, name=param, dtype="float32",
                         size=4, data=self.value(param, 0))

    def value(self, param: str, step: int) -> int:
        return bits(self.seed, param, 0 if param == FROZEN else step)

    def one_step(self, epoch: int, index: int) -> None:
        self.now = {"loader": TRAIN, "epoch": epoch, "index": index}
        self.batch()
        for param in (*PARAMS, FROZEN):
            self.put("param_state", param=param, root="Net", step=self.step, at=self.time(),
                     data=self.value(param, self.step), finite=True)
        for number in range(PASSES):
            self.one_pass(number)
        if not self.plain:
            self.unscale_and_clip()
        self.reduce()
        self.update()
        self.afterwards()

    def batch(self) -> None:
        at = self.time()
        self.put("batch", **self.now, worker=-1, step=self.step, at=at, size=8,
                 data=bits(self.seed, self.rank, self.step))
        for name, dtype in (("0", "float32"), ("1", "int64")):
            self.put("batch_field", **self.now, worker=-1, step=self.step, at=at, field=name, dtype=dtype,
                     data=bits(self.seed, self.rank, self.step, name))
        for place in range(2):
            sample = 100 * self.rank + 2 * int(self.now["index"]) + place
            self.put("batch_sample", **self.now, place=place, sample=sample, step=self.step, at=at, input_field="0",
                     label_field="1", input=bits(sample), label=bits("label", sample))

    def one_pass(self, number: int) -> None:
        step, forward = self.step, self.call()
        self.put("forward", call=forward, module="Net", step=step, begin=self.time(), end=self.time(), training=True,
                 grad=True, loader=TRAIN, input=bits(self.seed, self.rank, step, number), mode_on=1)
        self.arguments(forward, number)
        self.put("layer_gradient", forward=forward, module="Net.a", step=step, at=self.at, input=True, output=True)
        self.put("attention_call", forward=forward, module="Net.a", api="sdpa", step=step, at=self.at, causal=True)
        self.put("dropout_call", forward=forward, module="Net.a", api="dropout", step=step, at=self.at,
                 root_training=True)
        self.put("rng", forward=forward, step=step, source="torch", before=bits(self.seed, step, number),
                 after=bits(self.seed, step, number, "after"))
        self.put("module_call", forward=forward, module="Net.a", step=step, at=self.at, training=True, grad=True,
                 input_dtype="float32", weight_dtype="float32", output_dtype="float32",
                 **{"class": "Linear"})
        self.put("batch_use", **self.now, call=forward, role="input", step=step, at=self.at, field="0", same=True)
        for api, target in (("mse_loss", "8x4"), ("cross_entropy", "8")):
            self.put("loss_call", call=self.call(), api=api, step=step, at=self.time(), grad=True, input_shape="8x4",
                     target_shape=target, input_dtype="float32", target_dtype="int64")
        self.put("batch_use", **self.now, call=self.calls, role="target", step=step, at=self.time(), field="1",
                 same=True)
        if not self.plain:
            self.put("scaler_scale", call=self.call(), scaler=SCALER, step=step, at=self.time(), scale=64.0)
        backward = self.call()
        self.put("backward", call=backward, step=step, begin=self.time(), end=self.time(), loss=1.0, finite=True)
        self.put("loss_graph", call=backward, step=step, at=self.at, made="DivBackward0(MseLossBackward0)")
        self.put("forward_reached", forward=forward, module="Net", step=step, at=self.at, reached=True)
        how = "reduced" if number == PASSES - 1 else "local"
        for param in PARAMS:
            self.put("accumulate", call=backward, param=param, optimizer=OPTIMIZER, nth=step, step=step, at=self.at,
                     onto="nonzero" if number else "none")
            norm = 0.25 * (number + 1)
            self.gradient_point(backward, "backward", param, norm if self.plain else 64.0 * norm, how)
        outer, inner = self.call(), self.call()
        self.put("call", call=outer, api="pack.loss", step=step, begin=self.time(), end=self.time() + 2)
        self.put("call", call=inner, api="torch.relu", parent=outer, step=step, begin=self.at, end=self.time())
        self.put("signature", call=inner, step=step, given="float32[8, 4], 2", result="float32[8, 1]")

    def arguments(self, forward: int, number: int) -> None:
        """Windows of three steps, again and again: a state is carried on within a window."""
        place = self.step % 3
        for argument, kind in (("0", "tensor"), ("state", "tensor" if place else "none")):
            what = (place, number) if argument == "0" else (self.step, number, argument)
            self.put("forward_argument", forward=forward, module="Net", step=self.step, at=self.at, argument=argument,
                     kind=kind, data=bits(self.seed, self.rank, *what) if kind == "tensor" else 0)

    def gradient_point(self, call: int, point: str, param: str, norm: float, reduced: str) -> None:
        self.put("gradient_point", call=call, point=point, param=param, optimizer=OPTIMIZER, nth=self.step,
                 step=self.step, at=self.at, norm=norm, reduced=reduced, data=bits(self.seed, param, self.step),
                 **{"class": "nonzero"})

    def unscale_and_clip(self) -> None:
        step, unscale, clip = self.step, self.call(), self.call()
        self.put("scaler_unscale", call=unscale, scaler=SCALER, optimizer=OPTIMIZER, step=step, at=self.time())
        for param in PARAMS:
            self.gradient_point(unscale, "unscaled", param, 2.0, "reduced")
        self.put("clip", call=clip, kind="norm", optimizer=OPTIMIZER, step=step, at=self.time(), limit=1.0,
                 norm=3.0, params=2)
        for param in PARAMS:
            self.gradient_point(clip, "clipped", param, 0.5, "reduced")

    def reduce(self) -> None:
        step, collective = self.step, self.call()
        self.put("collective", call=collective, group="world", nth=step, op="all_reduce", dtype="float32", shape="1",
                 step=step, at=self.time(), reduction="sum", size=RANKS)
        self.put("collective_data", call=collective, group="world", nth=step, op="all_reduce", role="result", step=step,
                 at=self.time(), data=bits(self.seed, step, "sum"))

    def update(self) -> None:
        step, call, begin = self.step, self.call(), self.time()
        owner = {"optimizer": OPTIMIZER, "nth": step, "step": step}
        for param in PARAMS:
            self.put("gradient", call=call, optimizer=OPTIMIZER, param=param, step=step, at=begin, norm=0.5,
                     data=bits(self.seed, param, step), trainable=True, **{"class": "nonzero"})
            self.put("update", call=call, param=param, **owner, lr=0.1, before=self.value(param, step),
                     after=self.value(param, step + 1), finite=True, **{"class": "nonzero"})
            self.put("optimizer_slot", call=call, param=param, **owner, kinds="momentum_buffer", dtype="float32",
                     fits=True, counter=step + 1, data=bits(self.seed, param, step, "slot"))
        self.put("param_group", call=call, **owner, group=0, lr=0.1 * 0.9**step, weight_decay=0.01)
        self.put("optimizer_state", call=call, **owner, filled=2, counter=step + 1)
        self.put("optimizer_step", call=call, **owner, begin=begin, end=self.time())
        if not self.plain:
            scaler = {"scaler": SCALER, "step": step}
            self.put("scaler_step", call=self.call(), **scaler, optimizer=OPTIMIZER, at=self.time())
            self.put("scaler_update", call=self.call(), **scaler, at=self.time(), before=64.0, after=64.0)
        self.put("zero_grad", call=self.call(), object=OPTIMIZER, step=step, at=self.time(), set_to_none=True)
        self.put("scheduler_step", call=self.call(), scheduler=SCHEDULER, optimizer=OPTIMIZER, nth=step, step=step,
                 at=self.time(), before=0.1 * 0.9**step, after=0.1 * 0.9 ** (step + 1))

    def afterwards(self) -> None:
        step = self.step
        buffers = bits(self.seed, step, "buffers")
        self.put("copy_state", root="Ema", source="Net", step=step, at=self.time(), buffers=buffers,
                 source_buffers=buffers)
        self.put("metric", step=step, name="accuracy", value=0.5 + 0.01 * step)

    def end_of_epoch(self, epoch: int) -> None:
        step = self.step - 1
        self.put("epoch_end", loader=TRAIN, epoch=epoch, step=step, at=self.time(), batches=BATCHES, samples=32,
                 distinct=32, dataset=64, order=bits(self.seed, self.rank, epoch))
        self.put("epoch", loader=EVALUATE, epoch=epoch, step=step, at=self.time(), sampler_epoch=-1)
        self.put("generation", call=self.call(), module="Net", step=step, at=self.time(), max_new_tokens=4, prompt=3,
                 returned=7)
        call, at = self.call(), self.time()
        self.put("checkpoint_saved", call=call, path=f"{epoch}.pt", step=step, at=at, model=True, optimizer=True,
                 scheduler=True)
        self.put("checkpoint_model", call=call, module="Net", keys=3)
        for param in PARAMS:
            self.put("checkpoint_tensor", call=call, point="saved", key=param, name=param, dtype="float32", size=4,
                     data=self.value(param, self.step))
    # fmt: on


def scenario(seed: int, *, plain: bool = False) -> Facts:
    """The facts of a healthy run; a plain one neither scales losses nor clips gradients."""
    facts: Facts = defaultdict(list)
    for rank in range(RANKS):
        Training(facts, seed, rank, plain).run()
    return facts


def in_memory(facts: Facts, program: Program) -> VectorStore:
    """A store with the facts; columns that a fact leaves out have the neutral value of their type."""
    return VectorStore.from_memory(memory_facts(facts), program)
