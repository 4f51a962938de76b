"""Autocast regions: what is cast to which type, and whether cast weights are kept."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.patching import Gate
from torch.amp import autocast_mode

if TYPE_CHECKING:
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("autocast_region",)


class Region(NamedTuple):
    """A region that was entered. It knows its `autocast` object by id: that is on the user's stack until the exit."""

    key: int
    device: str
    dtype: str
    enabled: bool
    cache: bool
    depth: int
    step: int
    begin: int


class _Open(threading.local):
    def __init__(self) -> None:
        self.regions: list[Region] = []


class Regions:
    """Writes `autocast_region` when a region is left, or the recording ends in it."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._open = _Open()
        self._put = shared.session.put("autocast_region")

    def enter(self, region: Any, _result: Any, raised: bool) -> None:
        """A region was entered."""
        regions, device = self._open.regions, str(region.device)
        if raised or len(regions) > 100:  # entered again and again, and never left
            return
        enabled = torch.is_autocast_enabled(device)
        dtype = dtype_name[torch.get_autocast_dtype(device)] if enabled else ""
        about = device, dtype, enabled, torch.is_autocast_cache_enabled(), len(regions)
        regions.append(Region(id(region), *about, self.shared.clock.step, self.shared.tick()))

    def leave(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """A region is about to be left, with those inside it that never were."""
        regions = self._open.regions
        if any(found.key == id(args[0]) for found in regions):
            while regions and self._write(regions.pop()) != id(args[0]):
                pass

    def close(self) -> None:
        """The recording ends."""
        while self._open.regions:
            self._write(self._open.regions.pop())

    def _write(self, region: Region) -> int:
        self._put(*region[1:], self.shared.tick())
        return region.key


def install(shared: Shared) -> None:
    """Patch `torch.autocast`, which the device-specific ones inherit from; as a decorator it enters a region, too."""
    regions = Regions(shared)
    guard, cls = shared.guard("autocasting"), autocast_mode.autocast
    shared.patches.around(
        cls, "__enter__", guard(lambda args, _kwargs: args[0]), guard(regions.enter), Gate(shared.governor)
    )
    shared.patches.around(cls, "__exit__", guard(regions.leave), guard(lambda *_: None))
    shared.patches.on_undo(regions.close)
