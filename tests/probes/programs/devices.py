"""A device that is none: tensors of the host stand for those of a device, and marks are passed when they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch


class StandIn:
    """The kit of a device whose results come when `pace` says so.

    Args:
        pace: called when a mark is asked for; whether the device has passed it.
        holds: which tensors lie on the device; by default all.
    """

    def __init__(
        self,
        pace: Callable[[int], bool] = lambda number: True,
        holds: Callable[[torch.Tensor], bool] = lambda tensor: True,
    ) -> None:
        self.pace, self.on_device = pace, holds
        self.marks = 0
        self.capturing = False
        #: States of the device's generator, as it is going to be asked.
        self.states: list[torch.Tensor] = []
        self.fetched: list[tuple[torch.Tensor, torch.Tensor]] = []

    def holds(self, tensor: torch.Tensor) -> bool:
        return self.on_device(tensor)

    def captures(self) -> bool:
        return self.capturing

    def generator(self) -> torch.Tensor | None:
        return self.states.pop(0) if self.states else None

    def constant(self, host: torch.Tensor, device: torch.device) -> torch.Tensor:
        return host.clone()

    def mark(self, device: torch.device) -> int:
        self.marks += 1
        return self.marks

    def fetch(self, result: torch.Tensor) -> torch.Tensor:
        """Nothing is in the host's memory before the mark behind it is passed."""
        host = torch.full_like(result, -1)
        self.fetched.append((host, result))
        return host

    def passed(self, mark: int) -> bool:
        if not self.pace(mark):
            return False
        for host, result in self.fetched:
            host.copy_(result)
        self.fetched.clear()
        return True

    def seconds(self, first: int, last: int) -> float:
        return 0.0


def every(number: int) -> Callable[[int], bool]:
    """A device whose answers come in bursts: at every so many questions whether they are there."""
    asked: Iterator[Any] = iter(range(1, 10**9))
    return lambda _mark: next(asked) % number == 0


class Told:
    """A device that answers nothing before it is told that the training is over."""

    over = False

    def __call__(self, _mark: int) -> bool:
        return self.over


told = Told()
