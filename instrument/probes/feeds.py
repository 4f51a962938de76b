"""What else is lost when a probe fails: facts of others that rest on what it sees.

A fault must not make facts wrong or incomplete without a gap, whoever writes them. `tests/probes/test_faults.py` lets
each callback fail and compares all relations with those of a healthy run: it names what is missing here.
"""

from __future__ import annotations

#: They tell the clock what happens. Without them facts go on, but with wrong numbers of steps.
CLOCK = ("*",)
#: Probe -> relations of other probes.
FEEDS: dict[str, tuple[str, ...]] = {
    "forward": CLOCK,
    "optimizer": CLOCK,
    "scaler": CLOCK,
    "clearing": CLOCK,
    # tells the clock only where nothing steps
    "backward": ("step", "gradient_point", "loss_graph", "forward_reached"),
    "clipping": ("gradient_point",),
    # which parameter was made when and is part of what
    "structure": (
        "call",
        "location",
        "init_call",
        "tie",
        "tie_state",
        "copy",
        "mode_change",
        "model_loaded",
        "replacement",
        "alias",
    ),
    # what is computed from which batch
    "data": (
        "forward",
        "forward_argument",
        "worker_rng",
        "batch_sample",
        "epoch_end",
        "batch_use",
        "setting",
    ),
    "loss": ("batch_use",),
    # a copy is described and read because it is one
    "scheduler": ("setting",),
    # after a load states are looked at again
    "checkpoint": ("optimizer_slot",),
    "copies": ("module", "parameter", "trainability", "buffer", "param_state", "setting"),
}
