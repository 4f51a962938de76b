"""Where a process stands among others: its rank, and whether it loads data for another one."""

from __future__ import annotations

import os
import sys


def in_loader_worker() -> bool:
    """Return whether this process is a worker of a torch data loader."""
    module = sys.modules.get("torch.utils.data._utils.worker")
    return getattr(module, "_worker_info", None) is not None


def distributed() -> tuple[int, int, bool]:
    """Return (rank, world size, initialised) of the process group, else what the launcher announced."""
    group = sys.modules.get("torch.distributed")
    try:
        if group is not None and group.is_available() and group.is_initialized():
            return int(group.get_rank()), int(group.get_world_size()), True
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")), False
    except (ValueError, RuntimeError, AttributeError):
        return 0, 1, False


__all__ = ["distributed", "in_loader_worker"]
