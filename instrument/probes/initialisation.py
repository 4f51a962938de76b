"""Random in-place initialisations of parameters, up to the first backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.patching import Patches

if TYPE_CHECKING:
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("init_call",)
FILLS = (
    "normal_",
    "uniform_",
    "log_normal_",
    "cauchy_",
    "exponential_",
    "bernoulli_",
    "random_",
    "geometric_",
)
#: Initialisations that are written per parameter.
MAX_CALLS = 64
WHY_MANY = f"a parameter was filled more than {MAX_CALLS} times"


class Initialisations:
    """Writes `init_call` for parameters that are registered with a module, also when written through `.data`."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.book = shared.book
        self._by_pointer: dict[int, Param] = {}
        self._known = 0
        self._put = shared.session.put("init_call")

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any] | None:
        """A fill begins; None unless it fills a whole parameter."""
        tensor = args[0]
        param = self.book.known(tensor)
        if param is None:
            param = self._alias(tensor)
        if param is None or tensor.is_meta:
            return None
        if param.inits >= MAX_CALLS:
            self.shared.session.gap("init_call", WHY_MANY)
            return None
        param.inits += 1
        numbers = [*args[1:], *(f"{name}={value}" for name, value in kwargs.items() if name != "generator")]
        return param.name, (param, ", ".join(str(number) for number in numbers))

    def _alias(self, tensor: torch.Tensor) -> Param | None:
        """Return the parameter whose data this is, as in `module.weight.data.normal_()`."""
        params = self.book.params()
        if self._known != len(params):
            self._known = len(params)
            live = [(found, param) for param in params if (found := param.tensor()) is not None]
            self._by_pointer = {
                found.data_ptr(): param for found, param in live if found.device.type != "meta"
            }
        param = self._by_pointer.get(tensor.data_ptr()) if tensor.device.type != "meta" else None
        found = None if param is None else param.tensor()
        same = found is not None and found.data_ptr() == tensor.data_ptr() and found.numel() == tensor.numel()
        return param if same else None

    def leave(self, frame: Frame, token: Any, _result: Any, raised: bool) -> None:
        """A fill returned."""
        param, numbers = token
        if not raised:
            self._put(frame.call, param.name, frame.api, numbers, frame.begin)


def install(shared: Shared) -> None:
    """Patch the fills of tensors (`torch.nn.init` uses them); taken back before the first backward."""
    found = Initialisations(shared)
    own = Patches()
    common, shared.patches = shared.patches, own
    try:
        for name in FILLS:
            shared.watch(
                "initialisation",
                torch.Tensor,
                name,
                f"torch.Tensor.{name}",
                found.enter,
                found.leave,
                family="fill",
                always=True,
            )
    finally:
        shared.patches = common
    common.on_undo(own.undo)
    shared.first_backward.append(("initialisation", own.undo))
