"""Exact 64-bit fingerprints of tensors: equal for equal dtype, shape and bits, and practically only then.

There are two algorithms. `xxh3` reads the bytes as they lie in host memory. Where the machine has an accelerator, all
tensors of a process are fingerprinted by `sums` (see `sums.py`) instead, wherever they lie: a batch is compared before
and after it was moved, a checkpoint with the parameters that it came from.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.sums import host_rows

try:
    from xxhash import xxh3_64_intdigest as _hash
except ImportError:  # the traced interpreter may not have it; 12 times slower
    from hashlib import blake2b

    def _hash(data: Any, seed: int = 0) -> int:  # type: ignore[misc]
        return int.from_bytes(
            blake2b(data, digest_size=8, salt=seed.to_bytes(8, "little")).digest(), "little"
        )


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALGORITHMS = ("xxh3", "sums")
_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
#: Types whose elements lie in memory as they are: complex ones may be conjugated lazily.
_IN_MEMORY = frozenset(
    {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16}
    | {torch.int32, torch.int64, torch.bool}
)
_seeds: dict[tuple[torch.dtype, Sequence[int]], int] = {}
#: The process fingerprints by row sums.
_by_sums = False


def choose(algorithm: str) -> None:
    """Decide how this process fingerprints tensors: before the first one, since prints of the two differ.

    Raises:
        ValueError: there is no such algorithm.
    """
    global _by_sums
    if algorithm not in ALGORITHMS:
        raise ValueError(f"the algorithm '{algorithm}' does not exist: {' or '.join(ALGORITHMS)}")
    _by_sums = algorithm == "sums"


def chosen() -> str:
    """Return the algorithm of this process."""
    return "sums" if _by_sums else "xxh3"


def fingerprint(tensor: torch.Tensor) -> int | None:
    """Return the fingerprint of a tensor's value as a signed 64-bit integer, None if it has none.

    Args:
        tensor: any dtype and shape. None for sparse, quantised, meta and fake tensors and those of a device, which
            `probes.deferred` reads. A DTensor counts by its local shard. -0.0 and 0.0, and NaNs with different bits,
            differ.

    No random state is used and nothing is recorded by autograd. Cost: about 1.5 µs plus 0.1 ms per MB (10 µs and 0.6 ms
    by `sums`); a tensor that is not contiguous is copied first.
    """
    if type(tensor) in _PLAIN and tensor.is_cpu and tensor.dtype in _IN_MEMORY:
        value = _of_memory(tensor)
        if value is not None:
            return value
    local = getattr(tensor, "_local_tensor", None)
    if local is not None:
        tensor = local
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        return None
    try:
        shape = tensor.shape
        view = _bits(tensor)
    except (RuntimeError, TypeError, NotImplementedError):
        return None  # fake and functional tensors, exotic subclasses
    return of_rows(host_rows(view, view.nbytes) if _by_sums else view, tensor.dtype, shape)


def of_rows(rows: Any, dtype: torch.dtype, shape: Sequence[int]) -> int:
    """Return the fingerprint of a tensor whose row sums are known, as the bytes of 64-bit integers."""
    value: int = _hash(rows, seed=_seed(dtype, shape))
    return value - (1 << 64) if value >= 1 << 63 else value


def _of_memory(tensor: torch.Tensor) -> int | None:
    """Return the fingerprint of an ordinary tensor, read where it lies: a view by numpy would cost 2 µs."""
    if torch._C._functorch.peek_interpreter_stack() is not None or tensor.layout is not torch.strided:
        return None
    size = tensor.numel() * tensor.element_size()
    if size == 0 or not tensor.is_contiguous() or tensor.is_neg():
        return None
    data = (ctypes.c_char * size).from_address(tensor.data_ptr())
    if _by_sums:
        return of_rows(host_rows(data, size), tensor.dtype, tensor.shape)
    value: int = _hash(data, seed=_seed(tensor.dtype, tensor.shape))
    return value - (1 << 64) if value >= 1 << 63 else value


def combine(values: Iterable[int]) -> int:
    """Return one fingerprint for a sequence of them; order matters."""
    data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
    value = _hash(data, seed=len(data))
    return value - (1 << 64) if value >= 1 << 63 else value


def fingerprint_bytes(data: bytes) -> int:
    """Return the fingerprint of plain bytes, e.g. the state of a random generator."""
    value = _hash(data, seed=1)
    return value - (1 << 64) if value >= 1 << 63 else value


def _bits(tensor: torch.Tensor) -> Any:
    """Return the tensor's bytes as a numpy array of integers, without a copy where it is contiguous."""
    plain = tensor.detach()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    plain = plain.resolve_neg()
    if not plain.is_contiguous():
        plain = plain.contiguous()
    if plain.dim() == 0:
        plain = plain.reshape(1)
    same_size = _SAME_SIZE.get(plain.element_size())
    if same_size is not None and plain.dtype is not same_size:
        plain = plain.view(same_size)
    return plain.numpy()


def _seed(dtype: torch.dtype, shape: Sequence[int]) -> int:
    """Return a seed that tells dtypes and shapes apart; the same in every process."""
    key = (dtype, shape)
    seed = _seeds.get(key)
    if seed is None:
        if len(_seeds) > 10_000:  # shapes may vary without end
            _seeds.clear()
        seed = _seeds[key] = _hash(f"{dtype}{tuple(shape)}".encode(), seed=0)
    return seed


__all__ = ["ALGORITHMS", "choose", "chosen", "combine", "fingerprint", "fingerprint_bytes", "of_rows"]
