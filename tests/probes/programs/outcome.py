"""What a training leaves behind, and whether recording changes it. Used by tests in this process and by programs.

A training is a function that returns what it made: losses, models, optimizers, schedulers, …
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tcrules.instrument.watching import watch

Training = Callable[[], Any]
#: What is recorded where few rules ask.
PART = ["optimizer_step", "update", "loss_call", "batch"]


def outcome(train: Training, seed: int = 1) -> list[str]:
    """Train from given seeds; returns what is left, piece by piece, and the states of the random generators."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    found: list[str] = []
    _describe(train(), "", found)
    generators = torch.get_rng_state(), np.random.get_state(), random.getstate()
    _describe(generators, "rng", found)
    return found


def identical(train: Training, run: Path) -> None:
    """Train without recording, with it into `run`, in full mode, and with a part; fails where one bit differs."""
    expected = outcome(train)
    modes: dict[str, Any] = {"": None, "-full": {"full": True}, "-part": {"relations": PART}}
    for mode, options in modes.items():
        with watch(run=run.with_name(run.name + mode), options=options):
            found = outcome(train)
        different = [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
        assert found == expected, (mode, different[:5])


def _describe(value: Any, path: str, found: list[str]) -> None:
    """Append a line for each piece of a result: exact for numbers, a digest of the bytes for tensors."""
    if isinstance(value, torch.nn.Module):
        _describe(dict(value.state_dict()), path, found)
        _describe({name: param.grad for name, param in value.named_parameters()}, f"{path}.grad", found)
    elif isinstance(value, torch.Tensor):
        found.append(f"{path} {value.dtype} {tuple(value.shape)} {_digest(value)}")
    elif isinstance(value, np.ndarray):
        found.append(f"{path} {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}")
    elif isinstance(value, dict):
        for name, item in value.items():
            _describe(item, f"{path}.{name}", found)
    elif isinstance(value, (list, tuple)):
        found.append(f"{path} {len(value)} items")
        for index, item in enumerate(value):
            _describe(item, f"{path}.{index}", found)
    elif hasattr(value, "state_dict"):
        _describe(value.state_dict(), path, found)
    else:
        found.append(f"{path} {value!r}")


def _digest(tensor: torch.Tensor) -> str:
    plain = tensor.detach()
    plain = getattr(plain, "_local_tensor", plain).cpu().contiguous().reshape(-1)
    return hashlib.sha256(plain.view(torch.uint8).numpy().tobytes()).hexdigest()


__all__ = ["identical", "outcome"]
