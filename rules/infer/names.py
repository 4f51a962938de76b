"""Names to patterns: the fewest globs that cover the names of a rule and none of those for which it fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tcrules.engine.patterns import glob

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

EVERY = "*"
_DIGITS = re.compile(r"\d+")


def cover(good: Collection[str], bad: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Globs and the good names that each stands for; a name that nothing generalises stands for itself.

    Broader generalisations are tried first: every name, everything below one prefix (`body.*`), the same place in
    repeated layers (`h.*.attn.weight`), the same last part everywhere (`*.bias`) or below one prefix (`body.*.bias`).

    >>> cover(["a.weight", "a.bias", "b.weight"], ["b.bias"])
    {'a.*': ('a.bias', 'a.weight'), 'b.weight': ('b.weight',)}
    """
    left = sorted({name for name in good if not set(name) & set("*?")})
    plain = sorted(set(good).difference(left))
    found: dict[str, tuple[str, ...]] = {}
    forbidden = [*bad, *plain]
    for generalise in (_everything, _prefixes, _repeated, _endings):
        for pattern in _candidates(left, generalise):
            covered = tuple(name for name in left if glob(pattern, name))
            if len(covered) >= 2 and not any(glob(pattern, name) for name in forbidden):
                found[pattern] = covered
                left = [name for name in left if name not in covered]
    return found | {name: (name,) for name in (*left, *plain)}


def _candidates(names: list[str], generalise: Callable[[str], Iterator[str]]) -> list[str]:
    """Patterns of all names, broadest first."""
    patterns = {pattern for name in names for pattern in generalise(name)}
    return sorted(patterns, key=lambda pattern: (len(pattern), pattern))


def _everything(_: str) -> Iterator[str]:
    yield EVERY


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length]) + ".*"


def _repeated(name: str) -> Iterator[str]:
    pattern = _DIGITS.sub(EVERY, name)
    if pattern != name and pattern != EVERY:
        yield pattern


def _endings(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(len(parts) - 1):
        yield ".".join([*parts[:length], EVERY, parts[-1]])
