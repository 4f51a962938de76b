"""Full mode: calls of torch's public functions, and of the user's own by pattern, with what they take and give.

For learning over APIs that no probe knows. A call is a fact of `call` like any other, nested in the calls around it;
`signature` says which tensors, by dtype and shape, and which numbers of dimensions, flags and choices it was given, and
what it returned: never values of tensors or floats. What another probe watches is left to it, and what an optimizer of
torch computes within its step is not told: which operations those are depends on how it is implemented on a device.
Switched on by the option `full`; functions of the user by `apis`, patterns of qualified names such as
`mypackage.losses.*`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from fnmatch import fnmatchcase
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.probes.compiling import in_graph
from tcrules.instrument.probes.context import dtype_name
from tcrules.instrument.probes.patching import Gate, around, uncompiled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tcrules.instrument.probes.shared import Shared
    from tcrules.instrument.session import Frame

RELATIONS = ("signature",)
#: Parts of a signature, and members of a list that are described.
MAX_PARTS, MAX_MEMBERS = 12, 4
#: Shapes whose texts are kept: most come again in each step.
MAX_SHAPES = 4096
#: Functions of the user that are wrapped at most.
MAX_OWN = 2000
#: What is no computation: asking for properties, conversions for Python, hooks of other machinery.
_SKIPPED = frozenset(
    {
        "size",
        "dim",
        "numel",
        "nelement",
        "ndimension",
        "stride",
        "storage",
        "untyped_storage",
        "storage_offset",
    }
    | {
        "storage_type",
        "data_ptr",
        "element_size",
        "get_device",
        "type",
        "backward",
        "register_hook",
        "retain_grad",
    }
    | {
        "register_post_accumulate_grad_hook",
        "requires_grad_",
        "item",
        "tolist",
        "numpy",
        "share_memory_",
        "apply_",
    }
    | {
        "map_",
        "map2_",
        "rename",
        "rename_",
        "refine_names",
        "has_names",
        "align_to",
        "reinforce_type",
        "is_shared",
    }
    | {
        "boolean_dispatch",
        "handle_torch_function",
        "has_torch_function",
        "typename",
        "get_default_dtype",
        "is_storage",
    }
)
_OPERATORS = frozenset(
    f"__{name}__"
    for name in (
        *(
            "add",
            "radd",
            "iadd",
            "sub",
            "rsub",
            "isub",
            "mul",
            "rmul",
            "imul",
            "truediv",
            "rtruediv",
            "itruediv",
        ),
        *("matmul", "rmatmul", "pow", "rpow", "neg", "getitem", "setitem"),
    )
)


class Calls:
    """Writes `call` and `signature` of wrapped functions."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.session = shared, shared.session
        self._put = shared.session.put("signature")
        self._guard = shared.guard("apis")
        self._wrapped: set[int] = set()
        self._looked = False

    def wrap(self, owner: Any, name: str, api: str) -> None:
        """Wrap a function where it is an attribute of a module or class."""
        original = inspect.getattr_static(owner, name)
        if id(original) in self._wrapped or hasattr(original, "__wrapped__"):
            return  # another probe watches it, or it is here by another name

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Frame, str]:
            given = signature((*args, *kwargs.values()) if kwargs else args)
            return self.session.enter(api), given

        def after(token: tuple[Frame, str], result: Any, raised: bool) -> None:
            frame, given = token
            self._put(frame.call, frame.step, given, "" if raised else signature((result,)))
            self.session.leave(frame, raised)

        local, guarded = self.session.local, self._guard(begin)

        @uncompiled
        def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Frame, str] | None:
            stack = local.stack
            if (stack and stack[-1].opaque) or in_graph():
                return None
            found: tuple[Frame, str] | None = guarded(args, kwargs)
            return found

        wrapper = around(original, before, self._guard(after), Gate(self.shared.governor))
        self._wrapped.update((id(original), id(wrapper)))
        self.shared.patches.replace(owner, name, wrapper)

    def wrap_own(self, patterns: Sequence[str]) -> None:
        """Wrap the user's functions, once."""
        if self._looked:
            return
        self._looked = True
        for number, (owner, name, api) in enumerate(own_functions(patterns)):
            if number >= MAX_OWN:
                self.session.gap("signature", f"more than {MAX_OWN} functions match the patterns")
                break
            self.wrap(owner, name, api)


def signature(values: Sequence[Any]) -> str:
    """Return e.g. `float32[32, 64], 0, [int64[3]]`; about 1 µs per tensor."""
    parts = [_part(value) for value in values[:MAX_PARTS]]
    return ", ".join(parts) + (", …" if len(values) > MAX_PARTS else "")


def _part(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        try:
            return _tensor(value.dtype, value.shape)
        except TypeError:  # a size that is a symbol has no hash
            return _tensor.__wrapped__(value.dtype, value.shape)
    if value is None or isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, torch.dtype):
        return dtype_name[value]
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_part, value[:MAX_MEMBERS]))
        return f"[{inner}{', …' if len(value) > MAX_MEMBERS else ''}]"
    return type(value).__name__


@functools.lru_cache(maxsize=MAX_SHAPES)
def _tensor(dtype: torch.dtype, shape: torch.Size) -> str:
    return f"{dtype_name[dtype]}[{', '.join(map(str, shape))}]"


def torch_functions() -> Iterator[tuple[Any, str, str]]:
    """The functions that torch lets others override, as owner, attribute and public name."""
    for owner, functions in torch.overrides.get_overridable_functions().items():
        if not (isinstance(owner, ModuleType) or owner is torch.Tensor):
            continue  # properties
        known = set(map(id, functions))
        prefix = owner.__name__ if isinstance(owner, ModuleType) else "torch.Tensor"
        for name in dir(owner):  # methods of tensors are inherited
            if id(getattr(owner, name, None)) in known and _computes(name):
                yield owner, name, f"{prefix}.{name}"


def _computes(name: str) -> bool:
    if name.startswith("_"):
        return name in _OPERATORS
    return name not in _SKIPPED and not name.startswith(("is_", "set_", "sym_"))


def own_functions(patterns: Sequence[str]) -> Iterator[tuple[Any, str, str]]:
    """Functions and methods of loaded modules whose qualified names match one of the patterns."""
    for module in [found for found in list(sys.modules.values()) if isinstance(found, ModuleType)]:
        home = module.__name__
        if home.partition(".")[0] in ("torch", "tcrules", "numpy"):
            continue
        for owner, prefix in [
            (module, home),
            *((cls, f"{home}.{cls.__qualname__}") for cls in _classes(module)),
        ]:
            for name, value in list(vars(owner).items()):
                if isinstance(value, FunctionType) and value.__module__ == home and not name.startswith("__"):
                    api = f"{prefix}.{name}"
                    if any(fnmatchcase(api, pattern) for pattern in patterns):
                        yield owner, name, api


def _classes(module: ModuleType) -> list[type]:
    return [
        found
        for found in list(vars(module).values())
        if isinstance(found, type) and found.__module__ == module.__name__
    ]


def install(shared: Shared) -> None:
    """Wrap torch's functions now, the user's when the first step begins: then their modules are loaded."""
    options = shared.session.options
    patterns = [str(pattern) for pattern in options.get("apis", ())]
    calls = Calls(shared)
    if options.get("full"):
        for owner, name, api in torch_functions():
            calls.wrap(owner, name, api)
    if patterns:
        shared.step_begins.append(("apis", functools.partial(calls.wrap_own, patterns)))
