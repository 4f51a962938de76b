"""Find silent training errors: a run becomes facts, invariants are rules, every violation is explained.

The public interface is what this module exports. Nothing heavy is imported until it is used, so that a traced
program or a shell prompt never waits for it.

>>> import tcrules
>>> sorted(tcrules.__all__)
['__version__', 'check', 'emit', 'infer', 'load_rules', 'watch']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcrules.api import check, infer, load_rules
    from tcrules.instrument import emit, watch

__version__ = "0.1.0"
__all__ = ["__version__", "check", "emit", "infer", "load_rules", "watch"]

_HOMES = {
    "check": "tcrules.api",
    "infer": "tcrules.api",
    "load_rules": "tcrules.api",
    "emit": "tcrules.instrument",
    "watch": "tcrules.instrument",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tcrules' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
