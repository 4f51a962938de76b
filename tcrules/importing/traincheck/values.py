"""Values of a trace as text and numbers; what must not get into a run stays out."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import Any, NamedTuple

from tcrules.instrument.privacy import redact, scrub

#: Longer texts are cut.
LONGEST_TEXT = 200
#: A list or dictionary with more characters is data, not a setting.
LONGEST_LIST = 100
#: Flags that say where a tensor is, in the order of asking.
_DEVICES = ("cuda", "mps", "xpu", "xla", "mtia", "ipu", "meta", "cpu")
#: Properties of tensors that have a column, follow from one, or are addresses.
_KNOWN = frozenset({"dtype", "shape", "requires_grad", "is_leaf", "data", "data_hash", "grad", "grad_hash",
                    "grad_dtype", "itemsize", "nbytes", "ndim", "name", "fake",
                    *(f"is_{device}" for device in _DEVICES)})  # fmt: skip
#: Homes on the machine where the trace was collected.
_ANY_HOME = re.compile(r"/(?:home|Users)/[^/\s'\"]+")


class Tensor(NamedTuple):
    """What a trace tells about a tensor, but for its values."""

    dtype: str
    shape: str
    device: str
    requires_grad: bool
    leaf: bool


def typed(value: object) -> tuple[str, Any]:
    """Split `{type: content}`, as arguments and results are written; other values have no type.

    >>> typed({"int": 3})
    ('int', 3)
    """
    if isinstance(value, dict) and len(value) == 1:
        name, content = next(iter(value.items()))
        return str(name), content
    return "", value


def tensor(content: object) -> Tensor | None:
    """The description of a tensor, None for anything else."""
    if not isinstance(content, dict) or "dtype" not in content or "shape" not in content:
        return None
    shape = content["shape"] if isinstance(content["shape"], list) else []
    return Tensor(
        dtype=str(content["dtype"]).removeprefix("torch."),
        shape="x".join(map(str, shape)),
        device=next((name for name in _DEVICES if content.get(f"is_{name}") is True), ""),
        requires_grad=content.get("requires_grad") is True,
        leaf=content.get("is_leaf") is True,
    )


def text(value: object, name: str = "") -> str:
    """A value as text: short, without homes of users and without secrets, which `name` may tell.

    >>> text(True), text(None), text(0.1), text([8, 3])
    ('true', 'none', '0.1', '[8, 3]')
    """
    if isinstance(value, str):
        return _clean(value[: 2 * LONGEST_TEXT], name)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return _cut(repr(value), LONGEST_TEXT)
    shown = json.dumps(value, default=str)
    return (
        _clean(shown, "")
        if len(shown) <= LONGEST_LIST
        else f"{len(value) if isinstance(value, list | dict) else '?'} elements"
    )


@lru_cache(maxsize=50_000)
def _clean(value: str, name: str) -> str:
    given = redact([f"--{name}={value}"])[0].partition("=")[2] if name.isidentifier() else scrub(value)
    return _cut(_ANY_HOME.sub("~", given), LONGEST_TEXT)


def _cut(shown: str, longest: int) -> str:
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def is_plain(value: object) -> bool:
    """Whether a value is no object: its text says all of it."""
    return value is None or isinstance(value, bool | int | float | str | list)


def attributes(content: object) -> dict[str, str]:
    """Attributes of an object as texts; addresses, and what is known of every tensor, are left out."""
    if not isinstance(content, dict):
        return {}
    return {
        str(name): text(value, str(name)) for name, value in flat(content).items() if not _is_address(name)
    }


def flat(content: dict[str, Any]) -> dict[str, Any]:
    """A dictionary without inner ones: `{"a": {"b": 1}}` is `{"a.b": 1}`; statistics of tensors are written so."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": deep for inner, deep in value.items() if not isinstance(deep, dict)}
        else:
            found[str(name)] = value
    return found


def properties(content: dict[str, Any]) -> dict[str, str]:
    """What is special about a tensor: attributes that have no column, and flags that are set."""
    return {
        name: shown
        for name, shown in attributes(content).items()
        if name not in _KNOWN and shown not in ("false", "none")
    }


def _is_address(name: str) -> bool:
    return name.startswith("_TRAINCHECK_") and name.endswith("_ID")


def fingerprint(value: object) -> int:
    """A value as 64 bits: an integer of that size is itself, None is 0, all others are hashed (tensor contents too)."""
    if value is None:
        return 0
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    data = json.dumps(value, sort_keys=True, default=str).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)
