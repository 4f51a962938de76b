"""What a saved or loaded object holds: states of models, optimizers, schedulers, scalers, generators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from tcrules.instrument.fingerprint import fingerprint_bytes
from tcrules.instrument.probes.models import unwrap
from tcrules.instrument.probes.values import key_name
from torch import nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

V = TypeVar("V")
#: Containers of a state that are looked at, and how deep they are nested.
MAX_ITEMS, MAX_DEPTH = 100_000, 8
#: How deep the script's own dicts are looked through for the state of generators and the position in the data.
OWN_DEPTH = 4
#: Tensors whose fingerprints tell a state, and tensors of a state that are written one by one.
MARK_TENSORS, MAX_TENSORS = 4, 64
#: Keys under which loops keep where they are in their data, and where the state of a generator is kept.
_POSITIONS = frozenset(
    [
        *(
            "epoch",
            "epochs",
            "current_epoch",
            "step",
            "steps",
            "global_step",
            "num_steps",
            "iteration",
            "iter",
        ),
        *("iter_num", "batch", "batch_idx", "samples", "samples_seen", "tokens"),
    ]
)
_GENERATORS = ("rng", "random_state")
_SCALER = frozenset({"scale", "growth_factor", "_growth_tracker"})
_PREFIXES = ("module.", "_orig_mod.")


@dataclass(slots=True)
class Content:
    """What a saved or loaded object holds."""

    model: bool = False
    optimizer: bool = False
    scheduler: bool = False
    scaler: bool = False
    #: States of random generators; a number that tells where in its data the loop was.
    rng: bool = False
    position: bool = False
    #: Paths and tensors, in the order of the object.
    keys: list[str] = field(default_factory=list)
    tensors: list[torch.Tensor] = field(default_factory=list)
    #: Parameter groups of the optimizers: they tell where a state without tensors (SGD) came from.
    groups: list[list[Any]] = field(default_factory=list)
    #: The states of models.
    models: list[dict[str, Any]] = field(default_factory=list)

    def marked(self) -> list[torch.Tensor]:
        """Return a few of the tensors, by which the object is told."""
        return self.tensors[:MARK_TENSORS]

    def shapes(self) -> list[int]:
        """Return what tells objects apart besides."""
        return [len(self.tensors), *(tensor.numel() for tensor in self.tensors[:1000])]

    def names(self) -> int:
        """Return a fingerprint of the paths of all tensors."""
        return fingerprint_bytes("\n".join(sorted(self.keys)).encode("utf-8", "replace"))


def inspect(value: Any) -> Content:
    """Look through an object for states of models and optimizers; opaque objects are not opened."""
    content = Content()
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    parts: list[tuple[str, Any, int]]
    for _ in range(MAX_ITEMS):
        if not pending:
            break
        path, item, depth = pending.pop()
        if isinstance(item, torch.Tensor):
            content.keys.append(path)
            content.tensors.append(item)
        elif isinstance(item, nn.Module):
            _add_module(content, path, item)
        elif isinstance(item, Optimizer):
            content.optimizer = True
        elif isinstance(item, dict):
            depth = max(depth, _add_dict(content, item, depth))
            if depth < MAX_DEPTH:
                parts = [(_join(path, key), part, depth + 1) for key, part in item.items()]
                pending += reversed(parts)
        elif isinstance(item, (list, tuple)) and depth < MAX_DEPTH and len(item) < MAX_ITEMS:
            parts = [(_join(path, key), part, depth + 1) for key, part in enumerate(item)]
            pending += reversed(parts)
    return content


def _join(path: str, key: Any) -> str:
    """Return the path of an entry; a key that is an object is not asked what it is called."""
    return f"{path}.{key_name(key)}" if path else key_name(key)


def _add_module(content: Content, path: str, module: nn.Module) -> None:
    content.model = True
    named: dict[str, torch.Tensor] = {}
    if isinstance(module, torch.jit.ScriptModule):  # opaque
        named.update(module.named_parameters())
    else:
        named = state_of(module)
        content.models.append(named)
    content.keys += [_join(path, name) for name in named]
    content.tensors += named.values()


def _add_dict(content: Content, state: Mapping[Any, Any], depth: int) -> int:
    """Note what a dict is; returns the depth of its parts: those of a known state are not asked in turn."""
    if _is_model_state(state):
        content.model = True
        content.models.append({key: value for key, value in state.items() if isinstance(key, str)})
    elif isinstance(state.get("param_groups"), list) and "state" in state:
        content.optimizer = True
        content.groups.append(state["param_groups"])
    elif _SCALER.issubset(state):
        content.scaler = True
    elif "last_epoch" in state:
        content.scheduler = True
    elif depth < OWN_DEPTH:
        names = {key.lower(): value for key, value in state.items() if isinstance(key, str)}
        content.rng = content.rng or any(part in name for name in names for part in _GENERATORS)
        numbers = (name for name, value in names.items() if isinstance(value, (int, float)))
        content.position = content.position or not _POSITIONS.isdisjoint(numbers)
        return depth
    return OWN_DEPTH


def _is_model_state(state: Mapping[Any, Any]) -> bool:
    """Return whether a dict looks like `Module.state_dict()`: names of attributes to tensors."""
    if hasattr(state, "_metadata"):
        return any(isinstance(value, torch.Tensor) for value in state.values())
    tensors = [key for key, value in state.items() if isinstance(value, torch.Tensor)]
    return len(tensors) * 2 > len(state) and any(isinstance(key, str) and "." in key for key in tensors)


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that belong to the state of a model, by the keys of `state_dict`.

    Not by `state_dict`: under FSDP it is a collective, and it runs hooks of the user.
    """
    found: dict[str, torch.Tensor] = {}

    def add(part: nn.Module, prefix: str) -> None:
        unsaved = part._non_persistent_buffers_set
        named = [*part._parameters.items(), *((n, b) for n, b in part._buffers.items() if n not in unsaved)]
        found.update((prefix + name, tensor) for name, tensor in named if tensor is not None)
        for name, child in part._modules.items():
            if child is not None:
                add(child, f"{prefix}{name}.")

    add(unwrap(module), "")
    return found


def bare(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a model without the prefix that a wrapper put before all keys."""
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            return bare({key[len(prefix) :]: value for key, value in state.items()})
    return state


def few(items: Sequence[V]) -> Sequence[V]:
    """Return up to `MAX_TENSORS` of these, evenly spaced; the same of equally many."""
    return items[:: -(-len(items) // MAX_TENSORS) or 1]
