"""Facts of a small training loop, with what tests want to be odd about it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OPTIMIZER = "SGD#0"
PARAMS = ("Net.h.0.weight", "Net.h.0.bias", "Net.h.1.weight", "Net.h.1.bias")


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A loop: `window` passes of forward and backward, step, zero_grad.

    `frozen` parameters get no gradient, `stuck` ones do not change, `split` ones are sharded, so that each rank has
    values of its own.
    """

    steps: int = 8
    params: Sequence[str] = PARAMS
    frozen: Sequence[str] = ()
    ranks: int = 1
    split: Sequence[str] = ()
    window: int = 1
    stuck: Sequence[str] = ()
    root: str = "Net"


def training(seed: int, **settings: Any) -> dict[str, list[dict[str, Any]]]:
    """The facts of a loop; keywords are the attributes of `Loop`."""
    loop = Loop(**settings)
    shared = values(random.Random(seed), loop)
    facts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rank in range(loop.ranks):
        Rank(facts, loop, rank, shared, random.Random(1000 * seed + rank)).run()
    return facts


def values(rng: random.Random, loop: Loop) -> dict[tuple[str, int], int]:
    """Fingerprints of the parameters before each step and after the last."""
    return {(param, step): rng.getrandbits(60) for param in loop.params for step in range(loop.steps + 1)}


class Rank:
    """Writes down what one rank does."""

    def __init__(
        self,
        facts: dict[str, list[dict[str, Any]]],
        loop: Loop,
        rank: int,
        shared: dict[tuple[str, int], int],
        rng: random.Random,
    ) -> None:
        self.facts, self.loop, self.rank, self.shared, self.rng = facts, loop, rank, shared, rng
        self.own = values(rng, loop)
        self.at, self.call = 0, 100_000 * rank

    def put(self, relation: str, **columns: Any) -> None:
        """Add a fact of this rank."""
        self.facts[relation].append({"rank": self.rank, **columns})

    def value(self, param: str, step: int) -> int:
        """The fingerprint of a parameter before a step."""
        step = 0 if param in self.loop.frozen or param in self.loop.stuck else step
        return (self.own if param in self.loop.split else self.shared)[param, step]

    def run(self) -> None:
        """The whole training."""
        self.build()
        for step in range(self.loop.steps):
            self.look(step)
            for n in range(self.loop.window):
                self.forward_and_backward(step, n)
            self.step(step)

    def build(self) -> None:
        root = self.loop.root
        self.put("module", module=root, root=root, kind="other", **{"class": root})
        self.put("optimizer", optimizer=OPTIMIZER, **{"class": "SGD"})
        for param in self.loop.params:
            trainable, split = param not in self.loop.frozen, param in self.loop.split
            about = {
                "class": "Linear",
                "dtype": "float32",
                "owners": 1,
                "trainable": trainable,
                "split": split,
            }
            self.put("parameter", param=param, root=root, **about)
            self.put("member", optimizer=OPTIMIZER, param=param)

    def look(self, step: int) -> None:
        for param in self.loop.params:
            self.at += 1
            data = self.value(param, step)
            self.put(
                "param_state", param=param, root=self.loop.root, step=step, at=self.at, data=data, finite=True
            )

    def forward_and_backward(self, step: int, n: int) -> None:
        self.call, self.at = self.call + 2, self.at + 4
        root, backward = self.loop.root, self.call + 1
        flags = {"class": root, "training": True, "grad": True}
        self.put("forward", call=self.call, module=root, step=step, begin=self.at, end=self.at + 1,
                 input=self.rng.getrandbits(60), **flags)  # fmt: skip
        self.put("backward", call=backward, step=step, begin=self.at + 2, end=self.at + 3, finite=True)
        for param in self.loop.params:
            if param not in self.loop.frozen:
                self.put("accumulate", call=backward, param=param, optimizer=OPTIMIZER, nth=step, step=step,
                         at=self.at + 3, onto="none" if n == 0 else "nonzero")  # fmt: skip

    def step(self, step: int) -> None:
        self.call, self.at = self.call + 2, self.at + 6
        here = {"call": self.call, "optimizer": OPTIMIZER, "step": step}
        self.put("optimizer_step", **here, nth=step, begin=self.at, end=self.at + 2)
        self.put("param_group", **here, nth=step, lr=0.1)
        for param in self.loop.params:
            trainable = param not in self.loop.frozen
            kind = {"class": "nonzero" if trainable else "none"}
            self.put("gradient", **here, **kind, param=param, at=self.at, norm=1.0, data=self.shared[param, step],
                     trainable=trainable)  # fmt: skip
            self.put("update", **here, **kind, param=param, nth=step, lr=0.1, finite=True,
                     before=self.value(param, step), after=self.value(param, step + 1))  # fmt: skip
        self.put("zero_grad", call=self.call + 1, object=OPTIMIZER, step=step, at=self.at + 4)
        self.call, self.at = self.call + 2, self.at + 5
