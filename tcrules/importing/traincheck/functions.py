"""Names of functions: the trace has the module where a function is defined, rules have the public name."""

from __future__ import annotations

import re
from functools import lru_cache

STEP, ZERO, MODULE_ZERO = (
    "torch.optim.Optimizer.step", "torch.optim.Optimizer.zero_grad", "torch.nn.Module.zero_grad",
)  # fmt: skip
SCALER_STEP, RANK, WORLD = (
    "torch.amp.GradScaler.step", "torch.distributed.get_rank", "torch.distributed.get_world_size",
)  # fmt: skip
BACKWARD = "torch.Tensor.backward"
SEEDS = ("torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all")

#: In order; the first that fits is used.
_RULES = tuple(
    (re.compile(pattern), public)
    for pattern, public in (
        (r"torch\.optim\.lr_scheduler\.\w+\.step", "torch.optim.lr_scheduler.LRScheduler.step"),
        (r"torch\.optim\.\w+\.\w+\.step", STEP),
        (r"torch\.optim\.\w+\.(\w+\.\w+)", r"torch.optim.\1"),
        (r"torch\.nn\.(?:modules|parallel)\.\w+\.(\w+\.\w+)", r"torch.nn.\1"),
        (r"torch\.nn\.utils\.\w+\.(\w+)", r"torch.nn.utils.\1"),
        (r"torch\._tensor\.(Tensor\.\w+)", r"torch.\1"),
        (r"torch\._C\.(?:_TensorBase|TensorBase)\.(\w+)", r"torch.Tensor.\1"),
        (r"torch\._VariableFunctionsClass\.(\w+)", r"torch.\1"),
        (r"torch\.(?:serialization|random|functional)\.([a-z]\w*)", r"torch.\1"),
        (r"torch\.(cuda|xpu|mps)\.random\.(\w+)", r"torch.\1.\2"),
        (r"torch\.(?:cuda\.)?amp\.grad_scaler\.(GradScaler\.\w+)", r"torch.amp.\1"),
        (r"torch\.distributed\.distributed_c10d\.(\w+)", r"torch.distributed.\1"),
    )
)  # fmt: skip


@lru_cache(maxsize=100_000)
def public_name(function: str) -> str:
    """The name that rules use for a function of a trace; most have only one name.

    >>> public_name("torch.optim.adam.Adam.step"), public_name("torch.nn.functional.relu")
    ('torch.optim.Optimizer.step', 'torch.nn.functional.relu')
    """
    for pattern, public in _RULES:
        if pattern.fullmatch(function):
            return pattern.sub(public, function)
    return function
