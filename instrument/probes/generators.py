"""States of the global random generators. They are read, never drawn from."""

from __future__ import annotations

import ctypes
import random
import sys
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.fingerprint import combine, fingerprint, fingerprint_bytes

if TYPE_CHECKING:
    from tcrules.instrument.probes.forward import Run
    from tcrules.instrument.probes.shared import Shared

RELATIONS = ("rng",)
#: numpy's MT19937: 624 words and the position.
_NUMPY_BYTES = 625 * 4


class Generators:
    """Writes `rng` around outermost forwards."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._put = shared.session.put("rng")

    def before(self, run: Run) -> None:
        """Read the states at entry; most times only torch's, of models whose forward draws numbers."""
        others = self.shared.governor.looks(self.shared.clock.step, "rng")
        run.rng = self._states(others) if others or run.record.draws else []

    def after(self, run: Run) -> None:
        """Read them again and write both."""
        if not run.rng:
            return
        after = dict(self._states(any(source == "python" for source, _ in run.rng)))
        for source, before in run.rng:
            if source in after:
                run.record.draws = run.record.draws or after[source] != before
                self._put(run.frame.call, run.frame.step, source, before, after[source])

    def _states(self, others: bool) -> list[tuple[str, int]]:
        """Return fingerprints of the states on the host, and of that of the current device."""
        found, late = states(others), self.shared.late
        device = None if late is None else late.kit.generator()
        data = None if device is None else fingerprint(device)
        return found if data is None else [*found, ("cuda", data)]


def states(others: bool) -> list[tuple[str, int]]:
    """Return fingerprints of the states of torch's host generator and, if asked, numpy's legacy one and Python's."""
    data = fingerprint(torch.default_generator.get_state())
    found = [("torch", data)] if data is not None else []
    if others:
        words = _numpy_words()
        if words is not None:
            found.append(("numpy", fingerprint_bytes(words)))
        found.append(("python", combine(random.getstate()[1])))
    return found


def _numpy_words() -> bytes | None:
    """Return the memory of numpy's global MT19937; reading it by `get_state` costs 45 µs. None if it is another one."""
    numpy: Any = sys.modules.get("numpy.random.mtrand")
    generator = getattr(getattr(numpy, "_rand", None), "_bit_generator", None)
    if generator is None or type(generator).__name__ != "MT19937":
        return None
    return ctypes.string_at(generator.ctypes.state_address, _NUMPY_BYTES)
