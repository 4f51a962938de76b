"""All that is asked of CUDA (and ROCm, which goes by the same names): streams, events, memory that devices write to.

Nothing in here waits for a device. Initialising CUDA is left to the program: it would break what is forked later on.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Kit(Protocol):
    """What `deferred` needs of devices; tests have one of their own."""

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether a plain tensor lies on a device that can be read."""

    def captures(self) -> bool:
        """Whether what is enqueued becomes part of a graph that is run later, and nothing may be asked meanwhile."""

    def generator(self) -> torch.Tensor | None:
        """Return the state of the generator of the current device, in host memory; None if it has none yet."""

    def constant(self, host: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Return a copy of a tensor on a device; the copy is enqueued."""

    def mark(self, device: torch.device) -> Any:
        """Enqueue a mark that tells when the device came to this point."""

    def fetch(self, result: torch.Tensor) -> torch.Tensor:
        """Enqueue a copy of a result to the host, and return where it will be."""

    def passed(self, mark: Any) -> bool:
        """Whether the device has passed a mark."""

    def seconds(self, first: Any, last: Any) -> float:
        """Return the time of the device between two marks that it has passed."""


class Cuda:
    """The kit of CUDA: everything on the stream that is current where it is asked for."""

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor lies on such a device."""
        return bool(tensor.is_cuda)

    def captures(self) -> bool:
        """Whether the current stream is captured; an event must not even be queried then."""
        return bool(torch.cuda.is_current_stream_capturing())

    def generator(self) -> torch.Tensor | None:
        """Read seed and offset, which the host keeps."""
        if not torch.cuda.is_initialized() or self.captures():
            return None
        return torch.cuda.default_generators[torch.cuda.current_device()].get_state()

    def constant(self, host: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Copy from pinned memory: from any other the host would wait."""
        return host.pin_memory().to(device, non_blocking=True)

    def mark(self, device: torch.device) -> Any:
        """Record an event on the current stream of the device."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        return event

    def fetch(self, result: torch.Tensor) -> torch.Tensor:
        """Copy to pinned memory; torch keeps it until the copy is done, and uses it again."""
        host = torch.empty(result.shape, dtype=result.dtype, device="cpu", pin_memory=True)
        return host.copy_(result, non_blocking=True)

    def passed(self, mark: Any) -> bool:
        """Query an event; it is not waited for."""
        return bool(mark.query())

    def seconds(self, first: Any, last: Any) -> float:
        """Return the time between two events."""
        return float(first.elapsed_time(last)) / 1e3


def is_there() -> bool:
    """Return whether the machine has a device that is read; torch asks the driver, and does not initialise CUDA."""
    try:
        return bool(torch.cuda.device_count() > 0)
    except Exception:  # whatever a broken driver raises
        return False


def make() -> Kit | None:
    """Return the kit of a recording; None where no device is there."""
    return Cuda() if is_there() else None


__all__ = ["Cuda", "Kit", "is_there", "make"]
