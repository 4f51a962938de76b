"""Seeding of the global random generators."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.patching import argument

if TYPE_CHECKING:
    from types import FrameType

    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("seed",)
#: Callers that seed on their own account: workers of loaders, forked generators.
_INTERNAL = ("torch.utils.data", "torch.random", "torch.testing")


def _is_internal() -> bool:
    """Return whether the seeding function was called by torch itself."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith("tcrules.instrument"):
            return module.startswith(_INTERNAL)
        frame = frame.f_back
    return False


def install(shared: Shared) -> None:
    """Patch the seeding functions of torch, numpy and Python."""
    put = shared.session.put("seed")

    def enter(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        value = argument(args, kwargs, 0, "seed", kwargs.get("a"))
        return None if _is_internal() else ("", value)

    def leave(frame: Frame, value: Any, _result: Any, raised: bool) -> None:
        if raised:
            return
        try:
            seed = int(value)
        except (TypeError, ValueError):  # none: from the system; a text or a sequence
            seed = -1
        put(frame.call, frame.api, (seed + (1 << 63)) % (1 << 64) - (1 << 63), frame.step, frame.begin)

    import numpy

    targets: tuple[tuple[Any, str, str], ...] = (
        (torch, "manual_seed", "torch.manual_seed"),
        (torch.random, "manual_seed", "torch.manual_seed"),
        (torch.cuda, "manual_seed", "torch.cuda.manual_seed"),
        (torch.cuda, "manual_seed_all", "torch.cuda.manual_seed_all"),
        (numpy.random, "seed", "numpy.random.seed"),
        (random, "seed", "random.seed"),
    )
    for owner, name, api in targets:
        shared.watch("seeding", owner, name, api, enter, leave, family="seed", always=True)
