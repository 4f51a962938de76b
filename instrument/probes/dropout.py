"""Functions that drop values at random, called with p > 0 and active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.probes.compiling import in_graph
from tcrules.instrument.probes.context import context, in_backward, records_grad
from tcrules.instrument.probes.patching import Gate, argument
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("dropout_call",)
#: Function -> position of p, default of p, position of `training` (-1: it drops whenever p > 0), its default.
FUNCTIONS: dict[str, tuple[int, float, int, bool]] = {
    "dropout": (1, 0.5, 2, True),
    "dropout1d": (1, 0.5, 2, True),
    "dropout2d": (1, 0.5, 2, True),
    "dropout3d": (1, 0.5, 2, True),
    "alpha_dropout": (1, 0.5, 2, False),
    "feature_alpha_dropout": (1, 0.5, 2, False),
    "scaled_dot_product_attention": (4, 0.0, -1, True),
    "multi_head_attention_forward": (10, 0.0, 13, True),
}


class Dropout:
    """Writes `dropout_call`; `torch.dropout` and fused kernels called directly are not seen."""

    def __init__(self, shared: Shared) -> None:
        self.clock, self.tick, self.governor = shared.clock, shared.tick, shared.governor
        self._put = shared.session.put("dropout_call")

    def write(self, api: str, p: float, module: nn.Module | None = None) -> None:
        """Write a call inside of `module`, by default the innermost that runs."""
        if context.root is None:
            step = self.clock.step
            if self.governor.looks(step, "dropout_call"):
                self._put(0, "", api, step, self.tick(), p, False, False, records_grad())
            return
        inner = module or context.modules[-1]
        self._put(
            context.forward,
            self._name(inner),
            api,
            self.clock.step,
            self.tick(),
            p,
            inner.training,
            context.root.training,
            records_grad(),
        )

    _name: Callable[[nn.Module], str]

    def bind(self, name: Callable[[nn.Module], str]) -> None:
        """Set how modules are named."""
        self._name = name

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        """A function is called; nested ones (attention calls dropout) belong to the outermost."""
        if "dropout" in context.busy or (context.root is not None and not context.sampled):
            return None
        if context.root is None and in_backward():
            return None  # computed again by a checkpoint
        if in_graph():
            return None  # which module calls is not known
        at, p, flag_at, flag = FUNCTIONS[name]
        rate = argument(args, kwargs, at, "dropout_p" if "attention" in name else "p", p)
        if not rate > 0 or (flag_at >= 0 and not argument(args, kwargs, flag_at, "training", flag)):
            return None
        context.busy.add("dropout")
        self.write(f"torch.nn.functional.{name}", float(rate))
        return name

    def recurrent(self, module: nn.Module) -> None:
        """A recurrent network was called: it drops between its layers, inside of one kernel."""
        if (
            isinstance(module, nn.RNNBase)
            and module.training
            and module.dropout > 0
            and module.num_layers > 1
        ):
            self.write(f"torch.nn.{type(module).__name__}.forward", float(module.dropout), module)


def install(shared: Shared) -> Dropout:
    """Patch the functions."""
    dropout = Dropout(shared)
    dropout.bind(shared.names.module)
    guard = shared.guard("dropout")

    def after(_token: object, _result: Any, _raised: bool) -> None:
        context.busy.discard("dropout")

    for name in FUNCTIONS:

        def before(args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> object:
            return dropout.before(name, args, kwargs)

        shared.patches.around(functional, name, guard(before), after, Gate(shared.governor))
    return dropout
