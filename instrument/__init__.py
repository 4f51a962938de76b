"""A run becomes facts. Importing this costs nothing: no torch, no numpy, no DuckDB until they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcrules.instrument.attach import launch
    from tcrules.instrument.errors import RunError
    from tcrules.instrument.runs import RunFolder, coverage, open_run, read_run
    from tcrules.instrument.watching import emit, watch

__all__ = ["RunError", "RunFolder", "coverage", "emit", "launch", "open_run", "read_run", "watch"]

_HOMES = {
    "RunError": "errors", "RunFolder": "runs", "coverage": "runs", "emit": "watching", "launch": "attach",
    "open_run": "runs", "read_run": "runs", "watch": "watching",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
