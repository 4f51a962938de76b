"""Fingerprints and norms of tensors, within a budget, without disturbing the program that owns them."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy
import torch
from tcrules.instrument.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tcrules.instrument.probes.models import Param

#: Tensors up to this size are always fingerprinted.
SMALL = 64 << 10
#: Bytes of larger tensors that are fingerprinted per step; the rest takes turns.
BUDGET = 8 << 20
#: The same of a step on a device: reading moves seven times the bytes there, 0.15 to 0.5 ms at 1 to 3 TB/s.
DEVICE_BUDGET = 64 << 20
#: Inputs and batches above this size are fingerprinted by evenly spaced chunks.
LARGE, CHUNKS, CHUNK = 4 << 20, 64, 16 << 10
#: A tensor whose pointer and version did not move is fingerprinted again every so many steps: writes through
#: `.data` and fused optimizers do not move the version.
ROTATION = 8
#: Elements up to which numpy computes a norm; above, its BLAS would start threads.
SMALL_NORM = 10_000
_NUMPY: dict[torch.dtype, Any] = {torch.float32: numpy.dtype("f4"), torch.float64: numpy.dtype("f8")}
_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
_UNREAL = frozenset({"FakeTensor", "FunctionalTensor", "UninitializedParameter", "UninitializedBuffer"})
_NARROW = frozenset({torch.float16, torch.bfloat16})
WHY_DEVICE = "data on devices and in layouts of this kind is not read"


def local(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return a plain tensor in host memory that holds the data of this one; None if there is none.

    Device tensors are left alone, since reading them would wait for the device. Tensors of a running `torch.func`
    transform and fake tensors have no data. A DTensor stands for its local shard.
    """
    if not tensor.is_cpu or tensor.layout is not torch.strided:
        return None
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return None
    if type(tensor) in _PLAIN:
        return tensor
    if torch._C._dispatch_keys(tensor).has(torch._C.DispatchKey.Python):
        shard = getattr(tensor, "_local_tensor", None)
        return local(shard) if isinstance(shard, torch.Tensor) else None
    return tensor


def placed(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return a plain tensor that holds the data of this one, on whatever device; None as for `local`."""
    if tensor.is_cpu:
        return local(tensor)
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
        return None
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return None
    if type(tensor) not in _PLAIN and torch._C._dispatch_keys(tensor).has(torch._C.DispatchKey.Python):
        shard = getattr(tensor, "_local_tensor", None)
        return placed(shard) if isinstance(shard, torch.Tensor) else None
    if tensor.numel() and not tensor.untyped_storage().nbytes():
        return None  # its memory was given back (FSDP): to read it would be the end of the process
    return tensor


def is_real(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has data anywhere: it is neither a meta nor a fake tensor, and initialised."""
    return not tensor.is_meta and type(tensor).__name__ not in _UNREAL


def print_of(tensor: torch.Tensor) -> int | None:
    """Return the fingerprint of a tensor of any size, None if it cannot be read; O(bytes)."""
    plain = local(tensor)
    return None if plain is None else fingerprint(plain)


def sample_print(tensor: torch.Tensor) -> int | None:
    """Return the fingerprint of an input; above 4 MB of evenly spaced chunks of it.

    Equal tensors have equal prints; tensors that differ outside of the chunks have as well.
    """
    plain = local(tensor)
    return None if plain is None else fingerprint(sampled(plain))


def sampled(plain: torch.Tensor) -> torch.Tensor:
    """Return what the fingerprint of an input is made of: the tensor, or chunks of it."""
    size = plain.numel() * plain.element_size()
    if size <= LARGE or not plain.is_contiguous():
        return plain
    width = CHUNK // plain.element_size()
    stride = (plain.numel() - width) // (CHUNKS - 1)
    return plain.detach().reshape(-1).as_strided((CHUNKS, width), (stride, 1))


def turns(sizes: Sequence[int], budget: int = BUDGET) -> int:
    """Return in how many groups tensors of these sizes take turns, so that one group fits the budget."""
    return max(1, math.ceil(sum(size for size in sizes if size > SMALL) / budget))


def is_again(index: int, step: int) -> bool:
    """Return whether a parameter is fingerprinted although pointer and version say that it did not change."""
    return (index + step) % ROTATION == 0


def is_due(size: int, index: int, step: int, groups: int) -> bool:
    """Return whether a tensor is fingerprinted in this step; the same on all ranks."""
    return size <= SMALL or (index + step) % groups == 0


def param_prints(params: Iterable[tuple[torch.Tensor, Param, bool]], check: bool = True) -> list[int | None]:
    """Return the fingerprints of parameters; None where data cannot be read.

    Args:
        params: the third item asks for a fresh look; otherwise the last print is taken while pointer and version
            are the same.
        check: bring `finite` of what changed up to date; parameters that were not finite always are.
    """
    prints: list[int | None] = []
    changed: list[tuple[torch.Tensor, Param]] = []
    for tensor, param, again in params:
        plain = local(tensor)
        if plain is None:
            prints.append(None)
            continue
        pointer, version = plain.data_ptr(), tensor._version
        data = param.data
        if param.pointer != pointer:
            param.shared = plain.is_shared()
        if again or data is None or param.shared or param.version != version or param.pointer != pointer:
            data = fingerprint(plain)
            if data != param.data and (check or not param.finite):
                changed.append((plain, param))
            param.pointer, param.version, param.data = pointer, version, data
        prints.append(data)
    if changed:
        finite = are_finite([tensor for tensor, _ in changed])
        for (_, param), value in zip(changed, finite, strict=True):
            param.finite = value
    return prints


def norms(tensors: Sequence[torch.Tensor]) -> list[float]:
    """Return the L2 norms of plain tensors in host memory; O(bytes), large ones in one call per dtype."""
    with numpy.errstate(all="ignore"):
        found = [_small_norm(tensor) for tensor in tensors]
    left = [tensor for tensor, norm in zip(tensors, found, strict=True) if norm is None]
    if not left:
        return [norm for norm in found if norm is not None]
    grad = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
    try:
        rest = iter(_large_norms(left))
    finally:
        torch._C._set_grad_enabled(grad)
    return [next(rest) if norm is None else norm for norm in found]


def _small_norm(tensor: torch.Tensor) -> float | None:
    """Return the norm of a small tensor read where it lies; five times cheaper than by a call of torch."""
    kind = _NUMPY.get(tensor.dtype)
    count = tensor.numel()
    if kind is None or not 0 < count <= SMALL_NORM or not tensor.is_contiguous() or tensor.is_neg():
        return None
    memory: Any = (ctypes.c_char * (count * tensor.element_size())).from_address(tensor.data_ptr())
    array = numpy.frombuffer(memory, kind)
    return math.sqrt(array.dot(array))


def _large_norms(tensors: list[torch.Tensor]) -> list[float]:
    if len({tensor.dtype for tensor in tensors}) == 1 and tensors[0].dtype not in _NARROW:
        values: list[float] = torch.stack(torch._foreach_norm(tensors)).tolist()
        return values
    return [_norm(tensor) for tensor in tensors]


def _norm(tensor: torch.Tensor) -> float:
    wide = torch.float32 if tensor.dtype in _NARROW else None
    return float(torch.linalg.vector_norm(tensor, dtype=wide))


def class_of(tensor: torch.Tensor, norm: float) -> str:
    """Return zero, nonzero or nonfinite. A norm may overflow or vanish where no element does: then all are read."""
    if 0.0 < norm < math.inf:
        return "nonzero"
    with torch.no_grad():
        if norm == 0.0:
            return "nonzero" if bool(torch.any(tensor)) else "zero"
        return "nonzero" if bool(torch.isfinite(tensor).all()) else "nonfinite"


def are_finite(tensors: Sequence[torch.Tensor]) -> list[bool]:
    """Return whether tensors have neither NaN nor infinity; True for those that cannot be read."""
    plain = [local(tensor) for tensor in tensors]
    floats = [widened(tensor) for tensor in plain if tensor is not None and is_float(tensor)]
    found = iter(zip(floats, norms(floats), strict=True))
    return [
        tensor is None or not is_float(tensor) or class_of(*next(found)) != "nonfinite" for tensor in plain
    ]


def host_number(value: object) -> float | None:
    """Return a number, or a tensor of one element in host memory, as a number; None for anything else."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.is_cpu and value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def norm_of(tensor: torch.Tensor) -> tuple[str, float]:
    """Return class and L2 norm of a plain tensor in host memory."""
    tensor = widened(tensor)
    norm = norms([tensor])[0]
    return class_of(tensor, norm), norm


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values of a tensor in a type that can be computed with: no operation knows those of a byte."""
    is_byte = tensor.element_size() == 1 and tensor.is_floating_point()
    return tensor.detach().to(torch.float32) if is_byte else tensor


def is_float(tensor: torch.Tensor) -> bool:
    """Return whether a tensor may hold what is not finite."""
    return bool(tensor.is_floating_point() or tensor.is_complex())


def key_name(key: Any) -> str:
    """Return a key of a container as part of a path; one that is data, or of a class of the user's, by its class."""
    return str(key) if type(key) in (str, int) else type(key).__name__


def tensors_in(value: Any, depth: int = 3) -> Iterator[torch.Tensor]:
    """Yield the tensors in arguments or results: nested tuples, lists and dicts, not opaque objects."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item, depth - 1)
