"""What acts upon what in a training step: from relation to relation, as data and control flow through an iteration.

A violation of a rule about one relation can be the consequence of a violation about another only if that flows into
it. The graph is that of one iteration, from data to update: what a step leaves behind (parameters, the scale of a
scaler) acts on everything later, which tells nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Relation -> the relations that its facts act upon directly.
FLOW: Mapping[str, tuple[str, ...]] = {
    # what is configured and built
    "config": ("setting",),
    "setting": (
        "batch",
        "forward",
        "dropout_call",
        "attention_call",
        "optimizer_step",
        "param_group",
        "scheduler_step",
    ),
    "loader": ("epoch", "batch"),
    "scaler": ("scaler_scale",),
    "scheduler": ("scheduler_step",),
    "optimizer": ("member",),
    "member": ("zero_grad", "gradient", "update", "optimizer_step"),
    "module": ("parameter", "buffer", "forward"),
    "wrapper": ("forward", "collective"),
    "replicated": ("collective", "param_state", "buffer_state"),
    "sharded": ("collective", "gradient", "update"),
    "copy": ("copy_state",),
    "replacement": ("parameter", "member", "tie_state", "accumulate"),
    "model_moved": ("parameter", "member", "tie_state", "accumulate", "optimizer_slot"),
    "parameter": ("member", "accumulate", "tie_state", "module_call", "init_call"),
    "buffer": ("buffer_state",),
    "trainability": ("layer_gradient", "accumulate", "gradient"),
    "tie": ("tie_state",),
    "tie_state": ("accumulate", "param_state"),
    "alias": ("accumulate", "update", "param_state"),
    "init_call": ("param_state",),
    # what is loaded
    "checkpoint_loaded": ("model_loaded", "optimizer_loaded", "scheduler_loaded", "rng", "epoch"),
    "model_loaded": ("checkpoint_key", "checkpoint_tensor", "param_state", "buffer_state"),
    "checkpoint_key": ("checkpoint_tensor", "param_state", "buffer_state"),
    "checkpoint_tensor": ("param_state", "buffer_state"),
    "scheduler_loaded": ("scheduler_step", "param_group"),
    "optimizer_loaded": ("optimizer_state", "optimizer_slot", "param_group"),
    # data
    "seed": ("rng", "worker_rng", "init_call", "dropout_call"),
    "worker_rng": ("batch",),
    "epoch": ("batch", "epoch_end"),
    "batch": ("batch_field", "batch_sample", "batch_use", "epoch_end", "forward_argument"),
    "batch_sample": ("batch_field",),
    "batch_field": ("batch_use", "loss_call"),
    "batch_use": ("loss_call",),
    # forward and loss
    "mode_change": ("forward", "module_call", "dropout_call", "buffer_state", "generation"),
    "autocast_region": ("forward", "module_call", "loss_call"),
    "rng": ("dropout_call",),
    "forward": (
        "module_call",
        "layer_gradient",
        "dropout_call",
        "attention_call",
        "buffer_state",
        "rng",
        "loss_call",
        "generation",
        "collective",
    ),
    "forward_argument": ("forward",),
    "module_call": ("loss_call",),
    "attention_call": ("loss_call",),
    "layer_gradient": ("forward_reached", "accumulate"),
    "forward_reached": ("accumulate",),
    "loss_graph": ("backward", "forward_reached"),
    "dropout_call": ("loss_call",),
    "buffer_state": ("copy_state", "checkpoint_saved"),
    "loss_call": ("loss_graph",),
    "scaler_scale": ("loss_graph", "scaler_unscale", "clip"),
    # gradients
    "backward": ("accumulate",),
    "zero_grad": ("accumulate", "gradient"),
    "accumulate": ("gradient_point", "collective", "scaler_unscale", "clip", "gradient"),
    "collective": ("collective_data",),
    "collective_data": ("gradient_point", "gradient", "param_state", "buffer_state"),
    "gradient_point": ("gradient",),
    "scaler_unscale": ("clip", "gradient_point", "gradient", "scaler_step"),
    "clip": ("gradient_point", "gradient"),
    "gradient": ("scaler_step", "optimizer_step", "optimizer_state", "optimizer_slot", "update"),
    # the update
    "scaler_step": ("optimizer_step", "scaler_update"),
    "param_group": ("update",),
    "optimizer_step": ("update", "optimizer_state", "optimizer_slot"),
    "optimizer_state": ("update",),
    "optimizer_slot": ("update",),
    "update": ("param_state", "copy_state"),
    "scheduler_step": ("param_group",),
    "param_state": ("copy_state", "checkpoint_saved"),
    "copy_state": ("checkpoint_saved",),
    "checkpoint_saved": ("checkpoint_model",),
}
#: Relations that act upon nothing, or of which nothing can be said: whatever is called, measured or only described.
ELSEWHERE = frozenset(
    {
        "run", "process", "instrument_gap", "recorded_steps", "step", "location", "call", "signature", "metric",
        "generation", "epoch_end", "checkpoint_model", "scaler_update",
    }
)  # fmt: skip


def acts_upon(causes: Iterable[str], effects: Iterable[str]) -> tuple[str, ...] | None:
    """The shortest way on which one of the first relations flows into one of the others; None where there is none.

    A relation acts upon itself; about 50 µs for a pair that is met the first time.
    """
    ways = [way for cause in causes for effect in effects if (way := _way(cause, effect)) is not None]
    return min(ways, key=lambda way: (len(way), way), default=None)


@cache
def _way(cause: str, effect: str) -> tuple[str, ...] | None:
    graph = _graph()
    if cause == effect:
        return (cause,)
    if cause not in graph or effect not in graph or not nx.has_path(graph, cause, effect):
        return None
    return tuple(nx.shortest_path(graph, cause, effect))


@cache
def _graph() -> nx.DiGraph[str]:
    return nx.DiGraph((source, target) for source, targets in FLOW.items() for target in targets)
