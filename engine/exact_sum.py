"""The sum that SQL lacks: exact, so that it does not depend on the order of its terms."""

from __future__ import annotations

import math


def exact_sum(values: list[float]) -> float:
    """The sum of finite floats, rounded once. NULL for the caller where Python would give up: it never is NaN."""
    try:
        return math.fsum(values)
    except OverflowError:
        return (
            math.inf
            if sum(math.copysign(1.0, value) for value in values if abs(value) > 1) > 0
            else -math.inf
        )
