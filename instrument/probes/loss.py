"""Loss functions: what they are given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.compiling import in_graph
from tcrules.instrument.probes.context import context, dtype_name, in_backward, records_grad
from tcrules.instrument.probes.patching import argument
from tcrules.instrument.probes.transforms import WHY as WHY_TRANSFORM
from tcrules.instrument.probes.transforms import in_transform
from tcrules.instrument.probes.values import placed
from torch.nn import functional

if TYPE_CHECKING:
    from tcrules.instrument.probes.data import Batches
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("loss_call",)
#: Functions of input and target.
FUNCTIONS = (
    "cross_entropy",
    "nll_loss",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "ctc_loss",
    "poisson_nll_loss",
    "gaussian_nll_loss",
    "soft_margin_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "hinge_embedding_loss",
)
#: Values are looked at in so many rows, evenly spaced.
MAX_ROWS, MAX_VALUES = 64, 16384


class Losses:
    """Writes `loss_call`."""

    def __init__(self, shared: Shared, batches: Batches) -> None:
        self.shared, self.batches = shared, batches
        self.clock = shared.clock
        self._put = shared.session.put("loss_call")

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """A loss function is called."""
        if in_graph() or (context.root is None and in_backward()):
            return None  # inside of compiled code, or computed again by a checkpoint
        if not self.shared.governor.looks(self.clock.step, "loss_call", "batch_use"):
            return "", None  # a fact of `call` only
        given, target = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "target")
        if given is None:
            given = kwargs.get("log_probs", kwargs.get("log_input"))
        if target is None:
            target = kwargs.get("targets")
        return "", (given, target) if isinstance(given, torch.Tensor) else None

    def leave(self, frame: Frame, token: Any, _result: Any, _raised: bool) -> None:
        """It returned."""
        if token is None:
            return
        if in_transform():
            self.shared.session.gap("loss_call", WHY_TRANSFORM)
            return
        given, target = token
        is_tensor = isinstance(target, torch.Tensor)
        if is_tensor:
            self.batches.used(frame.call, "target", target, frame.step, frame.begin)
        plain, late = placed(given), self.shared.late
        if plain is None or plain.numel() == 0 or plain.is_complex():
            self.shared.unread("loss_call", frame.step)
            return
        about = (
            *(frame.call, frame.api, frame.step, frame.begin, records_grad()),
            *(_shape(given), _shape(target) if is_tensor else ""),
            *(dtype_name[given.dtype], dtype_name[target.dtype] if is_tensor else ""),
        )
        if late is not None and late.holds(plain):
            ask = late.ask()
            found = [ask.number(plain, part) for part in (lowest, highest, deviation)]
            ask.then("loss", self._write, about, *found)
        elif plain.is_cpu:
            with torch.no_grad():
                rows = sampled_rows(plain.detach())
                low, high = (float(value) for value in torch.aminmax(rows))
                self._write(about, low, high, float(sums_off(rows)) if low >= 0 else math.inf)
        else:
            self.shared.unread("loss_call", frame.step)

    def _write(
        self, about: tuple[Any, ...], low: float | None, high: float | None, off: float | None
    ) -> None:
        if low is None or high is None or off is None:
            self.shared.unread("loss_call", about[2])
        else:
            self._put(*about, low, high, low >= 0 and off < 1e-3)


def lowest(given: torch.Tensor) -> torch.Tensor:
    """Return the smallest value in a sample of the rows of an input."""
    return sampled_rows(given).amin()


def highest(given: torch.Tensor) -> torch.Tensor:
    """Return the largest value in a sample of the rows of an input."""
    return sampled_rows(given).amax()


def deviation(given: torch.Tensor) -> torch.Tensor:
    """Return by how much the sums of a sample of rows are off one, at most."""
    return sums_off(sampled_rows(given))


def sums_off(rows: torch.Tensor) -> torch.Tensor:
    """Return by how much sums of rows are off one, at most; infinity where rows have a single value."""
    if rows.shape[1] < 2:
        return rows.new_full((), math.inf)
    return (rows.sum(1) - 1).abs().max()


def sampled_rows(given: torch.Tensor) -> torch.Tensor:
    """Return a sample of the rows of an input."""
    rows = given.reshape(-1, given.shape[1], *given.shape[2:]) if given.dim() > 1 else given.reshape(1, -1)
    rows = rows[:: max(1, rows.shape[0] // MAX_ROWS)]
    if rows.numel() > MAX_VALUES and rows.dim() > 2:
        rows = rows.flatten(2)[
            :, :, :: max(1, rows[0, 0].numel() * rows.shape[0] * rows.shape[1] // MAX_VALUES)
        ]
    return rows.float()


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape)


def install(shared: Shared, batches: Batches) -> None:
    """Patch the functions; the modules (`nn.CrossEntropyLoss`) call them."""
    losses = Losses(shared, batches)
    for name in FUNCTIONS:
        api = f"torch.nn.functional.{name}"
        shared.watch("loss", functional, name, api, losses.enter, losses.leave, family="loss")
