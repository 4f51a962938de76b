"""Rules that stay and rules that go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcrules.rules.infer.model import Dropped, Learned


def parted(rules: Sequence[Learned], lost: Mapping[int, Dropped]) -> tuple[list[Learned], list[Dropped]]:
    """The rules that were not dropped, and why the others were, each in the order of the rules."""
    kept = [rule for place, rule in enumerate(rules) if place not in lost]
    return kept, [lost[place] for place in sorted(lost)]
