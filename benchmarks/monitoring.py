"""A wrapper or `sys.monitoring`: which sees a call of a Python function with its arguments and result for less?

    python benchmarks/monitoring.py          # Python 3.12 or later

Both hand arguments and result to the same function. `sys.monitoring` tells the code object and the result; arguments
must be read from the frame. Printed is what a call costs more than without, and the ratio.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

CALLS, ROUNDS = 200_000, 7
TOOL = 4


def made() -> Callable[..., Any]:
    def function(scores: Any, weight: int = 2) -> Any:  # noqa: ARG001
        return scores

    return function


def seen(_values: Any) -> None:
    pass


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        seen((args, kwargs))
        result = function(*args, **kwargs)
        seen(result)
        return result

    return wrapper


def monitored(function: Any) -> Callable[..., Any]:
    monitoring: Any = getattr(sys, "monitoring")  # noqa: B009 - absent before 3.12

    def start(code: CodeType, _offset: int) -> None:
        values = sys._getframe(1).f_locals
        seen([values[name] for name in code.co_varnames[: code.co_argcount]])

    def returned(_code: CodeType, _offset: int, result: Any) -> None:
        seen(result)

    events = monitoring.events
    monitoring.use_tool_id(TOOL, "benchmark")
    monitoring.register_callback(TOOL, events.PY_START, start)
    monitoring.register_callback(TOOL, events.PY_RETURN, returned)
    monitoring.set_local_events(TOOL, function.__code__, events.PY_START | events.PY_RETURN)
    found: Callable[..., Any] = function
    return found


def nanoseconds(function: Callable[..., Any]) -> float:
    """The fastest round's time of a call."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            function(1, weight=3)
        times.append((time.perf_counter() - begin) / CALLS * 1e9)
    return min(times)


def main() -> int:
    if not hasattr(sys, "monitoring"):
        print(f"Python {sys.version.split()[0]} has no sys.monitoring: not measured")
        return 2
    plain = nanoseconds(made())
    wrapper, monitoring = nanoseconds(wrapped(made())) - plain, nanoseconds(monitored(made())) - plain
    print(f"plain call {plain:.0f} ns; wrapper +{wrapper:.0f} ns, sys.monitoring +{monitoring:.0f} ns")
    print(f"sys.monitoring / wrapper: {monitoring / wrapper:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
