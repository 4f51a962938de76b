"""Probes: they turn what an unmodified training run does into facts.

One file per subject. `install` puts them in place after `import torch`; each is guarded on its own, so that a fault
disables one probe, and says so by `instrument_gap`, while the others and the training go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcrules.instrument.session import Session


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe: its name, what it records, and how it is put in place.

    `install` gets what was installed before it, by name, and returns what later probes may use.
    """

    name: str
    relations: tuple[str, ...]
    install: Callable[[Any, dict[str, Any]], Any]
    #: It is left out where none of its relations is wanted; those that use it do without.
    optional: bool = False


def install(session: Session) -> None:
    """Install all probes into this process; they are taken back when the session closes."""
    from tcrules.instrument import fingerprint
    from tcrules.instrument.probes import cuda
    from tcrules.instrument.probes.feeds import FEEDS
    from tcrules.instrument.probes.registry import PROBES
    from tcrules.instrument.probes.shared import Shared

    # as the machine is, not the tensors: those on the host are compared with those on devices
    default = "sums" if cuda.is_there() else "xxh3"
    fingerprint.choose(str(session.options.get("fingerprint", default)))
    shared = Shared(session)
    session.on_close(shared.patches.undo)
    for name, relations in FEEDS.items():
        session.guard(name, *relations)
    made: dict[str, Any] = {}
    for probe in PROBES:
        given = *probe.relations, *FEEDS.get(probe.name, ())
        if given and "*" not in given and not session.needs.any(given):
            shared.idle.add(probe.name)
            if probe.optional:
                continue
        try:
            made[probe.name] = probe.install(shared, made)
            session.covers(*probe.relations, probe=probe.name)
        except Exception as fault:
            session.covers(*probe.relations, probe=probe.name)
            session.disable(probe.name, fault)


__all__ = ["Probe", "install"]
