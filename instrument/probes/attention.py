"""Functions of attention: what a place may look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcrules.instrument.probes.compiling import in_graph
from tcrules.instrument.probes.context import context, in_backward
from tcrules.instrument.probes.patching import Gate, argument
from tcrules.instrument.probes.transforms import WHY, in_transform
from torch.nn import functional

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("attention_call",)
#: Function -> position of the mask, name and position of the flag.
FUNCTIONS: dict[str, tuple[int, str, int]] = {
    "scaled_dot_product_attention": (3, "is_causal", 5),
    "multi_head_attention_forward": (16, "is_causal", 24),
}


class Attention:
    """Writes `attention_call`; fused kernels that are called directly are not seen."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._put = shared.session.put("attention_call")

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        """A function is called; nested ones belong to the outermost."""
        if "attention" in context.busy or (context.root is not None and not context.sampled):
            return None
        if in_graph() or (context.root is None and in_backward()):
            return None  # inside of compiled code, or computed again by a checkpoint
        if in_transform():
            self.shared.session.gap("attention_call", WHY)
            return None
        step = self.shared.clock.step
        if context.root is None and not self.shared.governor.looks(step, "attention_call"):
            return None
        mask, flag, flag_at = FUNCTIONS[name]
        causal = bool(argument(args, kwargs, flag_at, flag, False))
        masked = argument(args, kwargs, mask, "attn_mask") is not None
        module = "" if context.root is None else self.shared.names.module(context.modules[-1])
        api = f"torch.nn.functional.{name}"
        self._put(context.forward, module, api, step, self.shared.tick(), causal, masked)
        context.busy.add("attention")
        return name


def install(shared: Shared) -> Attention:
    """Patch the functions."""
    attention = Attention(shared)
    guard = shared.guard("attention")

    def after(_token: object, _result: Any, _raised: bool) -> None:
        context.busy.discard("attention")

    for name in FUNCTIONS:

        def before(args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> object:
            return attention.before(name, args, kwargs)

        shared.patches.around(functional, name, guard(before), after, Gate(shared.governor))
    return attention
